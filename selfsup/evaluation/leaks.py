"""Test images that also occur among the training images, or among those of the pretraining."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.duplicates import Signatures, find_copies, signatures
from selfsup.evaluation.extraction.fingerprint import fingerprint
from selfsup.evaluation.scores import Predictions, Score, classification_scores
from selfsup.evaluation.task import Task

WITHOUT = "_without_copies"
"""What the name of a score ends in that leaves copies out."""
PRETRAINING = "compared weights' pretraining"
"""What the images are called that any of the compared representations was trained on."""
ALSO = "test images are also among the"
"""In every sentence about copies, and in no other."""


@dataclass(frozen=True, eq=False)
class Leaks:
    """Test images of which there are copies elsewhere.

    Args:
        indices: their positions in the test source, int64, ascending.
        counts: by where the copies are, how many have equal bytes and how many are near-equal.
        images: test images in all.
    """

    indices: np.ndarray
    counts: Mapping[str, tuple[int, int]]
    images: int

    def lines(self) -> tuple[str, ...]:
        """A sentence for each place that has copies."""
        return tuple(
            f"{exact + near:,} of {self.images:,} {ALSO} {where} images "
            f"({exact:,} with equal bytes, {near:,} near-equal)"
            for where, (exact, near) in self.counts.items()
            if exact + near
        )

    def scores_without(self, predictions: Predictions | None) -> dict[str, Score]:
        """Scores of the test images of which there is no copy; none if nothing is left out, or everything."""
        if predictions is None or not len(self.indices):
            return {}
        clean = ~np.isin(predictions.index, self.indices)
        if clean.all() or not clean.any():
            return {}
        scores = classification_scores(predictions.chosen(np.flatnonzero(clean)))
        return {name + WITHOUT: score for name, score in scores.items()}


def find_leaks(
    task: Task, *, pretraining: Sequence[Any] = (), num_workers: int = 2, cache: Path | None = None
) -> Leaks:
    """Look for the task's test images among its training images, and among those of the pretraining.

    Args:
        task: whose parts are read.
        pretraining: the sources that representations were trained on, as far as they are known.
        num_workers: threads that decode.
        cache: a folder that keeps what images are recognized by.
    """
    parts = task.parts
    places = {"training": (parts.train, parts.val)}
    if pretraining:
        places[PRETRAINING] = tuple(pretraining)
    test = _kept(parts.test, num_workers, cache)
    found: set[int] = set()
    counts = {}
    for where, sources in places.items():
        exact, near = np.zeros(len(test), bool), np.zeros(len(test), bool)
        for source in sources:
            if source is not None and len(source):
                copies = find_copies(test, _kept(source, num_workers, cache))
                exact[copies.queries[copies.exact]] = True
                near[copies.queries[~copies.exact]] = True
        counts[where] = (int(exact.sum()), int((near & ~exact).sum()))
        found.update(np.flatnonzero(exact | near).tolist())
    return Leaks(np.array(sorted(found), np.int64), counts, len(test))


def _kept(source: Any, num_workers: int, cache: Path | None) -> Signatures:
    if cache is None:
        return signatures(source, num_workers=num_workers)
    path = cache / f"signatures-{fingerprint(source)}.npz"
    if path.is_file():
        with np.load(path) as file:
            if "sides" in file:  # not in those of versions before
                return Signatures(**file)
    made = signatures(source, num_workers=num_workers)
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, digests=made.digests, thumbnails=made.thumbnails, sides=made.sides)
    partial.replace(path)
    return made
