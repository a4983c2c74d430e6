"""A ConvMixer trained for alignment and uniformity on the embedded scenes, a few minutes on two CPU cores.

Every component that a plugin can bring is one of this package's: backbone, loss, transform, hook and evaluator; the
rest is selfsup's own recipe for SimCLR.

Command: selfsup train example_plugin/align_uniform_scenes
"""

_base_ = "simclr/simclr_scenes"

model = dict(
    backbone=dict(_delete_=True, type="ConvMixer", width=128, depth=4, patch=4, kernel=5),
    loss=dict(_delete_=True, type="AlignUniformLoss", uniformity=1.0),
)
train_dataloader = dict(
    views=dict(before=[dict(type="FreshBackground", kinds=("flat",)), dict(type="Posterize", bits=4, p=0.2)])
)
custom_hooks = [dict(type="WeightNormHook", every_steps=10)]
evaluators = dict(nearest_mean=dict(type="NearestMean"))
