"""Frozen features on a held-out part of the training images; left out where there are no labels.

RankMe and the features' standard deviation need none and are watched in every run, by CollapseWatchHook.
"""

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
)
