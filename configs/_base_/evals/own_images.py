"""Frozen features on two parts of the training images; left out where there are no labels.

The probes learn from one part and are judged on the other, which is held out from them alone: the training has seen
it.

RankMe and the features' standard deviation need none and are watched in every run, by CollapseWatchHook.
"""

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
)
