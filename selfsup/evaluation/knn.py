"""Weighted k-nearest-neighbor classification of frozen features."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize as normalize_rows

from selfsup.errors import ConfigError
from selfsup.evaluation.evaluator import Probe, class_count, labelled
from selfsup.evaluation.features import Features, joined
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class KNN(Probe):
    """Each test image gets the class with most votes among its k nearest training images.

    A neighbor votes exp(similarity / temperature), where the similarity is the dot product. The defaults (k 20,
    temperature 0.07, normalized) are solo-learn's; VISSL's are ``k=200, temperature=0.1, normalize=False``. Nothing is
    chosen, so that the images of val vote too.

    Ties are settled by order: among equally similar training images the earlier ones are neighbors, among classes
    with equal votes the smaller number wins.

    Args:
        k: how many neighbors vote, > 0; all training images when there are fewer.
        temperature: > 0; smaller listens to the nearest only.
        normalize: compare L2-normalized features.

    Raises:
        ConfigError: if ``k`` or ``temperature`` is not positive.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """

    protocol = "knn/1"

    def __init__(self, k: int = 20, *, temperature: float = 0.07, normalize: bool = True) -> None:
        for name, value in (("k", k), ("temperature", temperature)):
            if value <= 0:
                raise ConfigError.at(name, "must be > 0", got=value)
        self.k = k
        self.temperature = temperature
        self.normalize = normalize

    def fit(self, train: Features, val: Features | None) -> "Neighbors":
        """The images that vote."""
        voters = train if val is None else joined([train, val])
        features, labels = labelled(voters)
        features = normalize_rows(features, dim=1) if self.normalize else features
        return Neighbors(self, features, labels, class_count(voters), device=voters.device)


class Neighbors:
    """Classifies by the votes of the nearest of known images.

    Args:
        knn: how.
        features: of the known images, (N, D), normalized if ``knn`` does.
        labels: int64 (N,), >= 0.
        num_classes: C.
        device: where similarities are computed.
    """

    chosen: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()

    def __init__(
        self, knn: KNN, features: Tensor, labels: Tensor, num_classes: int, *, device: torch.device | str = "cpu"
    ) -> None:
        self.knn, self.features, self.labels = knn, features, labels
        self.num_classes, self.device = num_classes, device

    def __call__(self, features: Tensor) -> Tensor:
        """Votes of each class, float64 (M, C), of features (M, D)."""
        features = normalize_rows(features, dim=1) if self.knn.normalize else features
        similarities, neighbors = nearest(features, self.features, self.knn.k, device=self.device)
        return votes(similarities, self.labels[neighbors], self.num_classes, self.knn.temperature)


def nearest(
    queries: Tensor,
    keys: Tensor,
    k: int,
    *,
    query_block: int = 256,
    key_block: int = 65_536,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """The k keys with the greatest dot product with each query: exact, in blocks that bound the memory.

    Args:
        queries: (M, D).
        keys: (N, D).
        k: neighbors, > 0; N when there are fewer keys.
        query_block: queries at a time.
        key_block: keys at a time; ``query_block * key_block`` similarities are held at once.
        device: where they are computed, block by block.

    Returns:
        Similarities and key indices on the CPU, both (M, min(k, N)), nearest first; of equally similar keys the earlier
        first.
    """
    found = []
    for some_queries in queries.split(query_block):
        some_queries = some_queries.to(device)
        best = some_queries.new_empty(len(some_queries), 0)
        where = torch.empty(len(some_queries), 0, dtype=torch.long, device=device)
        for start in range(0, len(keys), key_block):
            similarities = some_queries @ keys[start : start + key_block].to(device).T
            new_best, new_where = _top(similarities, k)
            best, chosen = _top(torch.cat([best, new_best], dim=1), k)
            where = torch.cat([where, new_where + start], dim=1).gather(1, chosen)
        found.append((best.cpu(), where.cpu()))
    return torch.cat([best for best, _ in found]), torch.cat([where for _, where in found])


def votes(similarities: Tensor, labels: Tensor, num_classes: int, temperature: float) -> Tensor:
    """The sum over neighbors of exp(similarity / temperature), by class, in units of the strongest neighbor's vote.

    Dividing by the strongest vote changes no winner and keeps the exponential of un-normalized features finite.

    Args:
        similarities: of each query's neighbors, (M, k).
        labels: the neighbors' classes, int64 (M, k).
        num_classes: C.
        temperature: > 0.

    Returns:
        Votes, float64 (M, C), the greatest between 1 and k.
    """
    similarities = similarities.double()
    weights = ((similarities - similarities.amax(dim=1, keepdim=True)) / temperature).exp()
    return weights.new_zeros(len(labels), num_classes).scatter_add_(1, labels, weights)


def _top(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``topk`` whose ties go to the smaller index; torch leaves open which of several equal values it takes."""
    k = min(k, values.shape[1])
    best, where = values.topk(k, dim=1)
    tied = (values >= best[:, -1:]).sum(dim=1) > k
    if tied.any():
        ordered, order = values[tied].sort(dim=1, descending=True, stable=True)
        best[tied], where[tied] = ordered[:, :k], order[:, :k]
    where, by_index = where.sort(dim=1)
    best, by_value = best.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    return best, where.gather(1, by_value)
