"""SwAV and SimCLR in two processes against one process with the whole batch: loss, gradients, statistics, queue."""

from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from selfsup.layers import convert_sync_bn
from selfsup.losses import NTXentLoss, SwAVLoss
from selfsup.methods import Method, Progress, SimCLR, SwAV
from selfsup.necks import ProjectionNeck, Prototypes
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist

_BATCH = 8
_SIZES = {"swav": (10, 10, 7), "simclr": (10, 10)}


def _method(name: str) -> Method:
    torch.manual_seed(0)
    neck = ProjectionNeck(8, (6,), 4)
    if name == "simclr":
        return SimCLR(TinyBackbone(), neck, NTXentLoss(0.5)).double()
    return SwAV(
        TinyBackbone(), neck, Prototypes(4, 5), SwAVLoss(), queue_length=2 * _BATCH + 3, queue_start_epoch=0
    ).double()


def _train(name: str, rank: int, world_size: int) -> dict[str, Any]:
    """Four steps of plain gradient descent on this process's share of each batch."""
    method = _method(name)
    model: Any = method
    if world_size > 1:
        method = convert_sync_bn(method)
        model = DistributedDataParallel(method)
    share = _BATCH // world_size
    logged = []
    for step in range(4):
        method.before_step(Progress(step, 4, 0, 4))
        views = images(*_SIZES[name], batch=_BATCH, seed=step, dtype=torch.float64)
        parts = model({"views": [view[rank * share : (rank + 1) * share] for view in views]})
        model.zero_grad()
        parts["loss"].backward()
        logged.append({key: value.item() for key, value in parts.items()})
        with torch.no_grad():
            for parameter in method.parameters():
                parameter -= 0.1 * parameter.grad
    gradients = {key: parameter.grad.clone() for key, parameter in method.named_parameters()}
    return {"logged": logged, "gradients": gradients, "state": {k: v.clone() for k, v in method.state_dict().items()}}


def _both() -> dict[str, Any]:
    return {name: _train(name, dist.rank(), dist.world_size()) for name in _SIZES}


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_in_processes(_both)


@pytest.mark.parametrize("name", _SIZES)
def test_two_processes_are_one_with_the_whole_batch(results: list[dict[str, Any]], name: str) -> None:
    expected = _train(name, 0, 1)
    first, second = (result[name] for result in results)
    for step, logged in enumerate(expected["logged"]):
        for key, value in logged.items():
            mean = (first["logged"][step][key] + second["logged"][step][key]) / 2
            assert mean == pytest.approx(value, rel=1e-9, abs=1e-12), f"{key} of step {step}"
    for part in ("gradients", "state"):
        for key, value in expected[part].items():
            if not key.startswith("queue"):
                torch.testing.assert_close(first[part][key], value, rtol=1e-8, atol=1e-10, msg=key)
                torch.testing.assert_close(second[part][key], value, rtol=1e-8, atol=1e-10, msg=key)


def test_each_process_keeps_its_own_part_of_the_queue(results: list[dict[str, Any]]) -> None:
    whole = _train("swav", 0, 1)["state"]["queue.rows"]
    first, second = (result["swav"]["state"]["queue.rows"] for result in results)
    share = _BATCH // 2
    newest = torch.cat([first[:, :share], second[:, :share]], dim=1)
    torch.testing.assert_close(newest, whole[:, :_BATCH], rtol=1e-8, atol=1e-10)
    assert not torch.equal(first, second)
    assert first.shape == whole.shape  # so that a checkpoint loads on any number of processes
    assert [int(result["swav"]["state"]["queue.filled"]) for result in results] == [8, 8]
