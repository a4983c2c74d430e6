import math

import numpy as np
import pytest
import torch

from selfsup.losses import NTXentLoss
from tests.reference import record
from tests.reference.nt_xent import nt_xent_by_the_paper


@pytest.mark.parametrize("name", ["ntxent/T0.1", "ntxent/T0.5"])
def test_gives_the_recorded_loss_and_gradient(name: str) -> None:
    check = record(name)
    z = torch.tensor(check["input"]["z"], dtype=torch.float64, requires_grad=True)
    temperature = check["input"]["temperature"]
    loss = NTXentLoss(temperature)(z[:, 0], z[:, 1])
    assert loss.item() == pytest.approx(check["expected"]["paper"], abs=1e-12)
    loss.backward()
    expected = torch.tensor(check["expected"]["grad_paper"], dtype=torch.float64)
    torch.testing.assert_close(z.grad, expected, rtol=0, atol=1e-12)
    official = NTXentLoss(temperature, official_factor=True)(z[:, 0], z[:, 1])
    assert official.item() == pytest.approx(check["expected"]["official_tf2"], abs=1e-12)


def test_the_denominator_leaves_out_the_anchor_and_keeps_the_positive() -> None:
    check = record("ntxent/masking")
    z = torch.tensor(check["input"]["z"], dtype=torch.float64)
    loss = float(NTXentLoss(check["input"]["temperature"])(z[:, 0], z[:, 1]))
    assert loss == pytest.approx(check["expected"]["correct"], abs=1e-9)
    for variant in ("self_kept", "positive_removed"):  # the anchor in the denominator; the positive not in it
        assert abs(loss - check["expected"][variant]) > 0.5


@pytest.mark.parametrize("batch, dim, temperature", [(2, 3, 0.1), (5, 2, 0.5), (1, 4, 0.1), (16, 8, 0.07)])
def test_agrees_with_the_paper(batch: int, dim: int, temperature: float) -> None:
    generator = np.random.default_rng(batch)
    z_a, z_b = generator.normal(size=(2, batch, dim))
    actual = NTXentLoss(temperature)(torch.tensor(z_a), torch.tensor(z_b))
    assert float(actual) == pytest.approx(nt_xent_by_the_paper(z_a, z_b, temperature), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("batch", [2, 5])
def test_equal_embeddings_cannot_be_told_apart(batch: int) -> None:
    z = torch.ones(batch, 3)
    assert float(NTXentLoss(0.1)(z, z)) == pytest.approx(math.log(2 * batch - 1), rel=1e-6)


def test_blocks_of_anchors_change_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for block in (1 << 23, 3 * 14):  # all anchors at once, then three of fourteen
        monkeypatch.setattr("selfsup.losses.nt_xent._BLOCK", block)
        loss = 3 * NTXentLoss(0.2)(z[0], z[1])
        found.append((loss, *torch.autograd.grad(loss, z)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


def test_length_and_order_of_embeddings_do_not_matter() -> None:
    torch.manual_seed(0)
    z_a, z_b = torch.randn(2, 6, 4, dtype=torch.float64)
    expected = NTXentLoss(0.2)(z_a, z_b)
    order = torch.randperm(6)
    lengths = torch.rand(6, 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(NTXentLoss(0.2)((z_b * lengths)[order], z_a[order]), expected)


def test_rejects_a_temperature_of_zero_and_views_of_different_shape() -> None:
    with pytest.raises(ValueError, match="temperature: must be > 0, got 0"):
        NTXentLoss(0)
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3, 3\)"):
        NTXentLoss(0.1)(torch.zeros(2, 3), torch.zeros(3, 3))
