import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from selfsup.evaluation import LinearProbe, fit_logistic
from selfsup.evaluation.features import Features
from tests.evaluation.pictures import Blobs


def problem(num_classes: int, *, seed: int = 0, dim: int = 12, count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(num_classes, dim))
    labels = rng.integers(0, num_classes, count)
    scales = np.geomspace(1e-3, 1e3, dim)
    return (centres[labels] + rng.normal(size=(count, dim)) * 1.5 + 3.0) * scales, labels


def probe(**changes: object) -> LinearProbe:
    return LinearProbe(Blobs(6), Blobs(6), **changes)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("weight_decay", [1.0, 1e-2, 1e-4])
def test_agrees_with_scikit_learn(num_classes: int, weight_decay: float) -> None:
    train, labels = problem(num_classes)
    test, _ = problem(num_classes, seed=1)
    scaler = StandardScaler().fit(train)
    strength = weight_decay / 2 if num_classes == 2 else weight_decay  # scikit-learn has one vector for two classes
    reference = LogisticRegression(C=1 / (strength * len(train)), tol=1e-10, max_iter=10_000)
    reference.fit(scaler.transform(train), labels)
    mine = fit_logistic(torch.tensor(train), torch.tensor(labels), weight_decay=weight_decay, max_iterations=1000)
    decision = mine.decision(torch.tensor(test)).numpy()
    expected = reference.decision_function(scaler.transform(test))
    centred = decision - decision.mean(1, keepdims=True)
    np.testing.assert_allclose(centred if num_classes > 2 else 2 * centred[:, 1], expected, atol=1e-3)
    assert (mine.predict(torch.tensor(test)).numpy() == reference.predict(scaler.transform(test))).mean() >= 0.999


def test_the_gradient_is_zero_at_the_solution() -> None:
    train, labels = problem(4)
    mine = fit_logistic(torch.tensor(train), torch.tensor(labels), weight_decay=1e-2, max_iterations=500)
    inputs = (train - train.mean(0)) / train.std(0)
    scores = inputs @ mine.weight.numpy().T + mine.bias.numpy()
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    error = shares - np.eye(4)[labels]
    np.testing.assert_allclose(error.T @ inputs / len(train) + 1e-2 * mine.weight.numpy(), 0, atol=2e-6)
    np.testing.assert_allclose(error.mean(0), 0, atol=2e-6)


def test_scaling_and_shifting_a_feature_changes_nothing() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    plain = fit_logistic(train, labels, weight_decay=0.1)
    scale, shift = torch.linspace(0.1, 9.0, 12).double(), torch.linspace(-5.0, 5.0, 12).double()
    moved = fit_logistic(train * scale + shift, labels, weight_decay=0.1)
    torch.testing.assert_close(moved.decision(train * scale + shift), plain.decision(train), rtol=1e-4, atol=1e-5)


def test_a_constant_feature_is_ignored() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    plain = fit_logistic(train, labels, weight_decay=0.1)
    with_constant = torch.cat([train, torch.full((len(train), 1), 0.3).double()], dim=1)
    found = fit_logistic(with_constant, labels, weight_decay=0.1)
    torch.testing.assert_close(found.decision(with_constant), plain.decision(train), rtol=1e-6, atol=1e-8)


def test_labels_need_not_start_at_zero_nor_be_dense() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    names = torch.tensor([40, 7, 1000])
    expected = names[fit_logistic(train, labels, weight_decay=0.1).predict(train)]
    assert torch.equal(fit_logistic(train, names[labels], weight_decay=0.1).predict(train), expected)


def test_strong_weight_decay_is_chosen_for_noise_and_weak_for_a_clear_case() -> None:
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.integers(0, 2, 60))
    noisy = torch.tensor(rng.normal(size=(60, 200)))
    noisy[:, 0] += 1.2 * labels
    many = torch.tensor(rng.integers(0, 8, 2000))
    clear = torch.nn.functional.one_hot(many, 8) * torch.linspace(0.001, 1, 8) + 1e-4 * torch.randn(
        2000, 8, generator=torch.Generator().manual_seed(0)
    )
    chosen_for_noise = probe(weight_decays=(10.0, 1e-4)).fit(noisy, labels)
    assert torch.equal(chosen_for_noise.weight, fit_logistic(noisy, labels, weight_decay=10.0).weight)
    chosen_for_clear = probe(weight_decays=(10.0, 1e-4)).fit(clear, many)
    assert torch.equal(chosen_for_clear.weight, fit_logistic(clear, many, weight_decay=1e-4).weight)


def test_is_the_same_every_time_and_draws_no_random_numbers() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = probe().fit(train, labels), probe().fit(train, labels)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_works_inside_no_grad() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    with torch.no_grad():
        inside = fit_logistic(train, labels, weight_decay=0.1)
    assert torch.equal(inside.weight, fit_logistic(train, labels, weight_decay=0.1).weight)


def test_a_class_that_only_the_test_images_have_is_simply_missed() -> None:
    train, labels = (torch.tensor(part) for part in problem(2))
    scores = probe().score(Features(train, labels), Features(train[:4], torch.tensor([9, 9, 9, 9])))
    assert scores == {"top1": 0.0, "per_class": 0.0}


@pytest.mark.parametrize("wrong", [(), (0.1, 0.0)])
def test_senseless_weight_decays_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="all > 0"):
        probe(weight_decays=wrong)
