"""Numbers about predictions, features and assignments: pure functions of tensors."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize


def top1(predictions: Tensor, labels: Tensor) -> float:
    """Share of right predictions, in [0, 1]; both (N,)."""
    return (predictions == labels).double().mean().item()


def mean_per_class(predictions: Tensor, labels: Tensor) -> float:
    """Mean over the classes present in ``labels`` of the share of right predictions; both (N,)."""
    classes, index = labels.unique(return_inverse=True)
    right = torch.zeros(len(classes), dtype=torch.float64).index_add_(0, index, (predictions == labels).double())
    return (right / index.bincount(minlength=len(classes))).mean().item()


def rankme(features: Tensor, epsilon: float = 1e-7) -> float:
    """Effective rank of a feature matrix: how many directions the features really use.

    Args:
        features: (N, D), not centered; more than a few thousand rows change little.
        epsilon: added to each share, as in the paper.

    Returns:
        exp of the entropy of the normalized singular values: 1 for collapsed features, at most min(N, D).

    Source: Garrido et al. 2023, arXiv:2210.02885, equations 1 and 2.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + epsilon
    return math.exp(-(shares * shares.log()).sum().item())


def feature_std(features: Tensor) -> float:
    """Standard deviation of L2-normalized features, averaged over the dimensions.

    Args:
        features: (N, D).

    Returns:
        0 when all features point the same way, 1 / sqrt(D) when they are spread evenly over the sphere.

    Source: Chen and He 2021, arXiv:2011.10566, section 4.1 and figure 2.
    """
    return normalize(features.double(), dim=1).std(dim=0, correction=0).mean().item()


def spread(features: Tensor) -> float:
    """:func:`feature_std` as a share of its value on an even sphere, 1 / sqrt(D): 0 is collapse, 1 is even."""
    return feature_std(features) * math.sqrt(features.shape[1])
