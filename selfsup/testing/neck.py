"""The contract of necks: projection heads, predictors, prototypes."""

import torch
from torch import nn

from selfsup.testing.contract import own_random_numbers, require
from selfsup.testing.modules import (
    check_forward,
    check_gradients,
    check_half_precision,
    check_halves,
    check_kind,
    check_size,
    check_state_dict,
    copied,
    reaches,
)


def check_neck(
    neck: nn.Module, *, another: nn.Module | None = None, batch: int = 4, tolerance: float = 1e-5, seed: int = 0
) -> None:
    """Check what the methods ask of a neck.

    It is a torch.nn.Module; ``in_dim`` and ``out_dim`` are known beforehand; features (B, in_dim) give embeddings (B,
    out_dim), from all of which gradients reach the features. All else is as for
    :func:`~selfsup.testing.check_backbone`.

    Args:
        neck: built; it is the same afterwards.
        another: the same built once more, as in :func:`~selfsup.testing.check_backbone`.
        batch: features at a time, > 1.
        tolerance: of the greatest value, for results that may differ by rounding.
        seed: of the features.

    Raises:
        AssertionError: naming the first rule that is broken.
    """
    check_kind(neck)
    with own_random_numbers(seed):
        taken, width = check_size(neck, "in_dim"), check_size(neck, "out_dim")
        features = torch.randn(batch, taken)
        check_forward(neck, features, width, what="the embeddings", tolerance=tolerance)
        weights = torch.randn(batch, width)
        check_gradients(neck, lambda used: (used(features) * weights).sum())
        watched = features.clone().requires_grad_()
        value = (copied(neck).train()(watched) * weights).sum()
        require(reaches(value, [watched]), neck, "a gradient must reach its input, or no backbone learns behind it")
        check_halves(neck, features, weights, what="the embeddings", to_inputs=True)
        check_state_dict(neck, lambda used: used(features), another=another)
        check_half_precision(neck, features)
