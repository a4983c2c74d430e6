"""Weighted k-nearest-neighbor classification of frozen features."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as normalize_rows

from selfsup.data.preprocess import Preprocess
from selfsup.errors import require
from selfsup.evaluation.base import evaluate_features
from selfsup.evaluation.features import Features, FeatureSource
from selfsup.evaluation.metrics import mean_per_class, top1
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class KNN:
    """Each test image gets the class with most votes among its k nearest training images.

    A neighbor votes exp(similarity / temperature), where the similarity is the dot product. The defaults (k 20,
    temperature 0.07, normalized) are solo-learn's; VISSL's are ``k=200, temperature=0.1, normalize=False``.

    Ties are settled by order: among equally similar training images the earlier ones are neighbors, among classes
    with equal votes the smaller number wins.

    Scores: ``top1`` and ``per_class`` (mean over the classes), fractions.

    Args:
        train: labelled data set or its dict, whose images vote.
        test: labelled data set or its dict, whose images are classified.
        k: how many neighbors vote, > 0; all training images when there are fewer.
        temperature: > 0; smaller listens to the nearest only.
        normalize: compare L2-normalized features.
        size, resize, preprocess, batch_size, num_workers: as in :class:`FeatureSource`.

    Raises:
        ConfigError: if ``k`` or ``temperature`` is not positive.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """

    needs_labels = True

    def __init__(
        self,
        train: Any,
        test: Any,
        *,
        k: int = 20,
        temperature: float = 0.07,
        normalize: bool = True,
        size: int = 224,
        resize: int | None = None,
        preprocess: Preprocess | dict | None = None,
        batch_size: int = 64,
        num_workers: int = 2,
    ) -> None:
        for name, value in (("k", k), ("temperature", temperature)):
            require(value > 0, name, "must be > 0", got=value)
        self.k = k
        self.temperature = temperature
        self.normalize = normalize
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
        predictions = self.predict(train[0], train[1], test[0], device=features[0].device)
        return {"top1": top1(predictions, test[1]), "per_class": mean_per_class(predictions, test[1])}

    def predict(
        self,
        train_features: Tensor,
        train_labels: Tensor,
        features: Tensor,
        *,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """The class of each row of ``features``, int64 (M,).

        Args:
            train_features: (N, D).
            train_labels: int64 (N,), >= 0.
            features: (M, D).
            device: where similarities are computed.
        """
        if self.normalize:
            train_features, features = normalize_rows(train_features, dim=1), normalize_rows(features, dim=1)
        similarities, neighbors = nearest(features, train_features, self.k, device=device)
        num_classes = int(train_labels.max()) + 1
        return votes(similarities, train_labels[neighbors], num_classes, self.temperature).argmax(dim=1)


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
