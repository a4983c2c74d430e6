"""Linear probe of frozen features, solved rather than trained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from selfsup.data.preprocess import Preprocess
from selfsup.evaluation.base import evaluate_features
from selfsup.evaluation.features import Features, FeatureSource
from selfsup.evaluation.metrics import mean_per_class, top1
from selfsup.evaluation.split import stratified_split
from selfsup.registry import EVALUATORS

WEIGHT_DECAYS = (1.0, 0.1, 1e-2, 1e-3, 1e-4)  # a decade apart: accuracy is flat to well under a point within one


@EVALUATORS.register_module()
class LinearProbe:
    """Multinomial logistic regression on standardised frozen features: convex, so there is no schedule to tune.

    Each feature is scaled to mean 0 and standard deviation 1 on the training images. The weight decay is the one of
    ``weight_decays`` that classifies a held-out fifth of the *training* images best (the larger of equals); the probe
    is then solved again on all of them. Test images are looked at once, at the end. Meant for up to about 100,000
    training images, all features in memory; the papers' own protocols train with SGD and augmentation for many epochs
    and differ from one another, so numbers are comparable within one protocol only.

    Scores: ``top1`` and ``per_class`` (mean over the classes), fractions.

    Args:
        train: labelled data set or its dict.
        test: labelled data set or its dict.
        weight_decays: candidates, > 0, largest first; a single one is taken as it is.
        max_iterations: of L-BFGS, for each candidate.
        seed: of the held-out fifth.
        size, resize, preprocess, batch_size, num_workers: as in :class:`FeatureSource`.

    Raises:
        ValueError: if ``weight_decays`` is empty or holds a value that is not positive.
    """

    needs_labels = True

    def __init__(
        self,
        train: Any,
        test: Any,
        *,
        weight_decays: Sequence[float] = WEIGHT_DECAYS,
        max_iterations: int = 200,
        seed: int = 0,
        size: int = 224,
        resize: int | None = None,
        preprocess: Preprocess | dict | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
    ) -> None:
        if not weight_decays or min(weight_decays) <= 0:
            raise ValueError(f"LinearProbe.weight_decays: one value or more, all > 0, got {tuple(weight_decays)}")
        self.weight_decays = tuple(weight_decays)
        self.max_iterations = max_iterations
        self.seed = seed
        source = FeatureSource.build(
            train, size=size, resize=resize, preprocess=preprocess, batch_size=batch_size, num_workers=num_workers
        )
        self.sources: tuple[FeatureSource, ...] = (source, source.of(test))

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        """Scores of a backbone."""
        return evaluate_features(self, backbone)

    def score(self, *features: Features) -> dict[str, float]:
        """Scores of the features of the training and the test images."""
        train, test = (f.with_labels() for f in features)
        predictions = self.fit(*train).predict(test[0])
        return {"top1": top1(predictions, test[1]), "per_class": mean_per_class(predictions, test[1])}

    def fit(self, features: Tensor, labels: Tensor) -> "LinearClassifier":
        """The probe for these training features (N, D) and labels (N,), its weight decay chosen among them."""
        weight_decay = self.weight_decays[0]
        if len(self.weight_decays) > 1:
            fitting, held_out = map(torch.from_numpy, stratified_split(labels.numpy(), test_share=0.2, seed=self.seed))
            accuracy, start = {}, None
            for candidate in self.weight_decays:
                start = fit_logistic(
                    features[fitting],
                    labels[fitting],
                    weight_decay=candidate,
                    max_iterations=self.max_iterations,
                    tolerance=1e-4,  # enough to rank the candidates
                    start=start,
                )
                accuracy[candidate] = top1(start.predict(features[held_out]), labels[held_out])
            weight_decay = max(accuracy, key=lambda candidate: accuracy[candidate])
        return fit_logistic(features, labels, weight_decay=weight_decay, max_iterations=self.max_iterations)


class LinearClassifier:
    """Standardise, then an affine map to one score a class.

    Args:
        mean: of each feature, (D,).
        scale: standard deviation of each feature, 1 where a feature is constant, (D,).
        weight: (C, D), for standardised features.
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
        """Scores before the softmax, float64 (M, C), of features (M, D)."""
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
    tolerance: float = 1e-6,
    start: LinearClassifier | None = None,
) -> LinearClassifier:
    """Minimise mean cross-entropy + weight_decay / 2 * |weight|^2 on standardised features; the bias is not decayed.

    scikit-learn's ``LogisticRegression(C=1 / (weight_decay * N))`` on the same standardised features is the same
    problem; with two classes, for which it keeps one weight vector instead of two, ``C=2 / (weight_decay * N)``.

    The search runs along the principal axes of the features, each stretched by about the square root of the curvature
    there (p (1 - p) variance + weight_decay, with p = 1 / classes): the minimum is the same, the way to it several
    times shorter.

    Args:
        features: (N, D).
        labels: int64 (N,), any values.
        weight_decay: > 0.
        max_iterations: of full-batch L-BFGS in float64.
        tolerance: stop when no entry of the gradient along the stretched axes is larger.
        start: a solution to start from; None, or one of another shape, starts from zero.
    """
    features = features.double()
    mean, scale = features.mean(dim=0), features.std(dim=0, correction=0)
    scale = torch.where(scale > 1e-9 * mean.abs().clamp_min(1e-12), scale, 1.0)
    inputs = (features - mean) / scale
    classes, targets = labels.unique(return_inverse=True)
    variances, axes = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
    steepness = (variances.clamp_min(0) / len(classes) + weight_decay).sqrt()
    inputs = inputs @ (axes / steepness)
    same_shape = start is not None and start.weight.shape == (len(classes), inputs.shape[1])
    weight = start.weight @ axes * steepness if start and same_shape else inputs.new_zeros(len(classes), len(axes))
    bias = start.bias.clone() if start and same_shape else inputs.new_zeros(len(classes))
    optimizer = torch.optim.LBFGS(
        [weight.requires_grad_(), bias.requires_grad_()],
        max_iter=max_iterations,
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(inputs @ weight.T + bias, targets) + weight_decay / 2 * (weight / steepness).square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return LinearClassifier(mean, scale, (weight.detach() / steepness) @ axes.T, bias.detach(), classes)
