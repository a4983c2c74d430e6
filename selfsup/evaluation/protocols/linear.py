"""Linear probe of frozen features, solved rather than trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import ConfigError
from selfsup.evaluation.evaluator import Probe, class_count, labelled
from selfsup.evaluation.extraction.features import Features, Stacked
from selfsup.evaluation.protocols.softmax_regression import LinearClassifier, SoftmaxProblem, Solution, solve
from selfsup.ops.progress import progress_bar
from selfsup.registry import EVALUATORS

WEIGHT_DECAYS = (1.0, 0.1, 1e-2, 1e-3, 1e-4)  # a decade apart: accuracy is flat to well under a point within one


@EVALUATORS.register_module()
class LinearProbe(Probe):
    """Multinomial logistic regression on standardized frozen features: convex, so there is no schedule to tune.

    Each feature is scaled to mean 0 and standard deviation 1 on the images that are learned from. The weight decay is
    the one of ``weight_decays`` that classifies val best (the larger of equals); the probe is then solved again on
    train and val. Test images are looked at once, at the end. The papers' own protocols train with SGD and augmentation
    for many epochs and differ from one another, so numbers are comparable within one protocol only.

    Small problems are solved in float64, large ones in float32 on the device that computed the features, read in blocks
    from wherever they are. Process 0 solves, the others wait for its scores.

    Args:
        weight_decays: candidates, > 0, largest first; a single one is taken as it is.
        max_iterations: of Newton's method, for each candidate.

    Raises:
        ConfigError: if ``weight_decays`` is empty, not in descending order, or holds a value that is not positive, or
            if ``max_iterations`` is too small.
    """

    protocol = "linear/1"

    def __init__(self, weight_decays: Sequence[float] = WEIGHT_DECAYS, *, max_iterations: int = 200) -> None:
        if not weight_decays or min(weight_decays) <= 0:
            raise ConfigError.at("weight_decays", "one value or more, all > 0", got=tuple(weight_decays))
        if sorted(weight_decays, reverse=True) != list(weight_decays):
            raise ConfigError.at("weight_decays", "must be given largest first", got=tuple(weight_decays))
        if max_iterations < 1:
            raise ConfigError.at("max_iterations", "must be > 0", got=max_iterations)
        self.weight_decays = tuple(weight_decays)
        self.max_iterations = max_iterations

    def fit(self, train: Features, val: Features | None) -> "LinearPredictor":
        """The probe, its weight decay chosen on val, solved on train and val."""
        with progress_bar("linear probe, passes over the features") as tick:
            options: dict[str, Any] = {
                "max_iterations": self.max_iterations,
                "device": train.device,
                "after_pass": tick,
            }
            weight_decay, start, chosen = self.weight_decays[0], None, {}
            if len(self.weight_decays) > 1 and val is not None:
                weight_decay, start = self._choose(train, val, options)
                chosen = {"weight_decay": weight_decay}
            classifier, found = fit_rows(Stacked(train, val), weight_decay=weight_decay, start=start, **options)
        notes = edge_note("weight decay", weight_decay, self.weight_decays) if chosen else ()
        return LinearPredictor(classifier, class_count(train, val), chosen, (*notes, *convergence_note(found)))

    def _choose(self, train: Features, val: Features, options: dict[str, Any]) -> tuple[float, LinearClassifier]:
        """The weight decay that classifies val best, and its solution.

        From the largest down, each solution is where the search for the next begins. The search ends where a weight
        decay is worse than the best one by more than two standard errors.
        """
        features, labels = labelled(val)
        rows = Stacked(train)
        problem = SoftmaxProblem(rows, standardize=True, device=options["device"])
        best, accuracy, solution, found = self.weight_decays[0], -1.0, None, None
        for candidate in self.weight_decays:
            tolerance = 1e-4  # enough to rank the candidates
            found, _ = fit_rows(
                rows, weight_decay=candidate, tolerance=tolerance, start=found, problem=problem, **options
            )
            right = (found.predict(features) == labels).double().mean().item()
            if right > accuracy:
                best, accuracy, solution = candidate, right, found
            elif clearly_worse(right, accuracy, len(labels)):
                break
        assert solution is not None
        return best, solution


def clearly_worse(accuracy: float, best: float, count: int) -> bool:
    """Whether an accuracy on some images is below the best one by more than two standard errors."""
    return best - accuracy > 2 * (best * (1 - best) / count) ** 0.5


def edge_note(what: str, value: float, grid: Sequence[float]) -> tuple[str, ...]:
    """A note if a value was chosen at the edge of its grid."""
    edge = len(grid) > 2 and value in (grid[0], grid[-1])
    return (f"{what} {value:g} is at the edge of the grid",) if edge else ()


def convergence_note(found: Solution) -> tuple[str, ...]:
    """A note if a search ended before its gradient was small enough."""
    if found.converged:
        return ()
    return (f"did not converge: the gradient's norm is {found.gradient:.2g} after {found.evaluations} passes",)


class LinearPredictor:
    """A linear classifier as a predictor of all classes; those that were not learned get the logit -inf.

    Args:
        classifier: what was learned.
        num_classes: C.
        chosen: see :class:`~selfsup.evaluation.evaluator.Predictor`.
        notes: likewise.
    """

    def __init__(
        self, classifier: LinearClassifier, num_classes: int, chosen: Mapping[str, Any], notes: tuple[str, ...]
    ) -> None:
        self.classifier, self.num_classes, self.chosen, self.notes = classifier, num_classes, chosen, notes

    def __call__(self, features: Tensor) -> Tensor:
        """Logits, float64 (M, C), of features (M, D)."""
        logits = torch.full((len(features), self.num_classes), -torch.inf, dtype=torch.float64)
        logits[:, self.classifier.classes] = self.classifier.decision(features)
        return logits


def fit_logistic(features: Tensor, labels: Tensor, *, weight_decay: float, **options: Any) -> LinearClassifier:
    """Minimize mean cross-entropy + weight_decay / 2 * |weight|^2 on standardized features; the bias is not decayed.

    scikit-learn's ``LogisticRegression(C=1 / (weight_decay * N))`` on the same standardized features is the same
    problem; with two classes, for which it keeps one weight vector instead of two, ``C=2 / (weight_decay * N)``.

    Args:
        features: (N, D).
        labels: int64 (N,), any values.
        weight_decay: > 0.
        options: as in :func:`fit_rows`.

    Returns:
        The classifier, float64 on the CPU.
    """
    rows = Stacked(Features(features, torch.arange(len(features)), labels))
    return fit_rows(rows, weight_decay=weight_decay, **options)[0]


def fit_rows(
    rows: Stacked,
    *,
    weight_decay: float,
    tolerance: float = 1e-6,
    start: LinearClassifier | None = None,
    device: torch.device | str = "cpu",
    problem: SoftmaxProblem | None = None,
    **options: Any,
) -> tuple[LinearClassifier, Solution]:
    """:func:`fit_logistic` of features that may be larger than the memory.

    Args:
        rows: features with labels, of any values.
        weight_decay: > 0.
        tolerance: of the norm of the gradient; rounding sets a limit for large problems, which are solved in float32.
        start: a solution to start from; None, or one of other classes, starts from zero.
        device: where a large problem is solved; a small one always on the CPU.
        problem: of these rows, if it is there already.
        options: of :func:`~selfsup.evaluation.protocols.softmax_regression.solve`.
    """
    problem = problem or SoftmaxProblem(rows, standardize=True, device=device)
    found = solve(problem, penalty=weight_decay, tolerance=tolerance, start=problem.start(start), **options)
    return problem.classifier(found.weight, found.bias), found
