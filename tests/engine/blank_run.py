"""A run with one blank image, at which a loss or a gradient is not finite."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.engine.runner import Runner
from selfsup.registry import BACKBONES, DATASETS
from tests.engine.tiny_run import Noise, moco_config, tiny_config

BAD_STEP = 5


@DATASETS.register_module()
class OneBlank(Noise):
    """Noise, but for one white image."""

    def __init__(self, blank: int = -1) -> None:
        super().__init__(64)
        self.blank = blank

    def image(self, index: int) -> np.ndarray:
        return np.full((40, 40, 3), 255, np.uint8) if index == self.blank else super().image(index)


@BACKBONES.register_module()
class NanOnBlank(nn.Module):
    """A linear backbone with batch norm that gives something not finite where an image is of one color."""

    def __init__(self, where: str = "loss") -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 8), nn.BatchNorm1d(8)
        self.out_dim, self.where = 8, where

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.linear(images.mean((2, 3))))
        blank = images.flatten(2).std(2).sum(1) < 1e-3
        if not blank.any():
            return features
        if self.where == "gradient":
            return features + 0 * (features * 0).sqrt()
        return torch.where(blank[:, None], torch.full_like(features, torch.nan), features)


class Order(Hook):
    """Which images are in which micro-batch."""

    def __init__(self) -> None:
        self.steps: list[list[list[int]]] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.steps.append([[int(index) for index in batch["index"]] for batch in data_batch])


def order_of(config: dict[str, Any]) -> list[list[list[int]]]:
    """Image numbers of this process by step and micro-batch."""
    order, runner = Order(), Runner(config, device="cpu")
    runner.register_hook(order)
    runner.train()
    return order.steps


def blank_config(
    work_dir: Path, *, method: str = "swav", where: str = "loss", accumulate: int = 1, blank: int = -1, budget: int = 1
) -> dict[str, Any]:
    """Eight steps of eight images, each of which is saved."""
    config = {"swav": tiny_config, "moco": moco_config}[method](work_dir, split=None)
    config["model"]["backbone"] = {"type": "NanOnBlank", "where": where}
    config["train_dataloader"] |= {"batch_size": 8 // accumulate, "dataset": {"type": "OneBlank", "blank": blank}}
    config["optim_wrapper"] |= {"accumulative_counts": accumulate, "max_skipped_updates": budget}
    config["default_hooks"]["checkpoint"] = {"type": "CheckpointHook", "every_steps": 1, "max_keep": 20}
    return config
