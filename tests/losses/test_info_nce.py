import math

import numpy as np
import pytest
import torch

from selfsup.losses import InBatchInfoNCELoss, InfoNCELoss
from tests.reference import record
from tests.reference.moco import in_batch_by_the_paper


@pytest.mark.parametrize("name", ["moco/infonce_T0.07", "moco/infonce_T0.2"])
def test_gives_the_recorded_loss(name: str) -> None:
    check = record(name)
    q, k, queue = (torch.tensor(check["input"][key], dtype=torch.float64) for key in ("q", "k", "queue"))
    assert float(InfoNCELoss(check["input"]["T"])(q, k, queue)) == pytest.approx(check["expected"], abs=1e-12)


def test_equal_embeddings_cannot_be_told_apart() -> None:
    rows = torch.ones(3, 4)
    assert float(InfoNCELoss(0.07)(rows, rows, torch.ones(6, 4))) == pytest.approx(math.log(7), rel=1e-6)


@pytest.mark.parametrize("loss", [InfoNCELoss, InBatchInfoNCELoss])
def test_rejects_a_negative_temperature(loss: type) -> None:
    with pytest.raises(ValueError, match=r"^temperature: must be > 0, got -1"):
        loss(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_in_batch_agrees_with_the_paper(temperature: float) -> None:
    q, k = np.random.default_rng(0).normal(size=(2, 6, 5))
    loss = InBatchInfoNCELoss(temperature)(torch.tensor(q), torch.tensor(k))
    assert float(loss) == pytest.approx(in_batch_by_the_paper(q, k, temperature), rel=1e-12)


def test_in_batch_equal_embeddings_cannot_be_told_apart() -> None:
    rows = torch.ones(5, 4)
    assert float(InBatchInfoNCELoss(0.2)(rows, rows)) == pytest.approx(2 * 0.2 * math.log(5), rel=1e-6)
