"""Classification from a few images of each class, many times over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.extraction.features import Features, Stacked
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score, over_draws
from selfsup.evaluation.task import Task, check_learnable
from selfsup.ops.dist import from_main
from selfsup.ops.progress import progress_bar
from selfsup.registry import EVALUATORS

CLASSIFIERS = ("ridge", "centroid")
RATIOS = tuple(float(ratio) for ratio in np.logspace(-6, 4, 21))
"""Candidate penalties of the ridge, in units of the mean squared length of the centered features."""
_BLOCK = 8192  # test images at a time


@EVALUATORS.register_module()
class FewShot:
    """What k images of each class are enough for: ridge regression and nearest centroid on frozen features.

    Images are drawn from train and val together, ``draws`` times; each draw of k images of a class is part of its
    draw of more. ``ridge`` is least squares to one-hot targets with an l2 penalty, on features standardized on the
    drawn images, solved in closed form; its penalty is the one with the least squared leave-one-out error, which needs
    no image beside those drawn. ``centroid`` gives the class whose mean of L2-normalized features is nearest.

    Scores are called ``ridge5``, ``centroid5``: the mean over the draws of the accuracy (of the mean per class if that
    is the task's metric) with the 95 % interval of that mean, by Student's t over the draws. Test images are the same
    in all draws.

    Args:
        shots: values of k, > 0; those that a class has too few images for are left out, and noted.
        draws: how many, > 1.
        classifiers: of ``'ridge'`` and ``'centroid'``.
        seed: of the draws.

    Raises:
        ConfigError: if a number is too small or a classifier unknown.

    Source: leave-one-out by the hat matrix: Allen 1974, Technometrics 16, 125-127; one eigendecomposition for all
        penalties, as in big_vision's ``fewshot_lsr``, which chooses the penalty otherwise.
    """

    protocol = "few-shot/1"
    needs = frozenset({"labels", "train"})

    def __init__(
        self,
        shots: Sequence[int] = (1, 2, 5, 10, 25),
        *,
        draws: int = 20,
        classifiers: Sequence[str] = CLASSIFIERS,
        seed: int = 0,
    ) -> None:
        if not shots or min(shots) < 1:
            raise ConfigError.at("shots", "one value or more, all > 0", got=tuple(shots))
        if draws < 2:
            raise ConfigError.at("draws", "must be > 1", got=draws)
        if not classifiers or set(classifiers) - set(CLASSIFIERS):
            raise ConfigError.at("classifiers", f"must be of {', '.join(CLASSIFIERS)}", got=tuple(classifiers))
        self.shots = tuple(sorted(shots))
        self.draws = draws
        self.classifiers = tuple(classifiers)
        self.seed = seed

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores on the task's test images; the main process computes them."""
        check_learnable(task)
        parts = task.parts
        labels = np.concatenate([np.asarray(part.labels) for part in (parts.train, parts.val) if part is not None])
        self._usable(labels, task.name)
        train, test = representation.features(parts.train), representation.features(parts.test)
        val = None if parts.val is None else representation.features(parts.val)
        return from_main(lambda: self._result(Stacked(train, val), test, task))

    def _usable(self, labels: np.ndarray, task: str) -> tuple[int, ...]:
        fewest = int(np.unique(labels, return_counts=True)[1].min())
        usable = tuple(k for k in self.shots if k <= fewest)
        if not usable:
            raise DataError.at(
                f"tasks.{task}", "a class has too few training images", got=fewest, expected=f"{self.shots[0]} or more"
            )
        return usable

    def _result(self, rows: Stacked, test: Features, task: Task) -> Result:
        labels = rows.labels.numpy()
        usable = self._usable(labels, task.name)
        classes, positions = np.unique(labels, return_inverse=True)
        assert test.labels is not None
        found: dict[str, list[float]] = {f"{name}{k}": [] for name in self.classifiers for k in usable}
        ratios: dict[str, list[float]] = {f"ridge{k}": [] for k in usable if "ridge" in self.classifiers}
        with progress_bar("few-shot, draws", total=self.draws) as tick:
            for draw in range(self.draws):
                rng = np.random.default_rng([self.seed, draw])
                orders = [rng.permutation(np.flatnonzero(positions == number)) for number in range(len(classes))]
                most = rows.rows(np.concatenate([order[: usable[-1]] for order in orders])).double()
                targets = torch.arange(len(classes)).repeat_interleave(usable[-1])
                for k in usable:
                    chosen = torch.arange(len(targets)) % usable[-1] < k
                    for name in self.classifiers:
                        if name == "ridge":
                            classifier, ratio = fit_ridge(most[chosen], targets[chosen])
                            ratios[f"ridge{k}"].append(ratio)
                        else:
                            classifier = fit_centroid(most[chosen], targets[chosen])
                        predicted = classes[classifier.predict(test.features).numpy()]
                        found[f"{name}{k}"].append(_accuracy(predicted, test.labels.numpy(), task.metric))
                tick()
        left_out = [k for k in self.shots if k not in usable]
        notes = (f"a class has too few training images for k = {', '.join(map(str, left_out))}",) if left_out else ()
        chosen_by = {name: float(np.median(values)) for name, values in ratios.items()}
        scores = {name: over_draws(values) for name, values in found.items()}
        if usable[-1] * len(classes) == len(rows):  # all there is: an interval over draws would say nothing
            for name in self.classifiers:
                same = scores[f"{name}{usable[-1]}"]
                scores[f"{name}{usable[-1]}"] = Score(same.value, n=1, spread="draws")
            notes = (*notes, f"k = {usable[-1]} takes every image there is: no draw differs from another")
        return Result(scores, chosen={"penalty ratio, median": chosen_by} if chosen_by else {}, notes=notes)


@dataclass(frozen=True, eq=False)
class Affine:
    """A classifier by the greatest of affine functions, after L2 normalization if that is asked for.

    Args:
        weight: (D, C).
        bias: (C,).
        normalized: whether features are L2-normalized first.
    """

    weight: Tensor
    bias: Tensor
    normalized: bool = False

    def predict(self, features: Tensor) -> Tensor:
        """The class of each row of features (M, D), int64 (M,)."""
        weight, bias = self.weight.float(), self.bias.float()
        found = []
        for block in features.split(_BLOCK):
            block = normalize(block.float(), dim=1) if self.normalized else block.float()
            found.append(torch.addmm(bias, block, weight).argmax(dim=1))
        return torch.cat(found)


def fit_ridge(features: Tensor, targets: Tensor, ratios: Sequence[float] = RATIOS) -> tuple[Affine, float]:
    """Ridge regression of one-hot targets on standardized features, the penalty chosen by leave-one-out.

    Args:
        features: float64, (N, D).
        targets: classes, int64 (N,).
        ratios: candidate penalties, in units of the mean squared length of the standardized features.

    Returns:
        The classifier, and the ratio that was chosen: the largest of equally good ones.
    """
    std, mean = torch.std_mean(features, dim=0, correction=0)
    scale = torch.where(std > 1e-9 * mean.abs().clamp_min(1e-12), std, 1.0)
    inputs = (features - mean) / scale
    wanted = one_hot(targets).double()
    level = wanted.mean(dim=0)
    vectors, values = _left_singular(inputs)
    unit = float(inputs.square().sum() / len(inputs)) or 1.0
    penalties = [ratio * unit for ratio in sorted(ratios, reverse=True)]
    errors = [float(leave_one_out(vectors, values, wanted - level, penalty).square().sum()) for penalty in penalties]
    penalty = penalties[int(np.argmin(errors))]
    inside = vectors.T @ (wanted - level) / (values + penalty)[:, None]
    weight = (inputs.T @ (vectors @ inside)) / scale[:, None]
    return Affine(weight, level - mean @ weight), penalty / unit


def leave_one_out(vectors: Tensor, values: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """What a ridge regression with intercept, learned without an image, gets wrong for it; for each image.

    Args:
        vectors: left singular vectors of the centered inputs, (N, R).
        values: their squared singular values, (R,).
        targets: centered, (N, C).
        penalty: > 0.

    Returns:
        Target minus prediction, (N, C).
    """
    kept = values / (values + penalty)
    leverage = vectors.square() @ kept + 1 / len(vectors)
    return (targets - vectors @ (kept[:, None] * (vectors.T @ targets))) / (1 - leverage)[:, None]


def fit_centroid(features: Tensor, targets: Tensor) -> Affine:
    """Nearest class mean of L2-normalized features, float64 (N, D) with classes int64 (N,)."""
    shares = one_hot(targets).double()
    centers = (shares.T @ normalize(features, dim=1)) / shares.sum(dim=0)[:, None]
    return Affine(centers.T, -centers.square().sum(dim=1) / 2, normalized=True)


def _left_singular(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (N, R) and squared singular values (R,), from the smaller of the two Gram matrices."""
    if len(inputs) <= inputs.shape[1]:
        values, vectors = torch.linalg.eigh(inputs @ inputs.T)
        return vectors, values.clamp_min(0)
    values, axes = torch.linalg.eigh(inputs.T @ inputs)
    kept = values > 1e-12 * values[-1].clamp_min(1e-300)
    return inputs @ axes[:, kept] / values[kept].sqrt(), values[kept]


def _accuracy(predicted: np.ndarray, labels: np.ndarray, metric: str) -> float:
    right = predicted == labels
    if metric != "per_class":
        return float(right.mean())
    positions = np.unique(labels, return_inverse=True)[1]
    return float((np.bincount(positions, right) / np.bincount(positions)).mean())
