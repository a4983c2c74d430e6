import io

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation import LinearProbe, RawPixels, fit_logistic
from selfsup.evaluation.extraction.features import Features, Stacked
from selfsup.evaluation.protocols import linear, softmax_regression
from selfsup.evaluation.protocols.softmax_regression import SoftmaxProblem
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.task import Task
from selfsup.ops import progress
from tests.dist.two_processes import run_in_processes
from tests.evaluation.pictures import SMALL, Blobs, known


def problem(num_classes: int, *, seed: int = 0, dim: int = 12, count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(7).normal(size=(num_classes, dim))
    labels = rng.integers(0, num_classes, count)
    scales = np.geomspace(1e-3, 1e3, dim)
    return (centers[labels] + rng.normal(size=(count, dim)) * 1.5 + 3.0) * scales, labels


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
    centered = decision - decision.mean(1, keepdims=True)
    np.testing.assert_allclose(centered if num_classes > 2 else 2 * centered[:, 1], expected, atol=1e-3)
    assert (mine.predict(torch.tensor(test)).numpy() == reference.predict(scaler.transform(test))).mean() >= 0.999


@pytest.mark.parametrize("dim", [12, 300])  # fewer, and more, than there are images
def test_the_gradient_is_zero_at_the_solution(dim: int) -> None:
    train, labels = problem(4, dim=dim)
    mine = fit_logistic(torch.tensor(train), torch.tensor(labels), weight_decay=1e-2, max_iterations=500)
    inputs = (train - train.mean(0)) / train.std(0)
    logits = inputs @ mine.weight.numpy().T + mine.bias.numpy()
    shares = np.exp(logits - logits.max(1, keepdims=True))
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
    labels = torch.tensor(rng.integers(0, 2, 240))
    noisy = torch.tensor(rng.normal(size=(240, 200)))
    noisy[:, 0] += 1.2 * labels
    many = torch.tensor(rng.integers(0, 8, 2000))
    clear = torch.nn.functional.one_hot(many, 8) * torch.linspace(0.001, 1, 8) + 1e-4 * torch.randn(
        2000, 8, generator=torch.Generator().manual_seed(0)
    )
    for features, targets, expected in ((noisy, labels, 10.0), (clear, many, 1e-4)):
        cut = len(targets) // 2
        halves = known(features[:cut], targets[:cut]), known(features[cut:], targets[cut:])
        found = LinearProbe((10.0, 1e-4)).fit(*halves)
        assert found.chosen == {"weight_decay": expected}
        whole = fit_logistic(features, targets, weight_decay=expected).weight
        torch.testing.assert_close(
            found.classifier.weight, whole, rtol=0, atol=1e-5 if expected == 10 else 5e-3 * whole.abs().max().item()
        )


def test_a_choice_at_the_edge_of_the_grid_is_noted() -> None:
    features, labels = (torch.tensor(part) for part in problem(3))
    found = LinearProbe((1e-5, 1e-6, 1e-7)).fit(
        known(features[:200], labels[:200]), known(features[200:], labels[200:])
    )
    assert found.chosen["weight_decay"] == 1e-5 and "edge of the grid" in found.notes[0]


def test_is_the_same_every_time_and_draws_no_random_numbers() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    parts = known(train[:200], labels[:200]), known(train[200:], labels[200:])
    first, second = (LinearProbe().fit(*parts)(train) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_works_inside_no_grad() -> None:
    train, labels = (torch.tensor(part) for part in problem(3))
    with torch.no_grad():
        inside = fit_logistic(train, labels, weight_decay=0.1)
    assert torch.equal(inside.weight, fit_logistic(train, labels, weight_decay=0.1).weight)


def test_a_class_that_only_the_test_images_have_is_simply_missed() -> None:
    train, labels = (torch.tensor(part) for part in problem(2))
    features = Features(train, torch.arange(len(train)), labels, classes=["a", "b", "c"])
    logits = LinearProbe().fit(features, None)(train)
    assert logits.shape == (len(train), 3) and logits.argmax(dim=1).max() == 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"weight_decays": ()}, r"weight_decays: one value or more, all > 0, got \(\)"),
        ({"weight_decays": (0.1, 0.0)}, r"weight_decays: one value or more, all > 0, got \(0.1, 0.0\)"),
        ({"weight_decays": (0.1, 1.0)}, r"weight_decays: must be given largest first, got \(0.1, 1.0\)"),
        ({"max_iterations": 0}, r"max_iterations: must be > 0, got 0"),
    ],
)
def test_senseless_numbers_are_rejected(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LinearProbe(**wrong)


def test_a_large_problem_is_solved_in_blocks_of_float32_as_well_as_by_scikit_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, labels = problem(10, count=2000, dim=64)
    test, test_labels = problem(10, seed=1, count=2000, dim=64)
    scaler = StandardScaler().fit(train)
    monkeypatch.setattr(softmax_regression, "HELD_BYTES", 0)
    monkeypatch.setattr(softmax_regression, "BLOCK", 300)
    for weight_decay in (1.0, 1e-2, 1e-4):
        reference = LogisticRegression(C=1 / (weight_decay * len(train)), tol=1e-8, max_iter=10_000)
        reference.fit(scaler.transform(train), labels)
        expected = reference.predict(scaler.transform(test))
        mine = fit_logistic(torch.tensor(train), torch.tensor(labels), weight_decay=weight_decay)
        found = mine.predict(torch.tensor(test)).numpy()
        assert (found == expected).mean() > 0.995
        assert (found == test_labels).mean() == pytest.approx((expected == test_labels).mean(), abs=2e-3)


@pytest.mark.parametrize("held", [True, False])
def test_loss_gradients_and_products_with_the_hessian_agree_with_autograd(
    held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax_regression, "BLOCK", 7)
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(30, 5, generator=generator) + 2, torch.randint(0, 4, (30,), generator=generator)
    parts = known(features[:11], targets[:11]), known(features[11:], targets[11:])
    found = SoftmaxProblem(Stacked(*parts), standardize=True, held=held)
    weight, bias, along, shift = (torch.randn(*s, generator=generator).double() for s in ((4, 5), (4,), (4, 5), (4,)))
    inputs = (features.double() - found.mean) / found.scale @ found.axes

    def loss(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(inputs @ weight.T + bias, targets)

    value, gradients = loss(weight, bias), torch.autograd.functional.jacobian(loss, (weight, bias))
    _, products = torch.autograd.functional.hvp(loss, (weight, bias), (along, shift))
    near = {"rtol": 1e-9, "atol": 1e-12} if held else {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(found.evaluate(weight, bias), (value.item(), *gradients), **near)
    product = found.product(along.float(), shift.float())
    torch.testing.assert_close(product, tuple(each.float() for each in products), rtol=1e-4, atol=1e-6)


def evaluations(monkeypatch: pytest.MonkeyPatch, **changes: object) -> list[float]:
    """The weight decays that were tried."""
    tried: list[float] = []
    solve = linear.fit_rows

    def noted(*arguments: object, **options: object) -> object:
        tried.append(options["weight_decay"])  # type: ignore[arg-type]
        return solve(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(linear, "fit_rows", noted)
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.integers(0, 2, 400))
    noisy = torch.tensor(rng.normal(size=(400, 300)))
    noisy[:, :150] += 0.15 * (2 * labels[:, None] - 1)  # many weak hints: trusting few of them is worse
    LinearProbe(**changes).fit(known(noisy[:320], labels[:320]), known(noisy[320:], labels[320:]))
    return tried


def test_the_search_ends_where_less_weight_decay_is_clearly_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = evaluations(monkeypatch, weight_decays=(10.0, 1.0, 1e-6, 1e-7))
    assert tried[:-1] == [10.0, 1.0, 1e-6]
    assert tried[-1] in (10.0, 1.0)


def blobs() -> Task:
    return Task(train=Blobs(60), test=Blobs(30, seed=1, prefix="test"))


def score_and_count() -> tuple[dict[str, float], int]:
    solved = 0
    solve = linear.fit_rows

    def noted(*arguments: object, **options: object) -> object:
        nonlocal solved
        solved += 1
        return solve(*arguments, **options)  # type: ignore[arg-type]

    linear.fit_rows = noted  # type: ignore[assignment]
    result = LinearProbe().evaluate(Representation(RawPixels(2), SMALL), blobs())
    return {name: score.value for name, score in result.scores.items()}, solved


@pytest.mark.dist
def test_one_process_solves_for_all() -> None:
    (first, solved), (second, idle) = run_in_processes(score_and_count)
    assert first == second
    assert first["top1"] > 0.5
    assert solved > 1 and idle == 0


def fail_on_main(error: Exception) -> str:
    def failing(*arguments: object, **options: object) -> object:
        raise error

    linear.fit_rows = failing  # type: ignore[assignment]
    with pytest.raises(Exception, match="no way") as caught:
        LinearProbe().evaluate(Representation(RawPixels(2), SMALL), blobs())
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.dist
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("no way"), ["DataError: no way", "DataError: process 0: no way"]),
        (IndexError("no way"), ["IndexError: no way", "RuntimeError: process 0: IndexError: no way"]),
    ],
)
def test_an_error_of_the_one_that_solves_reaches_all_at_once(error: Exception, said: list[str]) -> None:
    assert run_in_processes(fail_on_main, error) == said


def test_progress_is_told_once_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(progress, "get_console", lambda: Console(file=told, force_terminal=True))
    with progress.progress_bar("linear probe") as tick:
        tick()
    assert "linear probe" not in told.getvalue()
    with progress.progress_bar("linear probe", seconds=-1.0) as tick:
        tick()
        tick()
    assert "linear probe" in told.getvalue()
    calls: list[int] = []
    train, labels = (torch.tensor(part) for part in problem(3))
    fit_logistic(train, labels, weight_decay=0.1, after_pass=lambda: calls.append(1))
    assert len(calls) > 3
