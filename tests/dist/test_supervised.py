"""Supervised training in two processes: one MixUp share for all, and one process with the whole batch without it."""

from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from selfsup.layers import convert_sync_bn
from selfsup.losses import CrossEntropyLoss
from selfsup.methods import Progress, Supervised
from selfsup.necks import HiddenLayers
from selfsup.ops import dist
from tests.dist.two_processes import run_in_processes
from tests.methods.tiny import TinyBackbone, images

pytestmark = pytest.mark.dist

_BATCH = 8


def _shares() -> list[float]:
    torch.manual_seed(dist.rank())
    method = Supervised(TinyBackbone(), 3, CrossEntropyLoss(), mixup_alpha=0.2)
    shares = []
    for step in range(5):
        method.before_step(Progress(step, 5, 0, 5))
        shares.append(method.mixup_share)
    return shares


def _train() -> dict[str, Any]:
    """Three steps of plain gradient descent on this process's share of each batch."""
    torch.manual_seed(0)
    method = Supervised(TinyBackbone(), 6, CrossEntropyLoss(), neck=HiddenLayers(8, (5,))).double()
    model: Any = method
    if dist.world_size() > 1:
        method = convert_sync_bn(method)
        model = DistributedDataParallel(method)
    share = _BATCH // dist.world_size()
    own = slice(dist.rank() * share, (dist.rank() + 1) * share)
    logged = []
    for step in range(3):
        (view,) = images(10, batch=_BATCH, seed=step, dtype=torch.float64)
        parts = model([view[own]], (torch.arange(_BATCH) % 6)[own])
        model.zero_grad()
        parts["loss"].backward()
        logged.append({key: value.item() for key, value in parts.items()})
        with torch.no_grad():
            for parameter in method.parameters():
                parameter -= 0.1 * parameter.grad
    gradients = {key: parameter.grad.clone() for key, parameter in method.named_parameters()}
    return {"logged": logged, "gradients": gradients, "state": {k: v.clone() for k, v in method.state_dict().items()}}


def test_all_processes_mix_by_the_share_of_the_first() -> None:
    first, second = run_in_processes(_shares)
    assert first == second == _shares()
    assert len(set(first)) == 5


def test_two_processes_are_one_with_the_whole_batch() -> None:
    first, second = run_in_processes(_train)
    expected = _train()
    for step, logged in enumerate(expected["logged"]):
        for key, value in logged.items():
            mean = (first["logged"][step][key] + second["logged"][step][key]) / 2
            assert mean == pytest.approx(value, rel=1e-9, abs=1e-12), f"{key} of step {step}"
    for part in ("gradients", "state"):
        for key, value in expected[part].items():
            torch.testing.assert_close(first[part][key], value, rtol=1e-8, atol=1e-10, msg=key)
            torch.testing.assert_close(second[part][key], value, rtol=1e-8, atol=1e-10, msg=key)
