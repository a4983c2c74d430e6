"""MoCo, BYOL and SimSiam in two processes against one with the whole batch; what a shuffled batch does to keys."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.layers import convert_sync_bn
from selfsup.losses import CosineLoss, InBatchInfoNCELoss, InfoNCELoss, NegativeCosineLoss
from selfsup.methods import BYOL, Method, MoCo, MoCoV3, Progress, SimSiam
from selfsup.necks import ProjectionNeck
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes
from tests.engine.test_teacher_runs import moco_config
from tests.engine.tiny_run import losses
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist

_BATCH = 8
_NAMES = ("moco", "moco_v3", "byol", "simsiam")


def _method(name: str) -> Method:
    torch.manual_seed(0)
    parts: list[Any] = [TinyBackbone(), ProjectionNeck(8, (6,), 4)]
    if name == "moco":
        return MoCo(*parts, InfoNCELoss(0.2), queue_length=3 * _BATCH, momentum=0.9).double()
    parts.append(ProjectionNeck(4, (6,), 4))
    if name == "moco_v3":
        return MoCoV3(*parts, InBatchInfoNCELoss(0.2), momentum=0.9).double()
    if name == "byol":
        return BYOL(*parts, CosineLoss(), momentum=0.9, teacher_init="copy").double()
    return SimSiam(*parts, NegativeCosineLoss()).double()


def _train(name: str, rank: int, world_size: int) -> dict[str, Any]:
    """Four steps of plain gradient descent on this process's share of each batch, as the runner would wrap it."""
    method = _method(name)
    model: Any = method
    if world_size > 1:
        torch.manual_seed(rank)  # what is drawn from now on differs between the processes
        method = convert_sync_bn(method)
        model = DistributedDataParallel(method, broadcast_buffers=False)
    share = _BATCH // world_size
    losses = []
    for step in range(4):
        progress = Progress(step, 4, 0, 4)
        method.before_step(progress)
        views = images(10, 10, batch=_BATCH, seed=step, dtype=torch.float64)
        parts = model({"views": [view[rank * share : (rank + 1) * share] for view in views]})
        model.zero_grad()
        parts["loss"].backward()
        losses.append(parts["loss"].item())
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.requires_grad:
                    parameter -= 0.1 * parameter.grad
        method.after_step(progress)
    gradients = {key: p.grad.clone() for key, p in method.named_parameters() if p.requires_grad}
    return {"losses": losses, "gradients": gradients, "state": {k: v.clone() for k, v in method.state_dict().items()}}


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


def _run(work_dir: Path, lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """A run that stops and goes on; its state at the end."""
    from selfsup.engine.runner import Runner

    for number, length in enumerate(lengths):
        config = moco_config(work_dir, steps=length)
        config["train_dataloader"]["batch_size"] = 4
        config["param_scheduler"] = None  # another length would be another curve
        method = Runner(config, resume=number > 0, device="cpu").train()
    return {name: value.clone() for name, value in method.state_dict().items()}


def _everything() -> dict[str, Any]:
    found: dict[str, Any] = {name: _train(name, dist.rank(), dist.world_size()) for name in _NAMES}
    for shuffle_bn in (True, False):
        found[f"per image, {shuffle_bn}"] = _keys(_PerImage, shuffle_bn=shuffle_bn)
        found[f"batch norm, {shuffle_bn}"] = _keys(TinyBackbone, shuffle_bn=shuffle_bn)
    return found


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_everything)


@pytest.mark.parametrize("name", _NAMES)
def test_two_processes_are_one_with_the_whole_batch(results: list[dict[str, Any]], name: str) -> None:
    expected = _train(name, 0, 1)
    first, second = (result[name] for result in results)
    means = [(a + b) / 2 for a, b in zip(first["losses"], second["losses"], strict=True)]
    assert means == pytest.approx(expected["losses"], rel=1e-9)
    for part in ("gradients", "state"):
        assert expected[part]
        for key, value in expected[part].items():
            torch.testing.assert_close(first[part][key], value, rtol=1e-8, atol=1e-10, msg=key)
            torch.testing.assert_close(second[part][key], value, rtol=1e-8, atol=1e-10, msg=key)


def test_all_processes_hold_the_same_queue_to_the_bit(results: list[dict[str, Any]]) -> None:
    first, second = (result["moco"]["state"] for result in results)
    assert torch.equal(first["queue.rows"], second["queue.rows"])
    assert int(first["queue.pointer"]) == int(second["queue.pointer"]) == 4 * _BATCH % (3 * _BATCH)


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
    neck, predictor = config["model"]["neck"], {"type": "ProjectionNeck", "hidden_dims": (16,)}
    config["model"] = {
        "type": "BYOL",
        "backbone": config["model"]["backbone"],
        "neck": neck,
        "predictor": predictor,
        "loss": {"type": "CosineLoss"},
        "teacher_init": "fresh",
    }
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
