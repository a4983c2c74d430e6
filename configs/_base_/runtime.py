"""What every recipe does beside training: a checkpoint per epoch, the newest two kept."""

default_hooks = dict(checkpoint=dict(type="CheckpointHook", every_epochs=1, max_keep=2))
