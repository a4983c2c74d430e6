"""Linear probe of frozen features, solved rather than trained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import ConfigError
from selfsup.evaluation.evaluator import Probe, class_count, labelled
from selfsup.evaluation.features import Features, joined
from selfsup.ops.progress import progress_bar
from selfsup.registry import EVALUATORS

WEIGHT_DECAYS = (1.0, 0.1, 1e-2, 1e-3, 1e-4)  # a decade apart: accuracy is flat to well under a point within one
_SMALL = 1 << 27  # features x images x classes
_BLOCK = 8192  # rows whose logits are held at once


@EVALUATORS.register_module()
class LinearProbe(Probe):
    """Multinomial logistic regression on standardized frozen features: convex, so there is no schedule to tune.

    Each feature is scaled to mean 0 and standard deviation 1 on the images that are learned from. The weight decay is
    the one of ``weight_decays`` that classifies val best (the larger of equals); the probe is then solved again on
    train and val. Test images are looked at once, at the end. The papers' own protocols train with SGD and augmentation
    for many epochs and differ from one another, so numbers are comparable within one protocol only.

    Small problems are solved in float64; those of more than 134 million features x images x classes in float32, on the
    device that computed the features. On 6,400 images, 512 features and 100 classes, for weight decays from 1 to 1e-4,
    that gave the same accuracy within 0.02 points (99.3 % to 100 % of predictions equal) in an eighth to a third of the
    time. Meant for up to about 100,000 images; process 0 solves, the others wait for its scores.

    Args:
        weight_decays: candidates, > 0, largest first; a single one is taken as it is.
        max_iterations: of L-BFGS, for each candidate.

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
        with progress_bar("linear probe, evaluations of the loss") as tick:
            options: dict[str, Any] = {
                "max_iterations": self.max_iterations,
                "device": train.device,
                "after_evaluation": tick,
            }
            weight_decay, start, chosen = self.weight_decays[0], None, {}
            if len(self.weight_decays) > 1 and val is not None:
                weight_decay, start = self._choose(train, val, options)
                chosen = {"weight_decay": weight_decay}
            whole = train if val is None else joined([train, val])
            classifier = fit_logistic(*labelled(whole), weight_decay=weight_decay, start=start, **options)
        edge = (
            chosen and len(self.weight_decays) > 2 and weight_decay in (self.weight_decays[0], self.weight_decays[-1])
        )
        notes = (f"weight decay {weight_decay:g} is at the edge of the grid",) if edge else ()
        return LinearPredictor(classifier, class_count(whole), chosen, notes)

    def _choose(self, train: Features, val: Features, options: dict[str, Any]) -> tuple[float, "LinearClassifier"]:
        """The weight decay that classifies val best, and its solution.

        From the largest down, each solution is where the search for the next begins. The search ends where a weight
        decay is worse than the best one by more than two standard errors.
        """
        features, labels = labelled(val)
        best, accuracy, solution, found = self.weight_decays[0], -1.0, None, None
        for candidate in self.weight_decays:
            tolerance = 1e-4  # enough to rank the candidates
            found = fit_logistic(*labelled(train), weight_decay=candidate, tolerance=tolerance, start=found, **options)
            right = (found.predict(features) == labels).double().mean().item()
            if right > accuracy:
                best, accuracy, solution = candidate, right, found
            elif accuracy - right > 2 * (accuracy * (1 - accuracy) / len(labels)) ** 0.5:
                break
        assert solution is not None
        return best, solution


class LinearPredictor:
    """A linear classifier as a predictor of all classes; those that were not learned get the logit -inf.

    Args:
        classifier: what was learned.
        num_classes: C.
        chosen: see :class:`~selfsup.evaluation.evaluator.Predictor`.
        notes: likewise.
    """

    def __init__(
        self, classifier: "LinearClassifier", num_classes: int, chosen: Mapping[str, Any], notes: tuple[str, ...]
    ) -> None:
        self.classifier, self.num_classes, self.chosen, self.notes = classifier, num_classes, chosen, notes

    def __call__(self, features: Tensor) -> Tensor:
        """Logits, float64 (M, C), of features (M, D)."""
        logits = torch.full((len(features), self.num_classes), -torch.inf, dtype=torch.float64)
        logits[:, self.classifier.classes] = self.classifier.decision(features)
        return logits


class LinearClassifier:
    """Standardize, then an affine map to one logit a class.

    Args:
        mean: of each feature, (D,).
        scale: standard deviation of each feature, 1 where a feature is constant, (D,).
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
        """Logits, float64 (M, C), of features (M, D)."""
        return (features.double() - self.mean) / self.scale @ self.weight.T + self.bias

    def predict(self, features: Tensor) -> Tensor:
        """The label of each row of features (M, D), int64 (M,)."""
        return self.classes[self.decision(features).argmax(dim=1)]


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    *,
    weight_decay: float,
    max_iterations: int = 200,
    tolerance: float | None = None,
    start: LinearClassifier | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    after_evaluation: Callable[[], None] | None = None,
) -> LinearClassifier:
    """Minimize mean cross-entropy + weight_decay / 2 * |weight|^2 on standardized features; the bias is not decayed.

    scikit-learn's ``LogisticRegression(C=1 / (weight_decay * N))`` on the same standardized features is the same
    problem; with two classes, for which it keeps one weight vector instead of two, ``C=2 / (weight_decay * N)``.

    The search runs along the principal axes of the features, each stretched by about the square root of the curvature
    there (p (1 - p) variance + weight_decay, with p = 1 / classes): the minimum is the same, the way to it several
    times shorter.

    Args:
        features: (N, D).
        labels: int64 (N,), any values.
        weight_decay: > 0.
        max_iterations: of full-batch L-BFGS.
        tolerance: stop when no entry of the gradient along the stretched axes is larger; None for 1e-6 in float64 and
            1e-5 in float32, which cannot tell smaller ones from rounding.
        start: a solution to start from; None, or one of another shape, starts from zero.
        device: where the problem is solved; a small one always on the CPU.
        dtype: of the matrix products; None for float64 if the problem is small, else float32. Losses are summed in
            float64 either way.
        after_evaluation: called after each evaluation of the loss.

    Returns:
        The classifier, float64 on the CPU.
    """
    classes, targets = labels.unique(return_inverse=True)
    small = features.numel() * len(classes) <= _SMALL
    device = torch.device("cpu") if small else torch.device(device)
    dtype = dtype or (torch.float64 if small else torch.float32)
    tolerance = tolerance or (1e-6 if dtype == torch.float64 else 1e-5)
    mean, scale = _mean_and_scale(features)
    inputs = ((features.double() - mean) / scale).to(device, dtype)
    variances, axes = torch.linalg.eigh((inputs.T @ inputs / len(inputs)).double().cpu())
    steepness = (variances.clamp_min(0) / len(classes) + weight_decay).sqrt()
    inputs = inputs @ (axes / steepness).to(inputs)
    targets = targets.to(device)
    same_shape = start is not None and start.weight.shape == (len(classes), inputs.shape[1])
    weight = torch.zeros(len(classes), len(axes), dtype=torch.float64)
    bias = torch.zeros(len(classes), dtype=torch.float64)
    if start is not None and same_shape:
        weight, bias = start.weight @ axes * steepness, start.bias.clone()
    weight, bias = weight.to(inputs), bias.to(inputs)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_iterations,
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )
    decay = (weight_decay / steepness.square()).to(inputs)

    def closure() -> Tensor:
        loss, weight.grad, bias.grad = _cross_entropy(inputs, targets, weight, bias)
        weight.grad += decay * weight
        if after_evaluation is not None:
            after_evaluation()
        return loss + (decay * weight.square()).sum(dtype=torch.float64) / 2

    optimizer.step(closure)
    return LinearClassifier(mean, scale, (weight.cpu().double() / steepness) @ axes.T, bias.cpu().double(), classes)


def _cross_entropy(inputs: Tensor, targets: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy, float64, and its gradients with respect to weight and bias; a block of rows at a time."""
    loss = torch.zeros((), dtype=torch.float64, device=inputs.device)
    weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
    for some, their_targets in zip(inputs.split(_BLOCK), targets.split(_BLOCK), strict=True):
        logits = torch.addmm(bias, some, weight.T)
        log_probabilities = logits.log_softmax(dim=1)
        right = their_targets[:, None]
        loss -= log_probabilities.gather(1, right).sum(dtype=torch.float64)
        error = log_probabilities.exp_().scatter_add_(1, right, torch.full_like(right, -1, dtype=logits.dtype))
        weight_gradient.addmm_(error.T, some)
        bias_gradient += error.sum(dim=0)
    count = len(inputs)
    return loss / count, weight_gradient / count, bias_gradient / count


def _mean_and_scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """Of each feature, float64 (D,); the scale of a constant feature is 1."""
    scale, mean = torch.std_mean(features.double(), dim=0, correction=0)
    return mean, torch.where(scale > 1e-9 * mean.abs().clamp_min(1e-12), scale, 1.0)
