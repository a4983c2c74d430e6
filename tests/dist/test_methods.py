"""Every method in two processes against one with the whole batch: losses, gradients, statistics, queues, teachers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from selfsup.layers import convert_sync_bn
from selfsup.losses import (
    BinaryCrossEntropyLoss,
    CosineLoss,
    CrossEntropyLoss,
    DistillationLoss,
    InBatchInfoNCELoss,
    InfoNCELoss,
    NegativeCosineLoss,
    NTXentLoss,
    SwAVLoss,
)
from selfsup.methods import BYOL, Distillation, Method, MoCo, MoCoV3, Progress, SimCLR, SimSiam, Supervised, SwAV
from selfsup.necks import HiddenLayers, ProjectionNeck, Prototypes
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist

BATCH, CLASSES, STEPS = 8, 6, 4
ONE_LABEL = torch.arange(BATCH) % CLASSES
LABELS = (torch.rand(BATCH, CLASSES, generator=torch.Generator().manual_seed(0)) < 0.4).long()


@dataclass(frozen=True)
class Case:
    """How a method is built and what it is shown."""

    build: Callable[[], Method]
    sizes: tuple[int, ...] = (10, 10)
    labels: Tensor | None = None


def _neck() -> ProjectionNeck:
    return ProjectionNeck(8, (6,), 4)


def _predictor() -> ProjectionNeck:
    return ProjectionNeck(4, (6,), 4)


def _classifier(**options: Any) -> Supervised:
    return Supervised(TinyBackbone(), CLASSES, CrossEntropyLoss(), neck=HiddenLayers(8, (5,)), **options)


def _swav() -> Method:
    options = {"queue_length": 2 * BATCH + 3, "queue_start_epoch": 0}
    return SwAV(TinyBackbone(), _neck(), Prototypes(4, 5), SwAVLoss(), **options)


def _moco() -> Method:
    return MoCo(TinyBackbone(), _neck(), InfoNCELoss(0.2), queue_length=3 * BATCH, momentum=0.9)


def _moco_v3() -> Method:
    return MoCoV3(TinyBackbone(), _neck(), _predictor(), InBatchInfoNCELoss(0.2), momentum=0.9)


def _byol() -> Method:
    return BYOL(TinyBackbone(), _neck(), _predictor(), CosineLoss(), momentum=0.9, teacher_init="copy")


CASES = {
    "swav": Case(_swav, (10, 10, 7)),
    "simclr": Case(lambda: SimCLR(TinyBackbone(), _neck(), NTXentLoss(0.5))),
    "moco": Case(_moco),
    "moco_v3": Case(_moco_v3),
    "byol": Case(_byol),
    "simsiam": Case(lambda: SimSiam(TinyBackbone(), _neck(), _predictor(), NegativeCosineLoss())),
    "one label": Case(_classifier, (10,), ONE_LABEL),
    "several labels": Case(lambda: Supervised(TinyBackbone(), CLASSES, BinaryCrossEntropyLoss()), (10,), LABELS),
    "distillation": Case(
        lambda: Distillation(TinyBackbone(), _classifier(), DistillationLoss(), alpha=0.3), (10,), ONE_LABEL
    ),
    "mixup": Case(lambda: _classifier(mixup_alpha=0.4), (10,), ONE_LABEL),
}


def _seed(step: int, rank: int) -> int:
    return 10 * step + rank  # what is drawn within a step differs between the processes


def _train(name: str) -> dict[str, Any]:
    """A few steps of plain gradient descent on this process's share of each batch, as the runner would wrap it."""
    torch.manual_seed(0)
    case = CASES[name]
    method = case.build().double()
    model: Any = method
    if dist.world_size() > 1:
        method = convert_sync_bn(method)
        model = DistributedDataParallel(method, broadcast_buffers=False)
    share = BATCH // dist.world_size()
    own = slice(dist.rank() * share, (dist.rank() + 1) * share)
    logged = []
    for step in range(STEPS):
        torch.manual_seed(step)
        method.before_step(progress := Progress(step, STEPS, 0, STEPS))
        torch.manual_seed(_seed(step, dist.rank()))
        views = images(*case.sizes, batch=BATCH, seed=step, dtype=torch.float64)
        batch: dict[str, Any] = {"views": [view[own] for view in views]}
        parts = model(batch if case.labels is None else batch | {"label": case.labels[own]})
        model.zero_grad()
        torch.stack([value for key, value in parts.items() if key.startswith("loss")]).sum().backward()
        logged.append({key: value.item() for key, value in parts.items()})
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.requires_grad:
                    parameter -= 0.1 * parameter.grad
        method.after_step(progress)
    gradients = {key: p.grad.clone() for key, p in method.named_parameters() if p.requires_grad}
    return {"logged": logged, "gradients": gradients, "state": {k: v.clone() for k, v in method.state_dict().items()}}


def _mixup_weights() -> list[float]:
    torch.manual_seed(dist.rank())
    method = _classifier(mixup_alpha=0.2)
    weights = []
    for step in range(5):
        method.before_step(Progress(step, 5, 0, 5))
        weights.append(method.mixup_weight)
    return weights


def _everything() -> dict[str, Any]:
    return {"mixup weights": _mixup_weights()} | {name: _train(name) for name in CASES}


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_everything)


def _assert_equal(two: list[dict[str, Any]], one: dict[str, Any], *, but: str = "none") -> None:
    first, second = two
    for step, logged in enumerate(one["logged"]):
        for key, value in logged.items():
            mean = (first["logged"][step][key] + second["logged"][step][key]) / 2
            assert mean == pytest.approx(value, rel=1e-9, abs=1e-12), f"{key} of step {step}"
    for part in ("gradients", "state"):
        assert one[part]
        for key, value in one[part].items():
            for actual in () if key.startswith(but) else (first[part][key], second[part][key]):
                torch.testing.assert_close(actual, value, rtol=1e-8, atol=1e-10, msg=key)


@pytest.mark.parametrize("name", [name for name in CASES if name != "mixup"])
def test_two_processes_are_one_with_the_whole_batch(results: list[dict[str, Any]], name: str) -> None:
    own_queue = "queue" if name == "swav" else "none"  # a process's queue is of its images
    _assert_equal([result[name] for result in results], _train(name), but=own_queue)


def test_each_process_keeps_its_own_part_of_swav_s_queue(results: list[dict[str, Any]]) -> None:
    whole = _train("swav")["state"]["queue.rows"]
    first, second = (result["swav"]["state"]["queue.rows"] for result in results)
    newest = torch.cat([first[:, : BATCH // 2], second[:, : BATCH // 2]], dim=1)
    torch.testing.assert_close(newest, whole[:, :BATCH], rtol=1e-8, atol=1e-10)
    assert not torch.equal(first, second)
    assert first.shape == whole.shape  # so that a checkpoint loads on any number of processes
    assert [int(result["swav"]["state"]["queue.filled"]) for result in results] == [8, 8]


def test_all_processes_hold_the_same_queue_of_moco_to_the_bit(results: list[dict[str, Any]]) -> None:
    first, second = (result["moco"]["state"] for result in results)
    assert torch.equal(first["queue.rows"], second["queue.rows"])
    assert int(first["queue.pointer"]) == int(second["queue.pointer"]) == STEPS * BATCH % (3 * BATCH)


def test_all_processes_mix_by_the_weight_of_the_first(results: list[dict[str, Any]]) -> None:
    first, second = (result["mixup weights"] for result in results)
    assert first == second == _mixup_weights()
    assert len(set(first)) == 5


def test_two_processes_that_mix_are_one_that_mixes_within_their_shares(
    results: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _train("mixup")
    draw, share = torch.randperm, BATCH // 2
    step = iter(range(STEPS))

    def within_shares(length: int) -> Tensor:
        assert length == BATCH
        number, orders = next(step), []
        for rank in (0, 1):
            torch.manual_seed(_seed(number, rank))
            orders.append(draw(share) + rank * share)
        return torch.cat(orders)

    monkeypatch.setattr(torch, "randperm", within_shares)
    expected = _train("mixup")
    _assert_equal([result["mixup"] for result in results], expected)
    assert plain["logged"] != expected["logged"]  # an order of the whole batch is another one
