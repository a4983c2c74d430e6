"""Fifteen corruptions at five severities (ImageNet-C), seen by a linear probe that was fitted on clean images.

Paper: Hendrycks and Dietterich 2019, arXiv:1903.12261. The corruptions are drawn here, by the published parameters and
seeded by the names of the images; frost is drawn noise, where the paper pastes photographs.

Command: selfsup evaluate WEIGHTS --config eval/imagenet_c
"""

tasks = dict(imagenet=dict(type="StandardTask", set="imagenet", root="data/imagenet", max_train=128_116))
evaluators = dict(
    clean=dict(type="LinearProbe"),
    corrupted=dict(type="Corruptions", kinds="imagenet-c", probe=dict(type="LinearProbe")),
)
