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
        features: (N, D), not centred; more than a few thousand rows change little.
        epsilon: added to each share, as in the paper.

    Returns:
        exp of the entropy of the normalised singular values: 1 for collapsed features, at most min(N, D).

    Source: Garrido et al. 2023, arXiv:2210.02885, equations 1 and 2.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + epsilon
    return math.exp(-(shares * shares.log()).sum().item())


def feature_std(features: Tensor) -> float:
    """Standard deviation of L2-normalised features, averaged over the dimensions.

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


def usage_entropy(counts: Tensor) -> float:
    """How evenly prototypes are used.

    Args:
        counts: assignments to each prototype, shape (K,), >= 0, hard counts or sums of soft assignments.

    Returns:
        Entropy of the shares divided by ln K: 0 when one prototype takes everything, 1 when all are used equally.

    Raises:
        ValueError: if there are fewer than two prototypes or no assignment at all.
    """
    total = counts.double().sum()
    if len(counts) < 2 or total <= 0:
        raise ValueError(f"counts: two prototypes and one assignment at least, got {len(counts)} and {total.item():g}")
    shares = counts.double() / total
    return -torch.special.xlogy(shares, shares).sum().item() / math.log(len(counts))


def dead_prototypes(counts: Tensor) -> float:
    """Share of prototypes without a single assignment; ``counts`` as in :func:`usage_entropy`."""
    return (counts == 0).double().mean().item()


def alignment(a: Tensor, b: Tensor, power: float = 2.0) -> float:
    """Mean distance of the two views of an image on the unit sphere; 0 is best.

    Args:
        a: features of one view of each image, (N, D).
        b: features of the other view, (N, D).
        power: of the distance.

    Source: Wang and Isola 2020, arXiv:2005.10242, equation 8.
    """
    return (normalize(a.double(), dim=1) - normalize(b.double(), dim=1)).norm(dim=1).pow(power).mean().item()


def uniformity(features: Tensor, t: float = 2.0) -> float:
    """Log of the mean Gaussian potential between images on the unit sphere; more negative is more even.

    Args:
        features: (N, D), N > 1; memory grows with N squared.
        t: sharpness of the potential.

    Source: Wang and Isola 2020, arXiv:2005.10242, equation 9.
    """
    distances = torch.nn.functional.pdist(normalize(features.double(), dim=1))
    return distances.square().mul(-t).exp().mean().log().item()
