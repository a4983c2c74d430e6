"""A small valid config as text, for tests that break it in one place."""

from pathlib import Path

RECIPE = """
model = dict(
    type='SimCLR',
    backbone=dict(type='ResNet', depth=18, width=0.125),
    neck=dict(type='ProjectionNeck', hidden_dims=(16,), out_dim=8),
    loss=dict(type='NTXentLoss', temperature=0.5),
)
batch = 32
train_dataloader = dict(
    batch_size=batch,
    dataset=dict(type='Scenes', size=32),
    views=dict(type='SimCLRViews', size=32),
)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.3 * batch / 256, momentum=0.9))
train_cfg = dict(max_steps=100)
"""


def write(folder: Path, text: str = RECIPE, name: str = "recipe.py") -> Path:
    """The text as a config file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
