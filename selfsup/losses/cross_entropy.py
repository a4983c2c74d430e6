"""Classification losses for classes given as numbers or as distributions."""

import torch.nn.functional as F
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.ops.precision import at_least_float32, without_autocast
from selfsup.registry import LOSSES


def soft_targets(targets: Tensor, num_classes: int) -> Tensor:
    """Targets in the one form that can be mixed: a share of every class.

    Args:
        targets: class numbers, int64, shape (B,); or shares, shape (B, C): a distribution, or 0 and 1 for several
            classes at once.
        num_classes: C.

    Returns:
        Shape (B, C), float32 or better.

    Raises:
        ValueError: if the targets have another shape.
    """
    if targets.ndim == 1:
        return F.one_hot(targets, num_classes).float()
    if targets.ndim != 2 or targets.shape[1] != num_classes:
        raise ValueError(f"targets: must have shape (B,) or (B, {num_classes}), got {tuple(targets.shape)}")
    return at_least_float32(targets)


@LOSSES.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross entropy of the softmax of scores: each image belongs to one class.

    Computed in float32 or better. Linear in the targets: the loss of mixed targets is the mix of their losses.

    Args:
        label_smoothing: share of each target that is spread evenly over all classes, in [0, 1).

    Raises:
        ValueError: if ``label_smoothing`` is out of range.

    Attributes:
        several_classes: False: a method that learns from labels must not hand over those of images that belong to
            several classes.

    Source: label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    """

    several_classes = False

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        require(0 <= label_smoothing < 1, "label_smoothing", "must be in [0, 1)", got=label_smoothing)
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch.

        Args:
            scores: before the softmax, shape (B, C).
            targets: class numbers, shape (B,), or distributions over the classes, floating point, shape (B, C).

        Returns:
            The loss, 0-dim; ln C where all scores are equal.

        Raises:
            ValueError: if the targets have another shape, or are whole numbers of shape (B, C).
        """
        if targets.ndim == 2 and not targets.is_floating_point():
            raise ValueError(
                f"CrossEntropyLoss: targets of shape (B, C) must be distributions over the classes, floating point, "
                f"got {targets.dtype}; BinaryCrossEntropyLoss takes several classes for each image"
            )
        with without_autocast(scores):
            scores = at_least_float32(scores)
            shares = soft_targets(targets, scores.shape[1]).to(scores.dtype)
            return F.cross_entropy(scores, shares, label_smoothing=self.label_smoothing)


@LOSSES.register_module()
class BinaryCrossEntropyLoss(nn.Module):
    """Cross entropy of the sigmoid of every score: an image may belong to several classes, or to none.

    Computed in float32 or better; summed over the classes, not averaged, so that learning rates do not depend on how
    many classes there are. Linear in the targets: the loss of mixed targets is the mix of their losses.

    Source: google-research/big_vision utils.py, sigmoid_xent, its loss for BiT on ImageNet-21k.
    """

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The sum over the classes, averaged over the batch.

        Args:
            scores: before the sigmoid, shape (B, C).
            targets: class numbers, shape (B,), or the share of each class in [0, 1], shape (B, C).

        Returns:
            The loss, 0-dim; C ln 2 where all scores are 0.

        Raises:
            ValueError: if the targets have another shape.
        """
        with without_autocast(scores):
            scores = at_least_float32(scores)
            shares = soft_targets(targets, scores.shape[1]).to(scores.dtype)
            return F.binary_cross_entropy_with_logits(scores, shares, reduction="sum") / len(scores)
