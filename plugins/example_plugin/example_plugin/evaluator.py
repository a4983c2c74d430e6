"""The simplest classifier of features."""

from typing import Any

import torch
from torch import Tensor, nn

from selfsup.data import Preprocess
from selfsup.evaluation import Features, FeatureSource, evaluate_features
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class NearestMean:
    """Each test image gets the class whose mean feature is nearest.

    Looks at features only, so that a run shows each image to the backbone once for this and the other evaluators.
    Score: ``top1``, a fraction.

    Args:
        train: labelled data set or its dict, whose class means are taken.
        test: labelled data set or its dict, whose images are classified.
        size: side of the square shown, in pixels.
        resize: length the shorter side is resized to before; None for 256/224 of ``size``.
        preprocess: what normalizes; None for ImageNet's mean and standard deviation.
        batch_size: images at a time.
        num_workers: threads that decode ahead.
    """

    needs_labels = True

    def __init__(
        self,
        train: Any,
        test: Any,
        *,
        size: int = 224,
        resize: int | None = None,
        preprocess: Preprocess | dict | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
    ) -> None:
        source = FeatureSource.build(
            train, size=size, resize=resize, preprocess=preprocess, batch_size=batch_size, num_workers=num_workers
        )
        self.sources: tuple[FeatureSource, ...] = (source, source.of(test))

    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        """Scores of a backbone."""
        return evaluate_features(self, backbone)

    def score(self, *features: Features) -> dict[str, float]:
        """Scores of the features of the training and the test images."""
        (train, train_labels), (test, test_labels) = (each.with_labels() for each in features)
        return {"top1": float((nearest_mean(train, train_labels, test) == test_labels).double().mean())}


def nearest_mean(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """The class of the nearest mean for each row of ``test``, int64 (M,).

    Args:
        train: features, shape (N, D).
        labels: their classes, int64 (N,).
        test: features, shape (M, D).
    """
    classes = labels.unique()
    means = torch.stack([train[labels == each].double().mean(dim=0) for each in classes])
    return classes[torch.cdist(test.double(), means).argmin(dim=1)]
