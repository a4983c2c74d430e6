"""Labelled images in parts that never mix."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from selfsup.data import Hierarchy, LabelSets, Subset, join_classes, split
from selfsup.errors import ConfigError, DataError
from selfsup.evaluation.extraction.fingerprint import fingerprint
from selfsup.registry import DATASETS, TASKS

_CUT_SEED = 1  # of the part that is cut from train a second time, to choose in while val watches a training


@dataclass(frozen=True)
class Parts:
    """The images of a task, of the same classes in the same order, none of them unlabelled.

    Args:
        train: what is learned from; None if there is nothing to learn.
        val: where hyper-parameters are chosen; None without ``train``.
        test: what is evaluated.
        missing: names of classes that ``test`` has and ``train`` lacks.
        untested: names of classes that ``train`` has and ``test`` lacks.
    """

    train: Any
    val: Any
    test: Any
    missing: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of scores should know about the classes."""
        sides = ((self.missing, "test", "training"), (self.untested, "training", "test"))
        return tuple(
            f"{len(names)} classes of the {here} images are not among the {there} images: "
            f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for names, here, there in sides
            if names
        )


@TASKS.register_module()
@dataclass(frozen=True, eq=False)
class Task:
    """Labelled images in parts that never mix: nothing is ever chosen by looking at ``test``.

    Sources may be given as their dicts. Classes of the parts are joined by name, unlabelled images left out.

    Args:
        name: what scores and tables call it.
        train: what is learned from; None for evaluators that learn nothing.
        test: what is evaluated; a dict of sources by name for several, one after the other.
        val: where hyper-parameters are chosen: a source, or the share cut from ``train`` by class and by group; without
            ``train`` what a training may look at.
        seed: of that cut.
        max_train: training images beyond this number are left out, at random; None for none.
        metric: what counts, such as ``'top1'`` or ``'per_class'``.
        hierarchy: of the classes, for evaluators that need one: a :class:`~selfsup.data.hierarchy.Hierarchy`, or its
            dict, see :meth:`~selfsup.data.hierarchy.Hierarchy.of`; ``'source'`` for the ``taxonomy`` of the test
            images, which scenes and iNaturalist have.
        note: what the notes of every row should say about the images, such as that the split is ours; None for nothing.

    Raises:
        ConfigError: if ``val`` is a share outside (0, 1), or ``max_train`` is too small.
    """

    name: str = "task"
    train: Any = None
    test: Any = None
    val: Any = 0.2
    seed: int = 0
    max_train: int | None = None
    metric: str = "top1"
    hierarchy: Any = None
    note: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.val, float) and not 0 < self.val < 1:
            raise ConfigError.at("val", "must be a source, or a share in (0, 1)", got=self.val)
        if self.max_train is not None and self.max_train < 2:
            raise ConfigError.at("max_train", "must be > 1", got=self.max_train)

    def tests(self) -> "list[Task]":
        """A task for each test source, called ``name/test`` where there are several."""
        if not _is_named(self.test):
            return [self]
        cut = self._cut
        whole = {"train": cut[0], "val": cut[1], "max_train": None}
        return [
            dataclasses.replace(self, name=f"{self.name}/{name}", test=source, **whole)
            for name, source in self.test.items()
        ]

    def watch(self, max_images: int | None = None) -> "Task":
        """What a training may look at: its test is this task's val, and its val is cut from train again.

        Args:
            max_images: at the most, three quarters of them to learn from; None for all.
        """
        train, val = self._cut
        if train is None:
            return self if val is None else dataclasses.replace(self, test=_at_most(val, max_images or len(val)))
        if max_images is not None:
            train, val = _at_most(train, max_images * 3 // 4), _at_most(val, max_images // 4)
        share = self.val if isinstance(self.val, float) else 0.2
        return dataclasses.replace(self, train=train, test=val, val=share, seed=self.seed + _CUT_SEED, max_train=None)

    @cached_property
    def parts(self) -> Parts:
        """The images, built.

        Raises:
            DataError: if a part has no labelled image, though others have.
        """
        test = DATASETS.build(self.test)
        train, val = self._cut
        given = [part for part in (train, val, test) if part is not None]
        if any(getattr(part, "labels", None) is None or part.classes is None for part in given):
            return Parts(train, val, test)
        train, val, test = (part and _labelled(part, self.name) for part in _joined(train, val, test))
        if train is None:
            return Parts(None, val, test)
        learned, tested = classes_in(train.labels), classes_in(test.labels)
        missing, untested = (
            tuple(test.classes[label] for label in sorted(set(some) - set(others)))
            for some, others in ((tested, learned), (learned, tested))
        )
        return Parts(train, val, test, missing, untested)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """What tells the images of each part from others."""
        there = {"train": self.parts.train, "val": self.parts.val, "test": self.parts.test}
        return {name: fingerprint(part) for name, part in there.items() if part is not None}

    @cached_property
    def _cut(self) -> tuple[Any, Any]:
        """Training and validation images."""
        if self.train is None:
            return None, None if isinstance(self.val, float) else DATASETS.build(self.val)
        train = DATASETS.build(self.train)
        if self.max_train is not None:
            train = _at_most(train, self.max_train)
        if not isinstance(self.val, float):
            return train, DATASETS.build(self.val)
        cut = split(train, val=self.val, test=0.0, max_images=len(train), seed=self.seed)
        return cut.train, cut.val

    @cached_property
    def tree(self) -> Hierarchy:
        """The hierarchy of the test classes.

        Raises:
            ConfigError, DataError: if there is none, or it lacks a class, has a cycle or a missing parent.
        """
        own = self.hierarchy == "source"
        given = getattr(self.parts.test, "taxonomy", None) if own else self.hierarchy
        tree = Hierarchy.of(given, self.parts.test.classes)
        tree.check(self.parts.test.classes, f"tasks.{self.name}.hierarchy")
        return tree

    def fits(self, needs: frozenset[str]) -> str | None:
        """Why an evaluator of these needs cannot evaluate the task; None if it can.

        Both ``'labels'`` and ``'multi-label'`` among them: one class an image will do, and several.

        Raises:
            ConfigError, DataError: if it should, but nothing can be learned from training images of one class, or the
                hierarchy is broken.
        """
        parts = self.parts
        if "train" in needs and parts.train is None:
            return "it has nothing to learn from"
        if "targets" in needs and getattr(parts.test, "targets", None) is None:
            return "its images have no boxes"
        several = any(isinstance(getattr(part, "labels", None), LabelSets) for part in (parts.train, parts.test))
        either = {"labels", "multi-label"} <= needs
        if "multi-label" in needs and not either and not several:
            return "its images have one class each"
        if "labels" in needs and getattr(parts.test, "labels", None) is None:
            return "its images have no labels"
        if "labels" in needs and several and not either:
            return "its images have several classes each"
        if {"labels", "train"} <= needs:
            check_learnable(self, several=either)
        if "hierarchy" in needs:
            if self.hierarchy is None:
                return "it has no hierarchy of classes"
            _ = self.tree
        return None


def check_learnable(task: Task, *, several: bool = False) -> None:
    """Reject a task whose training images tell nothing apart, before anything long is computed.

    Args:
        task: that something is to be learned from.
        several: whether an image may have several classes.

    Raises:
        DataError: if the training images have no such labels, or one class.
    """
    train, place = task.parts.train, f"tasks.{task.name}.train"
    labels = getattr(train, "labels", None)
    if labels is None or (isinstance(labels, LabelSets) and not several):
        raise DataError.at(place, "must have labels" if several else "must have one label for each image")
    if len(there := classes_in(labels)) < 2:
        alone = train.classes[there[0]] if there else None
        raise DataError.at(place, "must have images of two classes or more to learn from", got=alone)


def classes_in(labels: Any) -> list[int]:
    """The classes that occur, ascending."""
    if isinstance(labels, LabelSets):
        return np.flatnonzero(labels.counts()).tolist()
    return np.unique(np.asarray(labels)).tolist()


def _at_most(source: Any, count: int) -> Any:
    return Subset(source, count=count) if len(source) > count else source


def _is_named(test: Any) -> bool:
    return isinstance(test, Mapping) and "type" not in test


def _joined(*parts: Any) -> tuple[Any, ...]:
    there = iter(join_classes([part for part in parts if part is not None]))
    return tuple(None if part is None else next(there) for part in parts)


def _labelled(part: Any, task: str) -> Any:
    """The part without unlabelled images; an image with an empty set of classes is labelled."""
    if isinstance(part.labels, LabelSets):
        return part
    labels = np.asarray(part.labels)
    if (labels >= 0).all() and len(labels):
        return part
    if not (labels >= 0).any():
        raise DataError.at(f"tasks.{task}", f"none of {len(labels):,} images is labelled")
    return Subset(part, indices=np.flatnonzero(labels >= 0))
