"""Whether images of the same class are near each other."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize as normalize_rows

from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score, mean, mean_per_class, proportion
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main, in_shares
from selfsup.registry import EVALUATORS

_SIMILARITIES = 1 << 24
"""Held at once, with what sorting them takes: about half a GiB."""


@EVALUATORS.register_module()
class Retrieval:
    """Each test image asks for the images of its class among the other test images, by similarity of features.

    An image is never its own answer, by its number and not by its place in the ranking: a copy of it is. Among equally
    similar images the earlier one comes first. A query whose class has no other image has no answer: it is left out,
    and counted in the notes.

    Scores, each also as ``..._per_class``, the mean over the classes of their queries' means: ``rK`` (an image of the
    class is among the K nearest), ``map`` (average precision over the whole ranking) and ``map_r`` (precision over the
    R nearest, averaged at the places of hits, where R images have the class). The intervals are over queries.

    Args:
        k: numbers of nearest images, each > 0.
        normalize: compare L2-normalized features.
        exclude: what is no answer to an image: ``'self'``, or ``'group'``, all images of its group.

    Raises:
        ConfigError: if ``k`` is empty or not positive, or ``exclude`` is unknown.

    Source: Musgrave et al. 2020, arXiv:2003.08505, section 3.2 (``map_r``).
    """

    protocol = "retrieval/1"
    needs = frozenset({"labels"})

    def __init__(
        self,
        k: Sequence[int] = (1, 5, 10),
        *,
        normalize: bool = True,
        exclude: Literal["self", "group"] = "self",
    ) -> None:
        if not k or min(k) < 1:
            raise ConfigError.at("k", "one number or more, all > 0", got=tuple(k))
        if exclude not in ("self", "group"):
            raise ConfigError.at("exclude", "must be 'self' or 'group'", got=exclude)
        self.k = tuple(k)
        self.normalize = normalize
        self.exclude = exclude

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores of the task's test images.

        Raises:
            DataError: if no class has two test images.
        """
        labels = np.asarray(task.parts.test.labels)
        if np.bincount(labels[labels >= 0], minlength=1).max() < 2:
            raise DataError.at(f"tasks.{task.name}.test", "no class has two images, so that none could be found")
        test = representation.features(task.parts.test)
        assert test.labels is not None
        groups = test.groups
        apart = groups if self.exclude == "group" and groups is not None else torch.arange(len(test))
        features = normalize_rows(test.features, dim=1) if self.normalize else test.features
        whole = (features, test.labels, apart, self.k)
        shares = in_shares(lambda share: rankings(*whole, device=test.device, queries=share), len(test))
        return from_main(lambda: self._result(test, shares or []))

    def _result(self, test: Features, shares: Sequence[tuple[np.ndarray, ...]]) -> Result:
        assert test.labels is not None
        groups = test.groups
        hits, average, at_r, relevant = (np.concatenate(parts) for parts in zip(*shares, strict=True))
        asked = relevant > 0
        if not asked.any():
            raise DataError.at("test", "no image has another of its class that counts as an answer")
        labels = test.labels.numpy()[asked]
        some_groups = None if groups is None else groups.numpy()[asked]
        scores: dict[str, Score] = {}
        for number, k in enumerate(self.k):
            scores[f"r{k}"] = proportion(hits[asked, number], some_groups)
            scores[f"r{k}_per_class"] = mean_per_class(labels, hits[asked, number], some_groups)
        for name, values in (("map", average), ("map_r", at_r)):
            scores[name] = mean(values[asked], some_groups)
            scores[f"{name}_per_class"] = mean(values[asked], some_groups, labels)
        left_out = int((~asked).sum())
        notes = [f"{left_out} images have no other of their class and ask for nothing"] if left_out else []
        if self.exclude == "group" and groups is None:
            notes.append("the images have no groups: each is left out of its own answers alone")
        return Result(scores, notes=tuple(notes))


def rankings(
    features: Tensor,
    labels: Tensor,
    apart: Tensor,
    k: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    similarities: int = _SIMILARITIES,
    queries: slice = slice(None),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How well each image finds those of its class among all others, in blocks of queries that bound the memory.

    Args:
        features: (N, D); the dot product says how similar two images are.
        labels: int64 (N,).
        apart: int64 (N,); images with an image's own number are no answers to it, itself among them.
        k: numbers of nearest images.
        device: where similarities are computed.
        similarities: how many are held at once.
        queries: which images ask; M of them.

    Returns:
        Whether a hit is among the k nearest, bool (M, K); average precision, float64 (M,); average precision at R,
        float64 (M,); and R, how many images there are to be found, int64 (M,). Where that is 0 the others are 0.
    """
    count = len(features)
    everything = features.to(device)
    labels, apart = labels.to(device), apart.to(device)
    found: list[tuple[Any, ...]] = []
    ranks = torch.arange(1, count + 1, device=device, dtype=torch.float64)
    for block in torch.arange(count, device=device)[queries].split(max(1, similarities // count)):
        similar = everything[block] @ everything.T
        own = apart[block][:, None] == apart
        similar[own] = -torch.inf
        order = similar.sort(dim=1, descending=True, stable=True).indices
        same = (labels[order] == labels[block][:, None]) & ~own.gather(1, order)
        relevant = same.sum(dim=1)
        precision = same.cumsum(dim=1).double() / ranks * same
        at_least = relevant.clamp_min(1)
        within = precision * (ranks <= relevant[:, None])
        nearest = torch.stack([same[:, :each].any(dim=1) for each in k], dim=1)
        found.append(
            tuple(
                part.cpu().numpy()
                for part in (nearest, precision.sum(1) / at_least, within.sum(1) / at_least, relevant)
            )
        )
    hits, average, at_r, relevant_of_all = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return hits, average, at_r, relevant_of_all
