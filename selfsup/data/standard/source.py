"""A standard data set as a source, with what is wrong with it said at once."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.standard import readers
from selfsup.data.standard.sets import SETS
from selfsup.errors import ConfigError, DataError, nearest
from selfsup.registry import DATASETS

LOOKED_AT = 1000
"""Images of a complete set whose files are looked for."""


@DATASETS.register_module()
class Standard:
    """One split of a data set that papers evaluate on.

    Args:
        name: such as ``'imagenet'``, ``'voc07'``, ``'inat2021'``; ``selfsup.data.standard.SETS`` lists them.
        root: the folder that it lies in.
        split: one of its splits.
        complete: whether the published numbers of images and classes must be there; False for a part of the data.

    Raises:
        ConfigError: for an unknown name or split.
        DataError: if it is not there, or is not complete: where it comes from and how it must lie.
    """

    def __init__(self, name: str, root: str | Path, split: str, *, complete: bool = True) -> None:
        if name not in SETS:
            raise ConfigError.at("name", "no such data set", got=name, expected=nearest(name, SETS))
        known = SETS[name]
        if split not in known.images:
            raise ConfigError.at("split", "no such split", got=split, expected=f"{name} has {', '.join(known.images)}")
        base = Path(root).expanduser()
        try:
            self.source: Any = getattr(readers, known.reader)(base, split, **known.options)
        except DataError as error:
            first = error.problems[0]
            raise DataError.at(
                f"{name}: {first.path}", first.message, expected=f"layout: {known.layout}; from {known.where}"
            ) from None
        counts = {
            "images": (len(self.source), known.images[split]),
            "classes": (len(self.source.classes), known.classes),
        }
        for what, (got, published) in counts.items():
            if complete and published and got != published:
                raise DataError.at(
                    f"{name}: {base}",
                    f"{split} must have {published:,} {what}",
                    got=got,
                    expected=f"complete=False takes what there is; from {known.where}",
                )
        if complete:
            _check_files(self.source, f"{name}: {base}", known.where)

    def __len__(self) -> int:
        return len(self.source)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") or attribute == "source":
            raise AttributeError(attribute)
        return getattr(self.source, attribute)


def _check_files(source: Any, place: str, where: str) -> None:
    """Reject annotations whose images are not there, by some of them.

    Raises:
        DataError: naming one.
    """
    if (file := getattr(source, "file", None)) is None:
        return
    some = np.unique(np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).astype(np.int64)).tolist()
    gone = [path for index in some if not os.path.exists(path := file(index))]
    if gone:
        raise DataError.at(
            place,
            f"{len(gone):,} of {len(some):,} images looked at are not there",
            got=gone[0],
            expected=f"complete=False leaves them out; from {where}",
        )
