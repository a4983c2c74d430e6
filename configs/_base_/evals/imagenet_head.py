"""The head of a classifier on the 50,000 images of ImageNet's val, by ``selfsup test``; nothing on the way."""

tasks = dict(
    imagenet=dict(type="Task", test=dict(type="ImageList", root="data/imagenet/val", labels="folder")),
)
evaluators = dict(head=dict(type="Head"))
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", every_epochs=1, max_keep=2), evaluate=None, pictures=None, collapse=None
)
