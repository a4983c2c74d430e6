import pytest
import torch

from selfsup.losses import CosineLoss, NegativeCosineLoss
from tests.reference import record


def _both_directions(name: str) -> float:
    p1, p2, z1, z2 = (torch.tensor(record(name)["input"][key], dtype=torch.float64) for key in ("p1", "p2", "z1", "z2"))
    return float(CosineLoss()(p1, z2) + CosineLoss()(p2, z1))


def test_both_directions_sum_to_the_loss_of_byol() -> None:
    expected = record("byol/loss")["expected"]
    assert _both_directions("byol/loss") == pytest.approx(expected["official"], abs=1e-12)
    assert _both_directions("byol/loss") == pytest.approx(expected["mm_value"] + 4, abs=1e-12)  # mmpretrain's lacks 4


def test_ranges_from_zero_to_four() -> None:
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert float(CosineLoss()(rows, 2 * rows)) == pytest.approx(0, abs=1e-6)
    assert float(CosineLoss()(rows, -rows)) == pytest.approx(4, abs=1e-6)


def test_the_mean_of_both_directions_negated_is_the_loss_of_simsiam() -> None:
    check = record("simsiam/loss")
    p1, p2, z1, z2 = (torch.tensor(check["input"][key], dtype=torch.float64) for key in ("p1", "p2", "z1", "z2"))
    mean = (NegativeCosineLoss()(p1, z2) + NegativeCosineLoss()(p2, z1)) / 2
    assert float(mean) == pytest.approx(check["expected"], abs=1e-12)


def test_the_negated_cosine_ranges_from_minus_one_to_one() -> None:
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert NegativeCosineLoss()(rows, 2 * rows).item() == pytest.approx(-1, abs=1e-6)
    assert NegativeCosineLoss()(rows, -rows).item() == pytest.approx(1, abs=1e-6)
