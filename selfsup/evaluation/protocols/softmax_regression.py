"""Multinomial logistic regression with an l2 penalty, solved to any tolerance, on features of any number."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from selfsup.evaluation.extraction.features import Stacked

HELD_BYTES = 2**29
"""Of features in float64, up to which a problem is held in memory and solved in float64; others are read in blocks."""
BLOCK = 4096  # rows that are read at a time
MAX_PRODUCTS = 1000  # of the Hessian with a direction, in one Newton step
_FORCING = 0.1  # a Newton system is solved to this, or to the square root of the gradient, relative to its start


class LinearClassifier:
    """Standardize, then an affine map to one logit a class.

    Args:
        mean: of each feature, (D,).
        scale: standard deviation of each feature, 1 where a feature is constant or is not scaled, (D,).
        weight: (C, D), for standardized features.
        bias: (C,).
        classes: the label of each row of ``weight``, int64 (C,).
    """

    def __init__(self, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, classes: Tensor) -> None:
        self.mean = mean
        self.scale = scale
        self.weight = weight
        self.bias = bias
        self.classes = classes

    def decision(self, features: Tensor) -> Tensor:
        """Logits, float64 (M, C), of features (M, D); in blocks."""
        weight = (self.weight / self.scale).T
        logits = torch.empty(len(features), len(self.bias), dtype=torch.float64)
        for part, block in zip(logits.split(BLOCK), features.split(BLOCK), strict=True):
            torch.addmm(self.bias, block.double() - self.mean, weight, out=part)
        return logits

    def predict(self, features: Tensor) -> Tensor:
        """The label of each row of features (M, D), int64 (M,)."""
        return self.classes[self.decision(features).argmax(dim=1)]


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a search has ended.

    Args:
        weight: (C, R), along the principal axes.
        bias: (C,).
        loss: mean cross-entropy and penalty.
        gradient: Euclidean norm of the loss's gradient.
        converged: whether that is within the tolerance.
        evaluations: passes over the features that it took, a product with the Hessian counting as one.
    """

    weight: Tensor
    bias: Tensor
    loss: float
    gradient: float
    converged: bool
    evaluations: int


class SoftmaxProblem:
    """Mean cross-entropy of an affine map of features + penalty / 2 * |weight|^2; the bias is not penalized.

    The features are centered, which changes the bias alone, and rotated onto their principal axes, which changes
    nothing: there, the diagonal of the Hessian says most of how steep it is. A small problem is held in memory,
    rotated, in float64 (products with the Hessian in float32: a Newton step need not be exact). A large one is read in
    blocks of float32 from wherever the features are, once for each evaluation, and sums are kept in float64.

    Args:
        rows: features with labels.
        standardize: scale each feature to standard deviation 1.
        device: where a large problem is computed; a small one always on the CPU.
        held: whether the problem is held in memory; None for whether it is small.
    """

    def __init__(
        self, rows: Stacked, *, standardize: bool, device: torch.device | str = "cpu", held: bool | None = None
    ) -> None:
        self.rows = rows
        self.count = len(rows)
        self.held = 8 * self.count * rows.dim <= HELD_BYTES if held is None else held
        self.device = torch.device("cpu") if self.held else torch.device(device)
        self.classes, targets = rows.labels.unique(return_inverse=True)
        self.targets = targets.to(self.device)
        self.mean, self.scale = self._mean_and_scale(standardize)
        few = self.held and self.count < rows.dim  # then the products of the images have the same eigenvalues
        whole = (torch.cat(list(rows.blocks(BLOCK))).double() - self.mean) / self.scale if self.held else None
        gram = whole @ whole.T if few and whole is not None else self._gram()
        variances, axes = torch.linalg.eigh(gram / self.count)
        kept = variances > 1e-12 * variances[-1].clamp_min(1e-300)  # in the others the weight is zero at the minimum
        self.variances, self.axes = variances[kept], axes[:, kept]
        if few and whole is not None:
            self.axes = whole.T @ self.axes / (self.variances * self.count).sqrt()
        self._at: tuple[Tensor, Tensor] | None = None
        self._probabilities: Tensor | None = None
        self._spread: Tensor
        if whole is not None:
            self._inputs = whole @ self.axes
            self._fast = self._inputs.float()
            self._squares = self._fast.square()

    @property
    def dim(self) -> int:
        """R, the principal axes along which the features vary."""
        return len(self.variances)

    def start(self, classifier: LinearClassifier | None = None) -> tuple[Tensor, Tensor]:
        """Weight and bias of a classifier in this problem's coordinates; zeros without one, or for other classes."""
        weight = torch.zeros(len(self.classes), self.dim, dtype=torch.float64)
        bias = torch.zeros(len(self.classes), dtype=torch.float64)
        if classifier is None or not torch.equal(classifier.classes, self.classes):
            return weight, bias
        plain = classifier.weight / classifier.scale
        return (plain * self.scale) @ self.axes, classifier.bias + plain @ (self.mean - classifier.mean)

    def classifier(self, weight: Tensor, bias: Tensor) -> LinearClassifier:
        """The inverse of :meth:`start`."""
        return LinearClassifier(self.mean, self.scale, weight @ self.axes.T, bias, self.classes)

    def evaluate(self, weight: Tensor, bias: Tensor) -> tuple[float, Tensor, Tensor]:
        """Mean cross-entropy, and its gradients with respect to weight and bias, float64."""
        self._at = weight, bias
        if self.held:
            logits = torch.addmm(bias, self._inputs, weight.T)
            loss, probabilities = self._probabilities_of(logits, self.targets)
            self._probabilities = probabilities.float()
            self._spread = (self._probabilities * (1 - self._probabilities)).mean(dim=0)
            error = probabilities.sub_(one_hot(self.targets, len(self.classes)))
            return loss / self.count, error.T @ self._inputs / self.count, error.mean(dim=0)
        plain, offset = self._plain(weight), bias.to(self.device, torch.float32)
        total, gradient = 0.0, torch.zeros(plain.shape, dtype=torch.float64, device=self.device)
        sums = torch.zeros(2, len(bias), dtype=torch.float64, device=self.device)
        for block, targets in self._blocks():
            loss, probabilities = self._probabilities_of(torch.addmm(offset, block, plain.T), targets)
            total += loss
            sums[1] += (probabilities * (1 - probabilities)).sum(dim=0)
            probabilities[torch.arange(len(targets), device=self.device), targets] -= 1
            gradient += probabilities.T @ block
            sums[0] += probabilities.sum(dim=0)
        self._spread = (sums[1] / self.count).cpu().float()
        along = (gradient.cpu() / self.count / self.scale) @ self.axes
        return total / self.count, along, sums[0].cpu() / self.count

    def product(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The Hessian of the mean cross-entropy, where it was last evaluated, times a direction; float32."""
        if self.held:
            assert self._probabilities is not None
            moved = torch.addmm(bias, self._fast, weight.T)
            moved = _curved(self._probabilities, moved)
            return moved.T @ self._fast / self.count, moved.mean(dim=0)
        assert self._at is not None
        plain, offset = self._plain(self._at[0]), self._at[1].to(self.device, torch.float32)
        direction, shift = self._plain(weight.double()), bias.to(self.device)
        found, sums = torch.zeros_like(plain), torch.zeros_like(shift)
        for block, _ in self._blocks():
            moved = _curved(torch.addmm(offset, block, plain.T).softmax(dim=1), torch.addmm(shift, block, direction.T))
            found.addmm_(moved.T, block)
            sums += moved.sum(dim=0)
        along = (found.cpu().double() / self.count / self.scale) @ self.axes
        return along.float(), sums.cpu() / self.count

    def diagonal(self) -> tuple[Tensor, Tensor]:
        """About the diagonal of that Hessian, for weight and bias; float32."""
        if self.held:
            assert self._probabilities is not None
            spread = self._probabilities * (1 - self._probabilities)
            return spread.T @ self._squares / self.count, self._spread
        return self._spread[:, None] * self.variances.float(), self._spread

    def _probabilities_of(self, logits: Tensor, targets: Tensor) -> tuple[float, Tensor]:
        """Summed cross-entropy, and the softmax, which overwrites the logits."""
        log_probabilities = logits.log_softmax(dim=1)
        loss = -log_probabilities.gather(1, targets[:, None]).sum(dtype=torch.float64)
        return float(loss), log_probabilities.exp_()

    def _plain(self, weight: Tensor) -> Tensor:
        """A weight along the axes as one for centered features."""
        return (weight @ self.axes.T / self.scale).to(self.device, torch.float32)

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Centered features, which the next block overwrites, and targets, on the device."""
        mean, start = self.mean.float().to(self.device), 0
        centered = torch.empty(min(BLOCK, self.count), self.rows.dim, device=self.device)
        for block in self.rows.blocks(BLOCK):
            targets = self.targets[start : start + len(block)]
            yield torch.sub(block.to(self.device, torch.float32), mean, out=centered[: len(block)]), targets
            start += len(block)

    def _mean_and_scale(self, standardize: bool) -> tuple[Tensor, Tensor]:
        """Of each feature, float64 (D,); the scale is 1 for a constant feature, and where it is not wanted."""
        mean = sum(block.double().sum(dim=0) for block in self.rows.blocks(BLOCK)) / self.count
        assert isinstance(mean, Tensor)
        if not standardize:
            return mean, torch.ones_like(mean)
        squares = sum((block.double() - mean).square().sum(dim=0) for block in self.rows.blocks(BLOCK))
        assert isinstance(squares, Tensor)
        scale = (squares / self.count).sqrt()
        return mean, torch.where(scale > 1e-9 * mean.abs().clamp_min(1e-12), scale, 1.0)

    def _gram(self) -> Tensor:
        """The centered and scaled features' products with one another, float64 (D, D)."""
        gram = torch.zeros(self.rows.dim, self.rows.dim, dtype=torch.float64)
        dtype = torch.float64 if self.held else torch.float32
        mean, scale = self.mean.to(self.device, dtype), self.scale.to(self.device, dtype)
        for block in self.rows.blocks(BLOCK):
            centered = (block.to(self.device, dtype) - mean) / scale
            gram += (centered.T @ centered).cpu()
        return gram


def _curved(probabilities: Tensor, moved: Tensor) -> Tensor:
    """(diag(p) - p p^T) times what moves the logits, for each row."""
    weighted = probabilities * moved
    return weighted.sub_(probabilities * weighted.sum(dim=1, keepdim=True))


def solve(
    problem: SoftmaxProblem,
    *,
    penalty: float,
    tolerance: float,
    start: tuple[Tensor, Tensor] | None = None,
    gap: float = float("inf"),
    max_iterations: int = 100,
    after_pass: Callable[[], object] = lambda: None,
) -> Solution:
    """Minimize a problem's loss by Newton's method, each step by preconditioned conjugate gradients.

    Args:
        problem: what is minimized.
        penalty: > 0, of the mean loss.
        tolerance: of the Euclidean norm of the gradient, which bounds its largest entry in any coordinates.
        start: weight and bias; None for zeros.
        gap: how far the loss may be above the minimum, relative to it; by gradient^2 / (2 * penalty), which bounds it.
        max_iterations: of Newton's.
        after_pass: called after each pass over the features.

    Source: Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 7.1.
    """
    weight, bias = start or problem.start()
    passes = 0

    def loss_at(weight: Tensor, bias: Tensor) -> tuple[float, Tensor, Tensor]:
        nonlocal passes
        loss, by_weight, by_bias = problem.evaluate(weight, bias)
        passes += 1
        after_pass()
        return loss + penalty / 2 * float(weight.square().sum()), by_weight + penalty * weight, by_bias

    loss, by_weight, by_bias = loss_at(weight, bias)
    gradient = _norm(by_weight, by_bias)

    def is_close() -> bool:
        return gradient <= tolerance and gradient**2 <= 2 * penalty * gap * loss

    for _ in range(max_iterations):
        if is_close():
            break
        step, shift, products = _newton_step(problem, penalty, by_weight, by_bias, gradient, after_pass)
        passes += products
        slope, length = float((by_weight * step).sum() + (by_bias * shift).sum()), 1.0
        while True:
            found = loss_at(weight + length * step, bias + length * shift)
            if found[0] <= loss + 1e-4 * length * slope + 1e-14 * abs(loss):
                break
            length /= 2
            if length < 1e-9:  # rounding is larger than what is left to gain
                loss_at(weight, bias)
                return Solution(weight, bias, loss, gradient, is_close(), passes)
        weight, bias = weight + length * step, bias + length * shift
        loss, by_weight, by_bias = found
        gradient = _norm(by_weight, by_bias)
    return Solution(weight, bias, loss, gradient, is_close(), passes)


def solve_path(
    problem: SoftmaxProblem, penalties: Sequence[float], *, tolerance: float | Sequence[float], **options: Any
) -> Iterator[Solution]:
    """Solutions for penalties in equal steps of their logarithm, largest first, each from those before it.

    Where a search begins is the better of two: the last solution, and the parabola through the last three.

    Args:
        problem, options: as in :func:`solve`.
        penalties: of the mean loss, descending.
        tolerance: as in :func:`solve`, or one for each penalty.
    """
    known: list[tuple[Tensor, Tensor]] = []
    tolerances = tolerance if isinstance(tolerance, Sequence) else [tolerance] * len(penalties)
    for penalty, allowed in zip(penalties, tolerances, strict=True):
        start = problem.start() if not known else known[-1]
        if len(known) == 3:
            weight, bias = (3 * c - 3 * b + a for a, b, c in zip(*known, strict=True))
            if _gradient_at(problem, penalty, weight, bias) < _gradient_at(problem, penalty, *start):
                start = weight, bias
        found = solve(problem, penalty=penalty, tolerance=allowed, start=start, **options)
        known = [*known, (found.weight, found.bias)][-3:]
        yield found


def _gradient_at(problem: SoftmaxProblem, penalty: float, weight: Tensor, bias: Tensor) -> float:
    _, by_weight, by_bias = problem.evaluate(weight, bias)
    return _norm(by_weight + penalty * weight, by_bias)


def _newton_step(
    problem: SoftmaxProblem,
    penalty: float,
    by_weight: Tensor,
    by_bias: Tensor,
    gradient: float,
    after_pass: Callable[[], object],
) -> tuple[Tensor, Tensor, int]:
    """About minus the inverse of the Hessian times the gradient, and the products with the Hessian that it took."""
    steepness, bias_steepness = problem.diagonal()
    steepness, bias_steepness = steepness + penalty, bias_steepness.clamp_min(1e-12)
    rest, bias_rest = -(by_weight / gradient).float(), -(by_bias / gradient).float()
    step, shift = torch.zeros_like(rest), torch.zeros_like(bias_rest)
    toward, bias_toward = rest / steepness, bias_rest / bias_steepness
    size = first = _dot(rest, toward, bias_rest, bias_toward)
    accuracy = min(_FORCING, gradient**0.5) ** 2
    for number in itertools.count(1):
        bent, bias_bent = problem.product(toward, bias_toward)
        after_pass()
        bent = bent + penalty * toward
        curvature = _dot(toward, bent, bias_toward, bias_bent)
        if curvature <= 0:  # below what float32 resolves
            break
        length = size / curvature
        step += length * toward
        shift += length * bias_toward
        rest -= length * bent
        bias_rest -= length * bias_bent
        scaled, bias_scaled = rest / steepness, bias_rest / bias_steepness
        new = _dot(rest, scaled, bias_rest, bias_scaled)
        if new <= accuracy * first or number == MAX_PRODUCTS:
            break
        toward, bias_toward = scaled + new / size * toward, bias_scaled + new / size * bias_toward
        size = new
    if not step.any():
        step, shift = toward, bias_toward
    return step.double() * gradient, shift.double() * gradient, number


def _dot(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> float:
    return float((a * b).sum(dtype=torch.float64) + (c * d).sum(dtype=torch.float64))


def _norm(weight: Tensor, bias: Tensor) -> float:
    return float((weight.square().sum() + bias.square().sum()).sqrt())
