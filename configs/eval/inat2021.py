"""Accuracy at every level of the taxonomy, from kingdom to species, without learning again for each.

Protocol: Cole et al. 2022, arXiv:2105.05837, section 4.4: a linear classifier of the species, whose answers are read at
every level. The taxonomy is that of the competition's annotations. Trained on the smaller training set, 50 images of
each species.

Command: selfsup evaluate WEIGHTS --config eval/inat2021
"""

tasks = dict(
    inat2021=dict(
        type="StandardTask",
        set="inat2021_mini",
        root="data/inat2021",
        hierarchy="source",
    ),
)
evaluators = dict(levels=dict(type="Granularity", probe=dict(type="LinearProbe")))
