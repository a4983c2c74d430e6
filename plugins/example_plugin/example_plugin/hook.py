"""Watching the weights."""

from typing import Any

import torch
from mmengine.hooks import Hook

from selfsup.registry import HOOKS


@HOOKS.register_module()
class WeightNormHook(Hook):
    """Write ``weights/norm``, the Euclidean norm of all of the backbone's parameters, to the metrics log.

    Args:
        every_steps: optimizer updates between two entries, > 0.
    """

    priority = "LOW"

    def __init__(self, every_steps: int = 50) -> None:
        self.every_steps = every_steps

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Write it if it is time."""
        if (runner.iter + 1) % self.every_steps == 0:
            parameters = [parameter.detach() for parameter in runner.method.backbone.parameters()]
            norm = torch.stack([parameter.double().square().sum() for parameter in parameters]).sum().sqrt()
            runner.metrics_log.write(runner.iter + 1, {"weights/norm": float(norm)})
