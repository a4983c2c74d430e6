"""Frozen features on a held-out part of the training images; what needs labels is left out where there are none."""

evaluators = dict(
    knn=dict(type="KNN", k=20, temperature=0.07),
    linear=dict(type="LinearProbe"),
    spread=dict(type="Spread"),
)
