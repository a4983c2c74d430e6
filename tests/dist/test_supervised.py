"""Methods with labels and distillation in two processes against one with the whole batch; MixUp, which mixes within
each process's share of the batch, against one process that mixes within the same shares."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from selfsup.layers import convert_sync_bn
from selfsup.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, DistillationLoss
from selfsup.methods import Distillation, Method, Progress, Supervised
from selfsup.necks import HiddenLayers
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist

_BATCH, _CLASSES = 8, 6


def _classifier(**options: Any) -> Supervised:
    return Supervised(TinyBackbone(), _CLASSES, CrossEntropyLoss(), neck=HiddenLayers(8, (5,)), **options)


METHODS: dict[str, Callable[[], Method]] = {
    "one label": _classifier,
    "several labels": lambda: Supervised(TinyBackbone(), _CLASSES, BinaryCrossEntropyLoss()),
    "distillation": lambda: Distillation(TinyBackbone(), _classifier(), DistillationLoss(temperature=2.0)),
    "distillation with labels": lambda: Distillation(TinyBackbone(), _classifier(), DistillationLoss(), alpha=0.3),
    "mixup": lambda: _classifier(mixup_alpha=0.4),
}


def _labels(name: str) -> Tensor:
    if name != "several labels":
        return torch.arange(_BATCH) % _CLASSES
    return (torch.rand(_BATCH, _CLASSES, generator=torch.Generator().manual_seed(0)) < 0.4).long()


def _train(name: str) -> dict[str, Any]:
    """Three steps of plain gradient descent on this process's share of each batch."""
    torch.manual_seed(0)
    method = METHODS[name]().double()
    model: Any = method
    if dist.world_size() > 1:
        method = convert_sync_bn(method)
        model = DistributedDataParallel(method)
    share = _BATCH // dist.world_size()
    own = slice(dist.rank() * share, (dist.rank() + 1) * share)
    logged = []
    for step in range(3):
        torch.manual_seed(step)
        method.before_step(Progress(step, 3, 0, 3))
        torch.manual_seed(_seed(step, dist.rank()))
        (view,) = images(10, batch=_BATCH, seed=step, dtype=torch.float64)
        parts = model({"views": [view[own]], "label": _labels(name)[own]})
        model.zero_grad()
        torch.stack([value for key, value in parts.items() if key.startswith("loss")]).sum().backward()
        logged.append({key: value.item() for key, value in parts.items()})
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.requires_grad:
                    parameter -= 0.1 * parameter.grad
    gradients = {key: p.grad.clone() for key, p in method.named_parameters() if p.requires_grad}
    return {"logged": logged, "gradients": gradients, "state": {k: v.clone() for k, v in method.state_dict().items()}}


def _seed(step: int, rank: int) -> int:
    return 10 * step + rank


def _shares() -> list[float]:
    torch.manual_seed(dist.rank())
    method = _classifier(mixup_alpha=0.2)
    shares = []
    for step in range(5):
        method.before_step(Progress(step, 5, 0, 5))
        shares.append(method.mixup_weight)
    return shares


def _everything() -> dict[str, Any]:
    return {"shares": _shares()} | {name: _train(name) for name in METHODS}


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_everything)


def _assert_equal(two: list[dict[str, Any]], one: dict[str, Any]) -> None:
    first, second = two
    for step, logged in enumerate(one["logged"]):
        for key, value in logged.items():
            mean = (first["logged"][step][key] + second["logged"][step][key]) / 2
            assert mean == pytest.approx(value, rel=1e-9, abs=1e-12), f"{key} of step {step}"
    for part in ("gradients", "state"):
        assert one[part]
        for key, value in one[part].items():
            torch.testing.assert_close(first[part][key], value, rtol=1e-8, atol=1e-10, msg=key)
            torch.testing.assert_close(second[part][key], value, rtol=1e-8, atol=1e-10, msg=key)


def test_all_processes_mix_by_the_share_of_the_first(results: list[dict[str, Any]]) -> None:
    first, second = (result["shares"] for result in results)
    assert first == second == _shares()
    assert len(set(first)) == 5


@pytest.mark.parametrize("name", [name for name in METHODS if name != "mixup"])
def test_two_processes_are_one_with_the_whole_batch(results: list[dict[str, Any]], name: str) -> None:
    _assert_equal([result[name] for result in results], _train(name))


def test_two_processes_that_mix_are_one_that_mixes_within_their_shares(
    results: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _train("mixup")
    draw, share = torch.randperm, _BATCH // 2
    step = iter(range(3))

    def within_shares(length: int) -> Tensor:
        assert length == _BATCH
        number, orders = next(step), []
        for rank in (0, 1):
            torch.manual_seed(_seed(number, rank))
            orders.append(draw(share) + rank * share)
        return torch.cat(orders)

    monkeypatch.setattr(torch, "randperm", within_shares)
    expected = _train("mixup")
    _assert_equal([result["mixup"] for result in results], expected)
    assert plain["logged"] != expected["logged"]  # an order of the whole batch is another one
