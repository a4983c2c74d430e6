"""Frozen features on parts of the run's own images, which the training does not see.

Evaluators that need labels are left out where there are none. RankMe and the features' standard deviation need none and
are watched in every run, by CollapseWatchHook.
"""

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
)
