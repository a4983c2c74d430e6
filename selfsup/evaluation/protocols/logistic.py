"""SimCLR's linear evaluation: logistic regression on features as they are, chosen from a long path of penalties."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfsup.errors import ConfigError
from selfsup.evaluation.evaluator import Probe, class_count, labelled
from selfsup.evaluation.extraction.features import Features, Stacked
from selfsup.evaluation.protocols.linear import LinearPredictor, clearly_worse, convergence_note, edge_note
from selfsup.evaluation.protocols.softmax_regression import SoftmaxProblem, solve, solve_path
from selfsup.ops.progress import progress_bar
from selfsup.registry import EVALUATORS

PENALTIES = tuple(float(value) for value in np.logspace(5, -6, 45))
"""Chen et al. 2020, arXiv:2002.05709, appendix B.8: 45 values from 1e-6 to 1e5 in equal steps of the logarithm."""


@EVALUATORS.register_module()
class LogisticRegression(Probe):
    """Multinomial logistic regression with an l2 penalty on features as they are, not scaled.

    It minimizes the summed cross-entropy + l2 / 2 * |weight|^2, as scikit-learn's ``LogisticRegression(C=1 / l2)``
    does; the bias is not penalized. The l2 that classifies val best (the larger of equals) is chosen along the path
    from the largest down, each search starting from the solutions before; then the problem is solved again on train
    and val.

    Beside it stands :class:`~selfsup.evaluation.LinearProbe`, which standardizes the features: that is kinder to
    networks whose features differ in scale, this is the protocol of SimCLR's transfer tables. Small problems are solved
    in float64, large ones in float32 in blocks, see ``SoftmaxProblem``.

    What differs from the paper: Newton's method in place of L-BFGS (the minimum is the same), and the path ends where
    it has become worse than the best by more than two standard errors. Whether the paper's l2 goes with the sum or the
    mean of the cross-entropy is not known to us: here it is the sum.

    Args:
        l2: candidates, > 0, largest first; a single one is taken as it is.
        tolerance: of the norm of the gradient of the mean loss.
        max_iterations: of Newton's method, for each candidate.

    Raises:
        ConfigError: if ``l2`` is empty, not in descending order, or holds a value that is not positive, or if
            ``tolerance`` or ``max_iterations`` is too small.

    Source: Kornblith et al. 2019, arXiv:1805.08974, as used by Chen et al. 2020, arXiv:2002.05709, appendix B.8.
    """

    protocol = "logistic/1"

    def __init__(self, l2: Sequence[float] = PENALTIES, *, tolerance: float = 1e-6, max_iterations: int = 100) -> None:
        if not l2 or min(l2) <= 0:
            raise ConfigError.at("l2", "one value or more, all > 0", got=tuple(l2))
        if sorted(l2, reverse=True) != list(l2):
            raise ConfigError.at("l2", "must be given largest first", got=tuple(l2))
        for name, value in (("tolerance", tolerance), ("max_iterations", max_iterations)):
            if value <= 0:
                raise ConfigError.at(name, "must be > 0", got=value)
        self.l2 = tuple(l2)
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def fit(self, train: Features, val: Features | None) -> LinearPredictor:
        """The classifier, its l2 chosen on val, solved on train and val."""
        with progress_bar("logistic regression, passes over the features") as tick:
            options: dict[str, Any] = {
                "tolerance": self.tolerance,
                "max_iterations": self.max_iterations,
                "after_pass": tick,
            }
            l2, start, choosing = self.l2[0], None, len(self.l2) > 1 and val is not None
            if choosing:
                assert val is not None
                features, labels = labelled(val)
                problem, best = SoftmaxProblem(Stacked(train), standardize=False, device=train.device), -1.0
                path = solve_path(problem, [value / problem.count for value in self.l2], **options)
                for candidate, found in zip(self.l2, path, strict=True):
                    classifier = problem.classifier(found.weight, found.bias)
                    right = (classifier.predict(features) == labels).double().mean().item()
                    if right > best:
                        l2, best, start = candidate, right, classifier
                    elif clearly_worse(right, best, len(labels)):
                        break
                del problem
            problem = SoftmaxProblem(Stacked(train, val), standardize=False, device=train.device)
            found = solve(problem, penalty=l2 / problem.count, start=problem.start(start), **options)
        notes = (*(edge_note("l2", l2, self.l2) if choosing else ()), *convergence_note(found))
        classifier = problem.classifier(found.weight, found.bias)
        return LinearPredictor(classifier, class_count(train, val), {"l2": l2} if choosing else {}, notes)
