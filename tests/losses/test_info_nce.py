import math

import pytest
import torch

from selfsup.losses import InfoNCELoss
from tests.reference import record


@pytest.mark.parametrize("name", ["moco/infonce_T0.07", "moco/infonce_T0.2"])
def test_gives_the_recorded_loss(name: str) -> None:
    check = record(name)
    q, k, queue = (torch.tensor(check["input"][key], dtype=torch.float64) for key in ("q", "k", "queue"))
    assert float(InfoNCELoss(check["input"]["T"])(q, k, queue)) == pytest.approx(check["expected"], abs=1e-12)


def test_equal_embeddings_cannot_be_told_apart() -> None:
    rows = torch.ones(3, 4)
    assert float(InfoNCELoss(0.07)(rows, rows, torch.ones(6, 4))) == pytest.approx(math.log(7), rel=1e-6)


def test_only_the_query_gets_a_gradient() -> None:
    torch.manual_seed(0)
    q, k, queue = (torch.randn(5, 4, requires_grad=True) for _ in range(3))
    InfoNCELoss(0.2)(q, k, queue).backward()
    assert q.grad.any()
    assert k.grad is None and queue.grad is None


def test_autocast_changes_nothing() -> None:
    torch.manual_seed(0)
    q, k, queue = (torch.randn(5, 64) for _ in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = InfoNCELoss(0.07)(q, k, queue)
    assert torch.equal(loss, InfoNCELoss(0.07)(q, k, queue))


def test_refuses_a_negative_temperature() -> None:
    with pytest.raises(ValueError, match="temperature: must be > 0, got -1"):
        InfoNCELoss(-1)
