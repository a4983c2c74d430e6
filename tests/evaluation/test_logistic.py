"""SimCLR's logistic regression against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn import linear_model

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import LogisticRegression, RawPixels, Representation, Task
from selfsup.evaluation.extraction.features import Stacked
from selfsup.evaluation.protocols.logistic import PENALTIES
from selfsup.evaluation.protocols.softmax_regression import SoftmaxProblem, solve_path
from tests.evaluation.pictures import SMALL, Blobs, known


def features(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 300)
    centers = np.random.default_rng(1).normal(size=(4, 40))
    shown = np.maximum(centers[labels] + rng.normal(size=(300, 40)) * np.geomspace(2, 0.2, 40), 0)
    return torch.tensor(shown, dtype=torch.float32), torch.tensor(labels)


def test_the_values_are_simclrs() -> None:
    assert len(PENALTIES) == 45
    assert (PENALTIES[0], PENALTIES[-1]) == (pytest.approx(1e5), pytest.approx(1e-6))
    assert np.ptp(np.diff(np.log(PENALTIES))) < 1e-12


def test_the_whole_path_has_scikit_learns_losses() -> None:
    train, labels = features()
    test, _ = features(1)
    problem = SoftmaxProblem(Stacked(known(train, labels)), standardize=False)
    inputs, chosen = train.double().numpy(), PENALTIES[::4]  # every fourth: the others lie between
    path = solve_path(problem, [l2 / len(train) for l2 in chosen], tolerance=1e-10, gap=1e-8)
    for l2, found in zip(chosen, path, strict=True):
        reference = linear_model.LogisticRegression(C=1 / l2, tol=1e-10, max_iter=100_000).fit(inputs, labels)
        logits = inputs @ reference.coef_.T + reference.intercept_
        cross_entropy = torch.nn.functional.cross_entropy(torch.tensor(logits), labels).item()
        loss = cross_entropy + l2 / 2 / len(train) * (reference.coef_**2).sum()
        assert found.converged and found.loss <= loss * (1 + 1e-9)
        if l2 > 1e-4:  # below, scikit-learn's own is not at its minimum
            assert found.loss == pytest.approx(loss, rel=1e-6)
        predicted = problem.classifier(found.weight, found.bias).predict(test).numpy()
        assert (predicted == reference.predict(test.numpy())).mean() >= 0.99


def test_the_penalty_is_chosen_on_val_and_the_solution_is_of_train_and_val() -> None:
    train, labels = features()
    halves = known(train[:200], labels[:200]), known(train[200:], labels[200:])
    predictor = LogisticRegression((1e3, 1.0, 1e-3), tolerance=1e-9).fit(*halves)
    right = []
    for l2 in (1e3, 1.0, 1e-3):
        alone = LogisticRegression((l2,), tolerance=1e-9).fit(halves[0], None)
        right.append((alone(train[200:]).argmax(dim=1) == labels[200:]).double().mean().item())
    l2 = (1e3, 1.0, 1e-3)[int(np.argmax(right))]
    assert predictor.chosen == {"l2": l2}
    reference = linear_model.LogisticRegression(C=1 / l2, tol=1e-9, max_iter=10_000).fit(train.double(), labels)
    found = predictor.classifier.weight
    np.testing.assert_allclose(found - found.mean(0), reference.coef_ - reference.coef_.mean(0), atol=1e-3)


def test_scale_matters_here_where_the_linear_probe_does_not_see_it() -> None:
    train, labels = features()
    small = LogisticRegression((1.0,)).fit(known(train, labels), None)
    large = LogisticRegression((1.0,)).fit(known(train * 100, labels), None)
    assert not torch.allclose(small(train), large(train * 100), rtol=0.1)


def test_what_did_not_converge_and_the_edge_of_the_grid_are_noted() -> None:
    train, labels = features()
    halves = known(train[:200], labels[:200]), known(train[200:], labels[200:])
    (note,) = LogisticRegression((1e-7,), max_iterations=1).fit(*halves).notes
    assert "did not converge" in note
    predictor = LogisticRegression((1e7, 1e6, 1e2)).fit(*halves)
    assert predictor.chosen == {"l2": 1e2} and "edge of the grid" in predictor.notes[0]
    assert LogisticRegression().fit(*halves).notes == ()


def test_images_of_one_class_are_an_error_before_anything_is_computed() -> None:
    class Untouched(RawPixels):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    task = Task("one", train=Blobs(9, num_classes=1), val=Blobs(3, num_classes=1, prefix="val"), test=Blobs(9))
    with pytest.raises(DataError) as raised:
        LogisticRegression().evaluate(Representation(Untouched(), SMALL), task)
    assert raised.value.problems[0].path == "tasks.one.train"
    assert raised.value.problems[0].got == "class 0"


@pytest.mark.parametrize("wrong", [{"l2": ()}, {"l2": (0.1, 1.0)}, {"tolerance": 0.0}, {"max_iterations": 0}])
def test_senseless_numbers_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as raised:
        LogisticRegression(**wrong)
    assert raised.value.problems[0].path == next(iter(wrong))
