"""Labelled images of one's own in parts: what is learned from, what chooses, and what nothing is chosen by."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config.images import images_name, images_section
from selfsup.data.sources.source import single_labels
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.task import Task
from selfsup.registry import DATASETS

Section = dict[str, Any]

BESIDE = "cls"
"""Where the labels of shards are, as `selfsup shard` writes them."""
ENOUGH_TO_CHOOSE = 8
"""Labelled images of a class (the median) from which on a fifth of them is held out to choose a step by."""
VAL, TEST = 0.2, 0.2
"""Shares that are held out where no images are named for it."""


@dataclass(frozen=True)
class Labelled:
    """Labelled images, as a config names them.

    Args:
        name: what rows call them.
        train: what is learned from.
        test: what nothing is chosen by; None for no test.
        val: what may choose; None for nothing to choose by.
    """

    name: str
    train: Section
    test: Section | None = None
    val: Section | None = None

    @classmethod
    def of(
        cls,
        train: str | Path | Section,
        test: str | Path | Section | None = None,
        *,
        labels: str = "folder",
        groups: str | None = None,
        per_class: int | None = None,
        share: float | None = None,
        seed: int = 0,
        val: float | None = None,
        name: str | None = None,
    ) -> "Labelled":
        """Images of a folder, a list or shards in parts.

        Without test images a fifth of ``train`` is the test, the same for every number of labels. Where labels are few,
        none are held out to choose by.

        Args:
            train: a folder, a list, shards, a URL, or the section of a data set.
            test: likewise.
            labels: where labels are, for all but sections: ``'folder'``, ``'column'``, or ``'cls'`` beside the images
                of shards.
            groups: what must lie on one side, see :class:`~selfsup.data.ImageList`.
            per_class: labelled images of every class that are used; None for all.
            share: of every class, instead.
            seed: of that draw.
            val: share of the labelled images to choose by; None decides by their number, 0 for none.
            name: what rows call them; None takes it from the path.

        Raises:
            DataError: if images are missing, have no labels, one class, or fewer than are asked for.
        """
        if per_class is not None and share is not None:
            raise ConfigError.at("--share", "give --labels-per-class or --share, not both")

        def section(images: str | Path | Section, option: str) -> Section:
            if isinstance(images, dict):
                return images
            found = images_section(images, labels=labels, groups=groups, option=option)
            if (found["type"] == "WebShards") != (labels == BESIDE):  # one of train and test is shards, and one is not
                found["labels"] = BESIDE if found["type"] == "WebShards" else "folder"
            return found

        whole = section(train, "--data")
        name = name or ("images" if isinstance(train, dict) else images_name(train))
        tested = None if test is None else section(test, "--test")
        pool = whole
        if tested is None:
            parts = {"type": "Part", "dataset": whole, "val": 0.0, "test": TEST}
            pool, tested = {**parts, "part": "train"}, {**parts, "part": "test"}
        if per_class is not None:
            _check_enough(DATASETS.build(pool), per_class)
            pool = {"type": "Subset", "dataset": pool, "per_class": per_class, "seed": seed}
        elif share is not None:
            pool = {"type": "Subset", "dataset": pool, "fraction": share, "stratified": True, "seed": seed}
        if val is None:
            val = VAL if np.median(_counts(DATASETS.build(pool), name)) >= ENOUGH_TO_CHOOSE else 0.0
        if not val:
            return cls(name, pool, tested)
        cut = {"type": "Part", "dataset": pool, "val": val, "test": 0.0}
        return cls(name, {**cut, "part": "train"}, tested, {**cut, "part": "val"})

    @cached_property
    def source(self) -> Any:
        """The training images."""
        return DATASETS.build(self.train)

    @property
    def classes(self) -> list[str]:
        """Their names."""
        return list(self.source.classes)

    @property
    def per_class(self) -> int:
        """How many training images a class has, the median."""
        return int(np.median(_counts(self.source, self.name)))

    def task(self) -> Task:
        """The same as a task."""
        return Task(self.name, train=self.source, test=self.test, val=self.val or Task.val)

    def task_section(self) -> Section:
        """The same as a config names it; a training looks at ``val`` alone."""
        val = {} if self.val is None else {"val": self.val}
        return {"type": "Task", "train": self.train, "test": self.test or self.val or self.train, **val}

    def check(self) -> None:
        """Reject images that nothing can be learned from, or test classes that nobody teaches, before any training.

        Raises:
            DataError: naming the classes.
        """
        present = _counts(self.source, self.name)
        if len(present) < 2:
            raise DataError.at(self.name, "training images of two classes or more are needed", got=len(present))
        if self.test is None:
            return
        missing = self.task().parts.missing
        if missing:
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise DataError.at("--test", f"has classes without a training image, {len(missing)} of them", got=some)


def _counts(source: Any, name: str) -> np.ndarray:
    """How many images each class has that there is."""
    labels = single_labels(source)
    if labels is None:
        raise DataError.at(name, "the images must have one label each")
    values = np.asarray(labels)
    return np.unique(values[values >= 0], return_counts=True)[1]


def _check_enough(source: Any, per_class: int) -> None:
    labels = single_labels(source)
    if labels is None:
        raise DataError.at("--labels-per-class", "the images must have one label each")
    values = np.asarray(labels)
    numbers, counts = np.unique(values[values >= 0], return_counts=True)
    if len(counts) and counts.min() < per_class:
        fewest = source.classes[int(numbers[counts.argmin()])]
        raise DataError.at(
            "--labels-per-class",
            f"class {fewest} has {counts.min()} images to learn from beside the test",
            got=per_class,
            expected=f"at most {counts.min()}",
        )
