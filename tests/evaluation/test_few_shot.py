from pathlib import Path

import numpy as np
import pytest
import torch

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import FewShot, RawPixels, Representation, Task
from selfsup.evaluation.protocols.few_shot import RATIOS, fit_centroid, fit_ridge, leave_one_out
from selfsup.evaluation.protocols.few_shot import _left_singular as left_singular
from tests.evaluation.pictures import SMALL, Blobs

TASK = Task("blobs", train=Blobs(60, noise=90), test=Blobs(60, noise=90, seed=1, prefix="test"))


def shots(count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    targets = torch.arange(count) % 3
    return torch.randn(count, dim, generator=generator).double() + 0.7 * targets[:, None], targets


@pytest.mark.parametrize(("count", "dim"), [(12, 30), (30, 12)])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_leave_one_out_is_the_explicit_loop(count: int, dim: int, penalty: float) -> None:
    features, targets = shots(count, dim)
    wanted = np.eye(3)[targets.numpy()]
    expected = np.zeros((count, 3))
    for left in range(count):
        rest = np.arange(count) != left
        inputs, outputs = features.numpy()[rest], wanted[rest]
        mean, level = inputs.mean(0), outputs.mean(0)
        square = (inputs - mean).T @ (inputs - mean) + penalty * np.eye(dim)
        weight = np.linalg.solve(square, (inputs - mean).T @ (outputs - level))
        expected[left] = wanted[left] - ((features.numpy()[left] - mean) @ weight + level)
    centered = features - features.mean(dim=0)
    found = leave_one_out(*left_singular(centered), torch.tensor(wanted - wanted.mean(0)), penalty)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("count", "dim"), [(12, 30), (30, 12)])
def test_the_ridge_is_scikit_learns_with_the_penalty_that_its_own_leave_one_out_prefers(count: int, dim: int) -> None:
    from sklearn.linear_model import RidgeCV

    features, targets = shots(count, dim)
    inputs = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    unit = (inputs**2).sum() / count
    reference = RidgeCV(alphas=[ratio * unit for ratio in RATIOS]).fit(inputs, np.eye(3)[targets.numpy()])
    found, ratio = fit_ridge(features, targets)
    assert ratio * unit == pytest.approx(reference.alpha_)
    expected = reference.predict(inputs)
    np.testing.assert_allclose((features @ found.weight + found.bias).numpy(), expected, rtol=1e-6, atol=1e-8)


def test_the_centroid_is_the_nearest_mean() -> None:
    features, targets = shots(30, 5)
    unit = features / features.norm(dim=1, keepdim=True)
    centers = torch.stack([unit[targets == label].mean(dim=0) for label in range(3)])
    assert torch.equal(fit_centroid(features, targets).predict(features), torch.cdist(unit, centers).argmin(dim=1))


def test_more_shots_help_and_scores_have_intervals_over_draws() -> None:
    result = FewShot((1, 5, 15)).evaluate(Representation(RawPixels(4), SMALL), TASK)
    for name in ("ridge", "centroid"):
        assert result.scores[f"{name}1"].value < result.scores[f"{name}15"].value
    score = result.scores["ridge5"]
    assert score.spread == "draws" and score.n == 20 and score.low < score.value < score.high


def test_values_of_k_that_a_class_is_too_small_for_are_left_out_and_noted() -> None:
    result = FewShot((1, 20, 21), draws=2).evaluate(Representation(RawPixels(2), SMALL), TASK)
    assert set(result.scores) == {"ridge1", "ridge20", "centroid1", "centroid20"}
    assert "21" in result.notes[0] and "20" in result.notes[1]  # 20 are all images of each class
    assert result.scores["ridge20"].low is None and result.scores["ridge1"].low is not None
    with pytest.raises(DataError) as raised:
        FewShot((21,), draws=2).evaluate(Representation(RawPixels(2), SMALL), TASK)
    assert raised.value.problems[0].path == "tasks.blobs"


def test_files_of_features_give_the_same_scores(tmp_path: Path) -> None:
    evaluator = FewShot((2,), draws=3)
    plain, cached = (Representation(RawPixels(2), SMALL, cache=cache) for cache in (None, tmp_path))
    assert evaluator.evaluate(plain, TASK).scores == evaluator.evaluate(cached, TASK).scores


@pytest.mark.parametrize("wrong", [{"shots": (0,)}, {"draws": 1}, {"classifiers": ("svm",)}])
def test_senseless_numbers_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as raised:
        FewShot(**wrong)
    assert raised.value.problems[0].path == next(iter(wrong))
