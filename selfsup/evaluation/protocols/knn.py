"""Weighted k-nearest-neighbor classification of frozen features."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import ConfigError
from selfsup.evaluation.evaluator import Probe, class_count
from selfsup.evaluation.extraction.features import Features, Stacked
from selfsup.registry import EVALUATORS

QUERY_BLOCK = 2048  # with the keys of a block: 134 MB of similarities at a time
KEY_BLOCK = 16_384
_SPARE = 8  # neighbors beyond k that FAISS is asked for, to see ties


@EVALUATORS.register_module()
class KNN(Probe):
    """Each test image gets the class with most votes among its k nearest training images.

    A neighbor votes exp(similarity / temperature), where the similarity is the dot product. The defaults (k 20,
    temperature 0.07, normalized) are solo-learn's; VISSL's are those of :class:`VisslKNN`, and the two do not compare.
    Nothing is chosen, so that the images of val vote too. Several processes classify a share of the test images each.

    Ties are settled by order: among equally similar training images the earlier ones are neighbors, among classes
    with equal votes the smaller number wins; a class without a vote is not among the first five. Similarities are
    computed in float32, in blocks, with or without FAISS.

    Args:
        k: how many neighbors vote, > 0; all training images when there are fewer.
        temperature: > 0; smaller listens to the nearest only.
        normalize: compare L2-normalized features.

    Raises:
        ConfigError: if ``k`` or ``temperature`` is not positive.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """

    protocol = "knn/2"
    shared = True

    def __init__(self, k: int = 20, *, temperature: float = 0.07, normalize: bool = True) -> None:
        for name, value in (("k", k), ("temperature", temperature)):
            if value <= 0:
                raise ConfigError.at(name, "must be > 0", got=value)
        self.k = k
        self.temperature = temperature
        self.normalize = normalize

    @property
    def title(self) -> str:
        """What tables call it: ``knn20_t0.07``, or ``knn200_t0.1_unnormalized``."""
        return f"knn{self.k}_t{self.temperature:g}{'' if self.normalize else '_unnormalized'}"

    def fit(self, train: Features, val: Features | None) -> "Neighbors":
        """The images that vote."""
        voters = Stacked(train, val)
        few = len(voters) < self.k
        notes = (f"k is {self.k:,}, and {len(voters):,} training images are all that vote",) if few else ()
        return Neighbors(self, voters, class_count(train, val), notes)


@EVALUATORS.register_module()
class VisslKNN(KNN):
    """:class:`KNN` with VISSL's defaults: 200 neighbors, temperature 0.1, features not normalized.

    Without normalization long features outvote near ones; where VISSL's exponentials overflow, these do not.

    Source: VISSL, ``NEAREST_NEIGHBOR`` of its defaults: ``TOPK`` 200, ``SIGMA`` 0.1, ``L2_NORM_FEATS`` false.
    """

    def __init__(self, k: int = 200, *, temperature: float = 0.1, normalize: bool = False) -> None:
        super().__init__(k, temperature=temperature, normalize=normalize)


class Neighbors:
    """Classifies by the votes of the nearest of known images.

    Args:
        knn: how.
        voters: the known images, with labels >= 0.
        num_classes: C.
        notes: see :class:`~selfsup.evaluation.evaluator.Predictor`.
    """

    chosen: Mapping[str, Any] = {}

    def __init__(self, knn: KNN, voters: Stacked, num_classes: int, notes: tuple[str, ...] = ()) -> None:
        self.knn, self.voters, self.num_classes, self.notes = knn, voters, num_classes, notes

    def __call__(self, features: Tensor) -> Tensor:
        """Logarithms of each class's votes, float64 (M, C), of features (M, D): their softmax is the share of votes."""
        knn, voters = self.knn, self.voters
        similarities, neighbors = nearest(
            features, voters.blocks(KEY_BLOCK), knn.k, normalize=knn.normalize, device=voters.device
        )
        return votes(similarities, voters.labels[neighbors], self.num_classes, knn.temperature).log()


def nearest(
    queries: Tensor,
    keys: Tensor | Iterable[Tensor],
    k: int,
    *,
    normalize: bool = False,
    query_block: int = QUERY_BLOCK,
    key_block: int = KEY_BLOCK,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """The k keys with the greatest dot product with each query: exact, in blocks that bound the memory.

    Each key is read once, from a memory map or from the memory; beside queries and keys, so much is held at once:
    ``query_block * key_block`` similarities, a block of each, and 12 bytes for each query and neighbor. With
    ``faiss`` installed it searches on the CPU (float32 only), with the same neighbors.

    Args:
        queries: (M, D).
        keys: (N, D), or blocks of them one after the other.
        k: neighbors, > 0; N when there are fewer keys.
        normalize: compare L2-normalized queries and keys.
        query_block: queries at a time.
        key_block: keys at a time.
        device: where they are computed, block by block.

    Returns:
        Similarities and key indices on the CPU, both (M, min(k, N)), nearest first; of equally similar keys the earlier
        first.
    """
    device = torch.device(device)
    faiss = _faiss() if device.type == "cpu" and queries.dtype == torch.float32 else None
    best = torch.empty(len(queries), 0, dtype=queries.dtype)
    where = torch.empty(len(queries), 0, dtype=torch.long)
    scale = _inverse_norms(queries) if normalize else None
    start = 0
    for block in keys.split(key_block) if isinstance(keys, Tensor) else keys:
        some_keys = block.to(device, queries.dtype)
        if normalize:
            some_keys = some_keys * _inverse_norms(some_keys)
        width = min(k, best.shape[1] + len(block))
        new_best, new_where = best.new_empty(len(queries), width), where.new_empty(len(queries), width)
        for place in _slices(len(queries), query_block):
            some = queries[place].to(device)
            if scale is not None:
                some = some * scale[place].to(device)
            found, chosen = _top_keys(some, some_keys, k, faiss)
            both = torch.cat([best[place], found.cpu()], dim=1)
            at = torch.cat([where[place], chosen.cpu() + start], dim=1)
            new_best[place], order = _top(both, k)
            new_where[place] = at.gather(1, order)
        best, where, start = new_best, new_where, start + len(block)
    return best, where


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


def _top_keys(queries: Tensor, keys: Tensor, k: int, faiss: Any) -> tuple[Tensor, Tensor]:
    """The k keys with the greatest dot products, in order; of equal ones the earlier first."""
    if faiss is None or len(keys) <= k + _SPARE:
        return _top(queries @ keys.T, k)
    options = {"metric": faiss.METRIC_INNER_PRODUCT}
    found, chosen = map(torch.from_numpy, faiss.knn(queries.numpy(), keys.numpy(), k + _SPARE, **options))
    chosen, by_index = chosen.sort(dim=1)
    found, by_value = found.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    chosen = chosen.gather(1, by_value)
    unsure = found[:, k - 1] == found[:, -1]  # more equal ones may lie beyond those asked for
    found, chosen = found[:, :k].contiguous(), chosen[:, :k].contiguous()
    if unsure.any():
        found[unsure], chosen[unsure] = _top(queries[unsure] @ keys.T, k)
    return found, chosen


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


def _inverse_norms(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12).reciprocal()


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        return None
    return faiss
