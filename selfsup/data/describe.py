"""What a run says of its images before the first step: what would otherwise be found out after the last."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfsup.data.decode.decoder import used_bits
from selfsup.data.draws import Drawn
from selfsup.data.sources.entries import skipped_files
from selfsup.data.sources.image_list import HEIC_EXTENSIONS
from selfsup.data.sources.source import LabelSets, printable

_MOST_LABELS = 1 << 21
_FILES_LOOKED_AT = 16
_FEWEST_UNUSED_BITS = 2  # 14 bits are the most that cameras store in 16
_NAMED = 3
_PARTS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}
_YEAR = re.compile(r"(19|20)\d\d", re.ASCII)


def describe_images(source: Any) -> list[str]:
    """Lines about a source of images: its classes, what was left out of its folder, and values that need stretching.

    Of a folder that holds the work dir of a run, of classes that look like the parts of a data set, or like years,
    and of 16-bit files whose values end far below their range it is said what to do.
    """
    lines = _classes(source)
    if (left_out := getattr(source, "left_out", None)) is not None:
        if skipped := skipped_files(left_out):
            is_heic = any(extension in left_out.skipped for extension in HEIC_EXTENSIONS)
            lines.append(
                f"{printable(os.fspath(source.root))}: {skipped}"
                + ("; HEIC is read with selfsup[heif]" if is_heic else "")
            )
        if work_dirs := left_out.work_dirs:
            lines.append(f"what runs have written is not read as images: {_some(work_dirs)}")
    return [*lines, *_bit_depth(source)]


def _classes(source: Any) -> list[str]:
    labels, names = getattr(source, "labels", None), getattr(source, "classes", None)
    if labels is None or not names:
        return []
    of, unlabelled = "", 0
    if isinstance(labels, LabelSets):
        counts = labels.counts()
    else:
        numbers = np.asarray(labels[Drawn(len(source), _MOST_LABELS)[:]])
        counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
        unlabelled = int((numbers < 0).sum())
        if len(numbers) == _MOST_LABELS:
            of = f" of {len(numbers):,} drawn images"
    fewest, most = counts.min(), counts.max()
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    line = f"{len(names):,} class{'' if len(names) == 1 else 'es'} ({_some(names)}), {each} images each{of}"
    for number, words in ((1, "of one image"), (0, "without images")):
        if len(found := np.flatnonzero(counts == number)):
            line += f"; {len(found):,} {words} ({_some([names[at] for at in found[:_NAMED]], len(found))})"
    if unlabelled:
        line += f"; {unlabelled:,} images without a label"
    lines = [line]
    if len(names) > 1 and all(name.lower() in _PARTS for name in names):
        lines.append(
            f"the classes {_some(names)} look like parts of a data set: train on one of the folders, or with "
            "--labels none if they are no classes"
        )
    elif len(names) > 1 and all(_YEAR.fullmatch(name) for name in names):
        lines.append(f"the classes {_some(names)} look like years: --labels none if they are no classes")
    return lines


def _bit_depth(source: Any) -> list[str]:
    file = getattr(source, "file", None)
    if file is None or getattr(source, "bit_depth", 0) is not None:
        return []
    some = np.unique(np.linspace(0, len(source) - 1, _FILES_LOOKED_AT).astype(np.int64))
    bits = [found for index in some.tolist() if (found := used_bits(file(index))) is not None]
    if not bits or max(bits) > 16 - _FEWEST_UNUSED_BITS:
        return []
    depth = max(bits)
    return [
        f"files of 16 bits whose values end below {1 << depth:,} look almost black: bit_depth={depth} stretches them "
        f"(--cfg-options train_dataloader.dataset.bit_depth={depth})"
    ]


def _some(names: Sequence[str], count: int | None = None) -> str:
    more = (len(names) if count is None else count) > _NAMED
    return ", ".join(names[:_NAMED]) + (", ..." if more else "")
