"""What a shuffled batch does to MoCo's keys; teachers and queues of runs on two processes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.losses import InfoNCELoss
from selfsup.methods import MoCo
from selfsup.necks import ProjectionNeck
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import losses, moco_config
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist

_BATCH = 8


class _PerImage(nn.Module):
    """A backbone in which images do not meet: no batch norm."""

    out_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).relu().mean((2, 3))


def _keys(backbone: type[nn.Module], *, shuffle_bn: bool) -> Tensor:
    """The keys of all processes, and whether a channels-last batch reached the teacher as one."""
    torch.manual_seed(0)
    method = MoCo(
        backbone(), ProjectionNeck(8, (), 4), InfoNCELoss(0.2), queue_length=_BATCH, shuffle_bn=shuffle_bn
    ).double()
    layouts = []
    method.teacher.register_forward_pre_hook(
        lambda module, inputs: layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    torch.manual_seed(dist.rank())
    share = _BATCH // dist.world_size()
    (view,) = images(10, batch=_BATCH, dtype=torch.float64)
    mine = view[dist.rank() * share : (dist.rank() + 1) * share].contiguous(memory_format=torch.channels_last)
    method({"views": [mine, mine]})
    assert layouts == [True]
    return method.queue.rows.clone()


def _everything() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for shuffle_bn in (True, False):
        found[f"per image, {shuffle_bn}"] = _keys(_PerImage, shuffle_bn=shuffle_bn)
        found[f"batch norm, {shuffle_bn}"] = _keys(TinyBackbone, shuffle_bn=shuffle_bn)
    return found


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_everything)


def test_shuffled_keys_come_back_in_order(results: list[dict[str, Any]]) -> None:
    expected = _keys(_PerImage, shuffle_bn=True)
    for result in results:
        torch.testing.assert_close(result["per image, True"], expected)
        torch.testing.assert_close(result["per image, False"], expected)


def test_a_shuffled_key_is_the_teacher_s_with_the_statistics_of_the_share_that_was_drawn(
    results: list[dict[str, Any]],
) -> None:
    torch.manual_seed(0)
    teacher = MoCo(TinyBackbone(), ProjectionNeck(8, (), 4), InfoNCELoss(0.2), queue_length=_BATCH).double().teacher
    torch.manual_seed(0)  # as the first process, whose order counts
    order = torch.randperm(_BATCH)
    (view,) = images(10, batch=_BATCH, dtype=torch.float64)
    expected = torch.empty(_BATCH, 4, dtype=torch.float64)
    with torch.no_grad():
        for share in (order[: _BATCH // 2], order[_BATCH // 2 :]):
            keys = teacher(view[share])
            expected[share] = keys / keys.norm(dim=1, keepdim=True)
    for result in results:
        torch.testing.assert_close(result["batch norm, True"], expected)
        assert not torch.allclose(result["batch norm, False"], expected, atol=1e-3)


def _fresh_teachers(work_dir: Path) -> list[dict[str, Tensor]]:
    """Student and teacher of a run of BYOL before its first step, and after two."""
    from selfsup.engine.runner import Runner

    config = moco_config(work_dir, steps=2)
    parts = {name: config["model"][name] for name in ("backbone", "neck")}
    parts["predictor"] = {"type": "ProjectionNeck", "hidden_dims": (16,)}
    config["model"] = {"type": "BYOL", **parts, "loss": {"type": "CosineLoss"}, "teacher_init": "fresh"}
    config["train_dataloader"]["batch_size"] = 4
    found = []
    runner = Runner(config, device="cpu")
    for train in (False, True):
        method = runner.train() if train else runner.method
        parts = {"student": method.neck, "teacher": method.teacher.neck}
        found.append({name: part.mlp[0].weight.detach().clone() for name, part in parts.items()})
    return found


def test_a_teacher_that_starts_fresh_is_the_same_on_all_processes(tmp_path: Path) -> None:
    first, second = run_in_processes(_fresh_teachers, tmp_path)
    for of_first, of_second in zip(first, second, strict=True):
        assert all(torch.equal(of_first[name], of_second[name]) for name in of_first)
        assert not torch.allclose(of_first["student"], of_first["teacher"], atol=1e-3)
    assert not torch.equal(first[0]["teacher"], first[1]["teacher"])


def _run(work_dir: Path, lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """A run that stops and goes on; its state at the end."""
    from selfsup.engine.runner import Runner

    for number, length in enumerate(lengths):
        config = moco_config(work_dir, steps=length)
        config["train_dataloader"]["batch_size"] = 4
        config["param_scheduler"] = None  # another length would be another curve
        method = Runner(config, resume=number > 0, device="cpu").train()
    return {name: value.clone() for name, value in method.state_dict().items()}


def test_a_resumed_run_is_bitwise_and_every_process_has_the_same_teacher_and_queue(tmp_path: Path) -> None:
    whole = run_in_processes(_run, tmp_path / "whole", (6,))
    cut = run_in_processes(_run, tmp_path / "cut", (3, 6))
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    shared = [name for name in whole[0] if "running_" not in name]  # batch norm is each process's own
    assert {name.split(".")[0] for name in shared} == {"backbone", "neck", "teacher", "queue"}
    for name in shared:
        assert torch.equal(whole[0][name], whole[1][name]), name
    for rank in (0, 1):
        assert all(torch.equal(cut[rank][name], value) for name, value in whole[rank].items())
