"""Tasks by name: the data sets that papers evaluate on, with their official splits and metrics."""

from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data import Subset, split
from selfsup.data.draws import AllBut
from selfsup.data.standard import SETS, Standard
from selfsup.data.standard.sets import StandardSet
from selfsup.errors import ConfigError, DataError, nearest
from selfsup.evaluation.task import Task
from selfsup.registry import TASKS


@TASKS.register_module()
def StandardTask(
    set: str,
    root: str | Path,
    *,
    name: str | None = None,
    label_list: str | Path | None = None,
    val: float = 0.2,
    max_train: int | None = None,
    complete: bool = True,
    **more: Any,
) -> Task:
    """A task on a standard data set: learned from its training split, evaluated on the split that papers report.

    Hyper-parameters are chosen on the official validation split where there is one besides the reported one, otherwise
    on a share of the training images. A set without official splits (EuroSAT, Caltech-101), or whose lists are not in
    the folder (SUN397), is split by us, the same way every time, and each row says so: a fifth of each class is test;
    of Caltech-101, as usual, all but 30 images of each class.

    Args:
        set: its name, see ``selfsup.data.standard.SETS``.
        root: the folder that it lies in.
        name: what tables call it; None for ``set``.
        label_list: a file of names, one a line: only these training images have labels, such as ImageNet's official
            lists of 1 and 10 %.
        val: share of the training images to choose in, where there is no official split for it.
        max_train: images at the most to learn and choose from: the share ``val`` of them comes from the official
            validation split, where there is one.
        complete: see :class:`~selfsup.data.standard.Standard`.
        more: further arguments of :class:`Task`.

    Raises:
        ConfigError: for an unknown name.
        DataError: if it is not there, or a name of ``label_list`` is not among its images.
    """
    if set not in SETS:
        raise ConfigError.at("set", "no such data set", got=set, expected=nearest(set, SETS))
    known = SETS[set]
    options: dict[str, Any] = {"metric": known.metric, "max_train": max_train, **more}
    task_name = name or set
    if known.train is None:
        return Task(task_name, test=Standard(set, root, known.test, complete=complete), **options)
    if not known.test or (known.lists and not Path(root, known.lists).expanduser().is_file()):
        learned, tested, note = _cut(Standard(set, root, "all", complete=complete), known)
        return Task(task_name, train=learned, val=val, test=tested, note=note, **options)
    train: Any = Standard(set, root, known.train, complete=complete)
    if label_list is not None:
        train = Subset(train, indices=listed(train, Path(label_list).expanduser()))
    own: Any = Standard(set, root, known.val, complete=complete) if known.val else val
    if known.val and max_train is not None:
        some = min(round(val * max_train), len(own))
        own, options["max_train"] = Subset(own, count=some), max_train - some
    test = Standard(set, root, known.test, complete=complete)
    return Task(task_name, train=train, val=own, test=test, **options)


def _cut(whole: Any, known: StandardSet) -> tuple[Any, Any, str]:
    """Training and test images of a set whose official split is not there, and how they were chosen."""
    why = f"{known.lists} is not there" if known.lists else "there is no official one"
    note = f"the split is ours, stratified by class with seed 0, because {why}: "
    if known.per_class is None:
        parts = split(whole, val=0.0, test=0.2, max_images=len(whole))
        return parts.train, parts.test, f"{note}a fifth of each class is test"
    train = Subset(whole, per_class=known.per_class)
    test = Subset(whole, AllBut(len(whole), np.asarray(train.indices)))
    return train, test, f"{note}{known.per_class} images of each class are learned from, the others are test"


def listed(source: Any, path: Path) -> list[int]:
    """The positions of the images that a file names, by their path or its last part, in the order of the source.

    Raises:
        DataError: if the file is not there, or names an image that the source does not have.
    """
    if not path.is_file():
        raise DataError.at("label_list", "no such file", got=str(path))
    wanted = {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    places: dict[str, int] = {}
    for index in range(len(source)):
        whole = source.name(index)
        places[whole] = places[whole.rpartition("/")[2]] = index
    unknown = sorted(wanted - places.keys())
    if unknown:
        raise DataError.at(
            "label_list", f"{len(unknown):,} of {len(wanted):,} names are no images here", got=unknown[0]
        )
    return sorted(places[name] for name in wanted)
