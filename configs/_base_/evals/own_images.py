"""Frozen features on two parts of the run's own images; left out where there are no labels.

The probes learn from one part, which the training sees too, and are evaluated on the other, held out from both.

RankMe and the features' standard deviation need none and are watched in every run, by CollapseWatchHook.
"""

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
)
