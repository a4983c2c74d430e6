"""Runs of a method with teacher and queue: the teacher moves once per update."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.engine.runner import Runner
from tests.engine.tiny_run import tiny_config


def moco_config(work_dir: Path, **changes: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, **changes)
    swav = config["model"]
    config["model"] = {
        "type": "MoCo",
        "backbone": swav["backbone"],
        "neck": swav["neck"],
        "loss": {"type": "InfoNCELoss", "temperature": 0.2},
        "queue_length": 24,
        "momentum": 0.9,
    }
    config["train_dataloader"] = config["train_dataloader"] | {"views": {"type": "MoCoViews", "size": 32}}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
    return config


class Weights(Hook):
    """Remembers a weight of the student and of the teacher after each update."""

    def __init__(self) -> None:
        self.student: list[torch.Tensor] = []
        self.teacher: list[torch.Tensor] = []

    def before_train(self, runner: Any) -> None:
        self.after_train_iter(runner, 0)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for name, kept in (("neck", self.student), ("teacher.neck", self.teacher)):
            kept.append(runner.method.get_submodule(name).mlp[0].weight.detach().clone())


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_teacher_moves_once_per_update_whatever_it_is_made_of(tmp_path: Path, micro_batches: int) -> None:
    config = moco_config(tmp_path, steps=4)
    config["optim_wrapper"]["accumulative_counts"] = micro_batches
    config["train_dataloader"]["batch_size"] = 8 // micro_batches
    runner, weights = Runner(config), Weights()
    runner.register_hook(weights)
    runner.train()
    expected = weights.teacher[0]
    assert torch.equal(expected, weights.student[0])
    for step in range(4):
        expected = 0.9 * expected + 0.1 * weights.student[step]
        torch.testing.assert_close(weights.teacher[step + 1], expected, msg=f"step {step}")
    assert not torch.allclose(weights.student[4], weights.student[0])
    assert int(runner.method.queue.pointer) == 4 * 8 % 24
