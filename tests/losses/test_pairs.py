import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from selfsup.losses import MarginTripletLoss, NTLogisticLoss, NTXentLoss
from tests.reference.pairs import margin_triplet_by_the_paper, nt_logistic_by_the_paper


@pytest.mark.parametrize("semi_hard", [False, True])
@pytest.mark.parametrize("batch, dim", [(1, 3), (2, 3), (6, 4)])
def test_agree_with_the_paper(batch: int, dim: int, semi_hard: bool) -> None:
    z_a, z_b = np.random.default_rng(batch).normal(size=(2, batch, dim))
    both = torch.tensor(z_a), torch.tensor(z_b)
    logistic = NTLogisticLoss(0.3, semi_hard=semi_hard)(*both)
    assert float(logistic) == pytest.approx(nt_logistic_by_the_paper(z_a, z_b, 0.3, semi_hard=semi_hard), rel=1e-12)
    triplet = MarginTripletLoss(0.5, semi_hard=semi_hard)(*both)
    assert float(triplet) == pytest.approx(margin_triplet_by_the_paper(z_a, z_b, 0.5, semi_hard=semi_hard), abs=1e-12)


def test_a_negative_that_does_not_count_has_no_gradient() -> None:
    """Two images in a plane: the positives 60 degrees apart, the second image's views beyond any margin."""
    z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.5, math.sqrt(0.75)], [-0.5, -math.sqrt(0.75)]]]).double()
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(MarginTripletLoss(0.4)(*z), z)
    assert not gradient.any()
    (gradient,) = torch.autograd.grad(NTLogisticLoss(0.4)(*z), z)
    assert gradient.any()
    mixed = (
        torch.stack([z[0], z[1].flip(0)]).detach().requires_grad_()
    )  # now the negatives are nearer than the positives
    (gradient,) = torch.autograd.grad(MarginTripletLoss(0.4, semi_hard=True)(*mixed), mixed)
    assert not gradient.any()
    (gradient,) = torch.autograd.grad(MarginTripletLoss(0.4)(*mixed), mixed)
    assert gradient.any()


@pytest.mark.parametrize("loss", [NTLogisticLoss(0.3), MarginTripletLoss(0.9, semi_hard=True)])
def test_length_and_order_of_embeddings_do_not_matter(loss: torch.nn.Module) -> None:
    torch.manual_seed(0)
    z_a, z_b = torch.randn(2, 6, 4, dtype=torch.float64)
    order, lengths = torch.randperm(6), torch.rand(6, 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(loss((z_b * lengths)[order], z_a[order]), loss(z_a, z_b))


def test_without_normalization_lengths_matter() -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 5, 4, dtype=torch.float64)
    logits = torch.cat([z[0], z[1]]) @ torch.cat([z[0], z[1]]).T / 10
    expected = F.cross_entropy(logits.fill_diagonal_(float("-inf")), torch.arange(10).roll(5))
    torch.testing.assert_close(NTXentLoss(10.0, normalize=False)(*z), expected)
    unit = F.normalize(z, dim=2)
    torch.testing.assert_close(NTXentLoss(0.1, normalize=False)(*unit), NTXentLoss(0.1)(*z))


@pytest.mark.parametrize("loss, name", [(NTLogisticLoss, "temperature"), (MarginTripletLoss, "margin")])
def test_rejects_what_is_not_positive(loss: type, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        loss(0.0)
