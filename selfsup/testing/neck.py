"""The contract of necks: projection heads, predictors, prototypes."""

import torch
from torch import nn

from selfsup.testing.contract import own_random_numbers, require
from selfsup.testing.modules import (
    check_forward,
    check_gradients,
    check_half_precision,
    check_size,
    check_state_dict,
    copied,
    reaches,
)


def check_neck(neck: nn.Module, *, another: nn.Module | None = None, tolerance: float = 1e-5) -> None:
    """Check what the methods ask of a neck.

    It is a torch.nn.Module; ``in_dim`` and ``out_dim`` are known beforehand; features (B, in_dim) give embeddings (B,
    out_dim), from which a gradient reaches the features. All else is as for :func:`~selfsup.testing.check_backbone`.

    Args:
        neck: built; it is the same afterwards.
        another: the same built once more, as in :func:`~selfsup.testing.check_backbone`.
        tolerance: of the greatest value, for results that may differ by rounding.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    require(isinstance(neck, nn.Module), neck, "must be a torch.nn.Module")
    with own_random_numbers():
        taken, width = check_size(neck, "in_dim"), check_size(neck, "out_dim")
        features = torch.randn(4, taken)
        check_forward(neck, neck, features, width, what="the embeddings", tolerance=tolerance)
        weights = torch.randn(4, width)  # the gradient of a plain sum may be zero, as behind a norm
        check_gradients(neck, lambda used: (used(features) * weights).sum())
        watched = features.clone().requires_grad_()
        value = (copied(neck).train()(watched) * weights).sum()
        require(reaches(value, [watched]), neck, "a gradient must reach its input, or no backbone learns behind it")
        check_state_dict(neck, lambda used: used(features), another=another)
        check_half_precision(neck, features)
