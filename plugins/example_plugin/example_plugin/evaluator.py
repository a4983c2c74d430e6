"""The simplest classifier of features."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from selfsup.evaluation import Features, Probe
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class NearestMean(Probe):
    """Each test image gets the class whose mean feature is nearest."""

    protocol = "nearest-mean/1"

    def fit(self, train: Features, val: Features | None) -> "Means":
        """The class means of the images to learn from; nothing is chosen, so that val has its part in them."""
        parts = [train] if val is None else [train, val]
        features = torch.cat([part.features for part in parts])
        return Means(features, torch.cat([part.labels for part in parts if part.labels is not None]))


class Means:
    """Predicts the class of the nearest mean.

    Args:
        features: shape (N, D).
        labels: their classes, int64 (N,).
    """

    chosen: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.classes = labels.unique()
        self.means = torch.stack([features[labels == each].double().mean(dim=0) for each in self.classes])

    def __call__(self, features: Tensor) -> Tensor:
        """The class of each row of features (M, D), int64 (M,)."""
        return self.classes[torch.cdist(features.double(), self.means).argmin(dim=1)]
