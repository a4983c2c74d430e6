import math

import numpy as np
import pytest
import torch
from torch import nn

from selfsup.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from selfsup.ops import mix
from tests.reference.cross_entropy import cross_entropy_by_the_definition, sigmoid_cross_entropy_by_the_definition

LOSSES = [CrossEntropyLoss(), CrossEntropyLoss(label_smoothing=0.1), BinaryCrossEntropyLoss()]


def _scores_and_labels(batch: int = 5, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(0, 3, (batch, classes)), generator.integers(0, classes, batch)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_agrees_with_the_definition(label_smoothing: float) -> None:
    scores, labels = _scores_and_labels()
    loss = CrossEntropyLoss(label_smoothing=label_smoothing)
    expected = cross_entropy_by_the_definition(scores, np.eye(7)[labels], label_smoothing)
    assert float(loss(torch.tensor(scores), torch.tensor(labels))) == pytest.approx(expected, rel=1e-12)
    shares = np.random.default_rng(1).dirichlet(np.ones(7), 5)
    expected = cross_entropy_by_the_definition(scores, shares, label_smoothing)
    assert float(loss(torch.tensor(scores), torch.tensor(shares))) == pytest.approx(expected, rel=1e-12)


def test_the_sigmoid_form_agrees_with_the_definition() -> None:
    scores, labels = _scores_and_labels()
    loss = BinaryCrossEntropyLoss()
    expected = sigmoid_cross_entropy_by_the_definition(scores, np.eye(7)[labels])
    assert float(loss(torch.tensor(scores), torch.tensor(labels))) == pytest.approx(expected, rel=1e-12)
    several = np.random.default_rng(1).integers(0, 2, (5, 7))
    expected = sigmoid_cross_entropy_by_the_definition(scores, several)
    for kind in (torch.uint8, torch.float64):
        assert float(loss(torch.tensor(scores), torch.tensor(several).to(kind))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_class_numbers_and_their_distributions_give_the_same_loss_and_gradient(loss: nn.Module) -> None:
    scores, labels = (torch.tensor(values) for values in _scores_and_labels())
    results = []
    for targets in (labels, torch.eye(7, dtype=torch.float64)[labels]):
        leaf = scores.clone().requires_grad_()
        value = loss(leaf, targets)
        value.backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_mixed_targets_is_the_mix_of_their_losses(loss: nn.Module) -> None:
    scores, labels = (torch.tensor(values) for values in _scores_and_labels())
    order, shares = torch.tensor([3, 0, 4, 1, 2]), torch.eye(7, dtype=torch.float64)[labels]
    mixed = loss(scores, mix(shares, order, 0.3))
    torch.testing.assert_close(mixed, 0.3 * loss(scores, labels) + 0.7 * loss(scores, labels[order]))


def test_equal_scores_give_the_closed_forms() -> None:
    scores, labels = torch.zeros(3, 11), torch.tensor([0, 5, 10])
    assert float(CrossEntropyLoss()(scores, labels)) == pytest.approx(math.log(11), rel=1e-6)
    assert float(BinaryCrossEntropyLoss()(scores, labels)) == pytest.approx(11 * math.log(2), rel=1e-6)


def test_the_sigmoid_form_stays_finite_at_extreme_scores() -> None:
    scores = torch.tensor([[-1000.0, 1000.0]], requires_grad=True)
    loss = BinaryCrossEntropyLoss()(scores, torch.tensor([[1, 0]]))
    loss.backward()
    assert float(loss.detach()) == 2000
    assert scores.grad.tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(4, 6), (4, 7, 1)])
def test_targets_of_another_shape_are_rejected(loss: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"targets: must have shape \(B,\) or \(B, 7\), got \(4, "):
        loss(torch.zeros(4, 7), torch.zeros(shape))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool])
def test_several_classes_for_an_image_are_no_distribution(kind: torch.dtype) -> None:
    with pytest.raises(
        ValueError, match=r"^CrossEntropyLoss: targets of shape \(B, C\) must be distributions .*, got torch\."
    ):
        CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([[1, 1, 0], [0, 0, 0]]).to(kind))
