"""Images of a nested folder, or of a text or CSV list: no meta file, no invented labels.

How a billion images are listed. Reading that many names takes the better part of an hour, so it is done once for all
processes of a machine, and the result is kept: the first process to ask holds a lock while it writes the table, the
others wait for the lock and map the file; nobody has to take part in a collective, so that a data set can be built
anywhere. The next run maps the same file if nothing has changed: a folder and all below it are asked for their times
(a thousandth of the work, for folders of a thousand images), a list for its size and time. The table lies in the
machine's temporary folder, where one that no run has used for a month is removed; a killed run leaves the table for the
next one, and at most one unfinished file, which the next to list the same images removes. Machines do not wait for each
other: where many would scan one network file system at once, let one of them make a ``cache`` there first.

Up to 20,000 images are listed faster than two processes can agree on it, and stay in memory.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from selfsup.data.decode.decoder import MAX_PIXELS, decode_image
from selfsup.data.sources.entries import LIST_EXTENSIONS, LeftOut
from selfsup.data.sources.listing import Listing
from selfsup.data.sources.source import LabelSets, file_or_name, printable
from selfsup.errors import DataError, did_you_mean
from selfsup.registry import DATASETS

HEIC_EXTENSIONS = (".heic", ".heif", ".hif")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", *HEIC_EXTENSIONS),
)

logger = logging.getLogger(__name__)


@DATASETS.register_module()
class ImageList:
    """Images named by a folder or a list.

    The order is the same on every machine: a folder is walked depth first with its entries sorted by the bytes of their
    names, a list is taken as it is. Paths live in a memory-mapped file (see ``path_table``). A listed file that does
    not exist is found out when it is decoded.

    Args:
        root: a folder, searched with all its subfolders (entries whose name starts with a dot are left out, links are
            followed); a ``.txt`` file with one path a line; or a ``.csv`` or ``.tsv`` file with a header line.
        labels: ``None`` for images without labels; ``'folder'``: the first folder below ``root`` is the class;
            ``'column'``: the list holds the label, in ``label_column`` or, in a text list, as the last word of a line.
            The classes are the names found, in their order; those of a list that are all whole numbers are ordered
            by value. An image whose label is empty, ``-1`` or ``nan`` has none.
        label_separator: what stands between the labels of an image that has several, such as ``';'``; ``labels`` is
            a :class:`~selfsup.data.LabelSets` then.
        groups: what the images have in common that must lie on one side of a split, such as a patient: ``'folder'``,
            the folder that an image lies in; ``'column'``, the column ``group_column`` of a table; or a regular
            expression that is searched in the name, and what its first parenthesis matches. An image without is a
            group of its own.
        extensions: which files of a folder are images, regardless of case; a list may name any file. Without
            pillow-heif (``selfsup[heif]``) HEIC is not among the default.
        prefix: what relative paths in a list are relative to; default: the list's own folder.
        path_column: the column of a CSV list that holds the paths.
        label_column: the column of a CSV list that holds the labels.
        group_column: the column of a CSV list that holds the groups.
        classes: the class names in label order, to number a second list as the first; default: those found.
        min_side: see ``decode_image``; large JPEGs are decoded smaller, never below this shorter side.
        max_pixels: see ``decode_image``.
        bit_depth: see ``decode_image``; stretches 16-bit files that use fewer bits, such as 12.
        cache: a file that keeps the list of paths, for all machines that see it; a folder is then scanned once, and
            again only when this file is removed or the arguments change (or, for a list, when the list's size or time
            changes). Default: see above; a folder that has changed is then scanned again.

    Raises:
        DataError: if ``root`` is not there or holds no image, a column is missing, no image has a label or one
            has a label that is not among ``classes``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: Literal["folder", "column"] | None = None,
        *,
        label_separator: str | None = None,
        groups: str | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        prefix: str | os.PathLike[str] | None = None,
        path_column: str = "path",
        label_column: str = "label",
        group_column: str = "group",
        classes: Sequence[str] | None = None,
        min_side: int | None = None,
        max_pixels: int = MAX_PIXELS,
        bit_depth: int | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        self.min_side = min_side
        self.max_pixels = max_pixels
        if bit_depth is not None and not 1 <= bit_depth <= 16:
            raise DataError.at("bit_depth", "must be in [1, 16]", got=bit_depth)
        self.bit_depth = bit_depth
        is_list = _check_root(self.root, labels)
        if label_separator is not None and (labels != "column" or not label_separator):
            raise DataError.at(
                "label_separator",
                f"must be a character such as ';' and goes with labels='column', got {label_separator!r} "
                f"and labels={labels!r}",
            )
        base = Path(prefix).expanduser() if prefix is not None else self.root.parent if is_list else self.root
        self._base = os.fsencode(base)
        if extensions == EXTENSIONS and find_spec("pillow_heif") is None:
            extensions = [ending for ending in EXTENSIONS if ending not in HEIC_EXTENSIONS]
        endings = tuple(sorted({f".{ending.lstrip('.').lower()}" for ending in extensions}))
        listing = Listing(
            self.root,
            self._base,
            labels,
            is_list=is_list,
            endings=endings,
            path_column=path_column,
            label_column=label_column,
            label_separator=label_separator,
            classes=None if classes is None else tuple(classes),
            groups=_checked_groups(groups, self.root),
            group_column=group_column,
        )
        self._table = listing.table(None if cache is None else Path(cache).expanduser())
        if unreadable := self.left_out.unreadable:
            more = f" and {len(unreadable) - 1:,} more" if len(unreadable) > 1 else ""
            logger.warning("%s: may not be read, its images are left out: %s%s", self.root, unreadable[0], more)
        if is_list and len(self) and not os.path.exists(self.file(0)):
            self._explain_first_line(labels)

    @property
    def labels(self) -> np.ndarray | LabelSets | None:
        """int64, shape (N,), mapped from the file; with a ``label_separator`` the classes of each image."""
        return self._table.labels

    @property
    def classes(self) -> list[str] | None:
        """The name of each label; ``None`` without labels."""
        return self._table.header["classes"]

    @property
    def groups(self) -> np.ndarray | None:
        """A number for the name of each image's group, int64, shape (N,); None without groups."""
        return self._table.array("groups")

    @property
    def left_out(self) -> LeftOut:
        """What of the folder is not read."""
        noted = self._table.header.get("left_out")  # a cache of an earlier version has none
        return LeftOut() if noted is None else LeftOut(**{**noted, "skipped": Counter(noted["skipped"])})

    @property
    def digest(self) -> str:
        """What tells this list from others, in names, order or labels; the same on every machine."""
        return self._table.header["digest"]

    @property
    def decoding(self) -> dict[str, int | None]:
        """The arguments that decide which pixels a file becomes."""
        return {"min_side": self.min_side, "max_pixels": self.max_pixels, "bit_depth": self.bit_depth}

    def __len__(self) -> int:
        return len(self._table)

    def file(self, index: int) -> str:
        """The path of the image, as the operating system wants it."""
        return os.fsdecode(os.path.join(self._base, self._table[index]))

    def name(self, index: int) -> str:
        """The path relative to the folder, or to where paths of the list start; printable whatever its bytes."""
        path = self._table[index]
        if path.startswith((b"/", b".")) or b"//" in path or b"/." in path:
            base = os.path.abspath(self._base)
            path = os.path.normpath(os.path.join(base, path))
            path = path.removeprefix(base.rstrip(b"/") + b"/")
        return printable(path)

    def image(self, index: int) -> np.ndarray:
        """Decode the image.

        Returns:
            RGB image, uint8, shape (H, W, 3).

        Raises:
            DecodeError: if the file cannot be read or decoded.
        """
        name = file_or_name(self, index)
        return decode_image(
            self.file(index),
            min_side=self.min_side,
            max_pixels=self.max_pixels,
            bit_depth=self.bit_depth,
            name=name,
        )

    def _explain_first_line(self, labels: str | None) -> None:
        """A list whose first name is no file may be read otherwise than it was written."""
        written = os.fsdecode(self._table[0])
        if not os.path.isabs(written) and os.path.exists(written):
            raise DataError.at(
                "prefix",
                f"relative paths of {self.root} start at {os.fsdecode(self._base) or '.'}, where there is "
                f"no {written}, and at the current folder there is",
                expected="set prefix='.' (--cfg-options train_dataloader.dataset.prefix=.)",
            )
        path, *label = self.file(0).rsplit(None, 1)
        if labels is None and label and os.path.exists(path):
            raise DataError.at(
                "labels",
                f"{self.root} seems to name a label behind each path, {label[0]!r} behind {path}",
                expected="read it with labels='column' (--cfg-options train_dataloader.dataset.labels=column)",
            )

    def __repr__(self) -> str:
        kinds = f", {len(self.classes)} classes" if self.classes is not None else ""
        return f"ImageList({os.fspath(self.root)!r}: {len(self):,} images{kinds})"


def _checked_groups(groups: str | None, root: Path) -> str | None:
    if groups == "column" and root.suffix.lower() not in (".csv", ".tsv"):
        raise DataError.at("groups", "'column' needs a table (.csv, .tsv)", got=root)
    try:
        re.compile(groups or "")
    except re.error as error:
        raise DataError.at("groups", f"{groups!r} is no regular expression ({error})") from None
    return groups


def _check_root(root: Path, labels: str | None) -> bool:
    """Whether ``root`` is a list rather than a folder; anything else is an error."""
    if labels not in (None, "folder", "column"):
        expected = "None, without quotation marks, is for images without labels" if labels == "none" else ""
        raise DataError.at("labels", "must be None, 'folder' or 'column'", got=labels, expected=expected)
    if root.is_dir():
        if labels == "column":
            raise DataError.at("labels", f"{root} is a folder and has no columns", expected="use 'folder' or None")
        return False
    if not root.exists():
        neighbors = [entry.name for entry in root.parent.iterdir()] if root.parent.is_dir() else []
        near = did_you_mean(root.name, neighbors) if neighbors else f"; there is no {root.parent} either"
        raise DataError.at("root", f"no such file or folder: {root}{near}", expected="--data trains on other images")
    if root.suffix.lower() not in LIST_EXTENSIONS:
        raise DataError.at(
            "root", f"{root} is neither a folder nor a list", expected=f"lists end in {', '.join(LIST_EXTENSIONS)}"
        )
    if labels == "folder":
        raise DataError.at("labels", f"{root} is a list", expected="use 'column' or None")
    return True
