"""An update of several micro-batches does once what an update does once: queues, teachers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.registry import BACKBONES
from tests.engine.tiny_run import losses, moco_config, tiny_config


@BACKBONES.register_module()
class WithoutNorm(nn.Module):
    """A convolution: each image by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=3)
        self.out_dim = 8

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).relu().mean((2, 3))


NECK = {"type": "ProjectionNeck", "hidden_dims": (), "out_dim": 6}
METHODS: dict[str, dict[str, Any]] = {
    "moco": {"type": "MoCo", "loss": {"type": "InfoNCELoss", "temperature": 0.2}, "queue_length": 32, "momentum": 0.5},
    "byol": {
        "type": "BYOL",
        "predictor": {"type": "ProjectionNeck", "hidden_dims": ()},
        "loss": {"type": "CosineLoss"},
        "momentum": 0.5,
    },
}


def config(work_dir: Path, micro_batches: int, **changes: Any) -> dict[str, Any]:
    made = tiny_config(work_dir, steps=3) | changes
    made["model"] = made["model"] | {"backbone": {"type": "WithoutNorm"}, "neck": NECK}
    made["train_dataloader"] |= {"batch_size": 16 // micro_batches}
    made["optim_wrapper"] = {
        "precision": "fp32",
        "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "accumulative_counts": micro_batches,
    }
    return made


def trained(work_dir: Path, micro_batches: int, model: dict[str, Any], *, steps: int = 3) -> tuple[list[float], Any]:
    made = config(work_dir, micro_batches, model=model, train_cfg={"max_steps": steps})
    if model["type"] != "SwAV":
        made["train_dataloader"]["views"] |= {"sizes": (32,), "counts": (2,), "scales": ((0.14, 1.0),)}
    method = Runner(made, device="cpu").train()
    return [loss for _, loss in losses(work_dir)], method.state_dict()


@pytest.mark.parametrize("name", METHODS)
def test_two_micro_batches_are_one_batch(name: str, tmp_path: Path) -> None:
    expected, state = trained(tmp_path / "whole", 1, METHODS[name])
    halves, state_of_halves = trained(tmp_path / "halves", 2, METHODS[name])
    assert len(expected) == 3
    assert halves == pytest.approx(expected, rel=1e-5)
    assert any(key.startswith("teacher.") for key in state)
    torch.testing.assert_close(state_of_halves, state, rtol=1e-4, atol=1e-6)


def test_the_queue_of_swav_holds_the_same_embeddings(tmp_path: Path) -> None:
    model = tiny_config(tmp_path)["model"] | {"queue_length": 24}  # of which an update of 16 fills 16
    queues = [trained(tmp_path / str(parts), parts, model, steps=1)[1]["queue.rows"] for parts in (1, 2)]
    assert queues[0][:, :16].any(dim=2).all() and not queues[0][:, 16:].any()
    torch.testing.assert_close(queues[1], queues[0])


def test_a_queue_that_fits_micro_batches_and_not_updates_is_rejected_before_the_first_step(tmp_path: Path) -> None:
    made = config(tmp_path, 2, model=METHODS["moco"] | {"queue_length": 24})
    with pytest.raises(ConfigError) as caught:
        Runner(made, device="cpu")
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [("model.queue_length", 24)]


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
