"""From a folder of one's own images to a recipe: what is there, which of ``configs/folder`` fits it, and why."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.config.batch import effective_batch
from selfsup.config.images import images_section
from selfsup.config.recipe import Recipe
from selfsup.data.decode import decode_image
from selfsup.data.decode.header import read_header
from selfsup.data.draws import draw
from selfsup.data.shards.catalog import manifest_classes
from selfsup.data.shards.names import find_shards, is_url
from selfsup.data.shards.remote import RemoteShards
from selfsup.data.sources.image_list import EXTENSIONS
from selfsup.data.sources.web_shards import WebShards
from selfsup.data.transforms.background import flat_background
from selfsup.errors import ConfigError, DataError
from selfsup.ops.files import WORK_DIR_MARKER
from selfsup.registry import DATASETS

SMALL_SIDE = 80
"""Images whose median shorter side is below this count as small: they are shown whole, without blur."""
MOSTLY_FLAT = 0.5
"""Share of images on a flat background from which on each view gets another one: its color would tell views of one
image from all others, and nothing else would be learned (kNN on emoji after 500 steps: 34.7 % without, 44.6 % with,
raw pixels 38.5 %)."""
LARGE_GPU = 20e9
"""Bytes of memory from which on a GPU counts as large."""
ENOUGH_FOR_SWAV = 20_000
"""Images from which on SwAV's queue of 3,840 does not hold a good part of them."""
USUAL_BUDGET = {"cpu": "20m", "small_gpu": "1h", "large_gpu": "4h"}
"""Of a run without a config and without ``--budget``, by the kind of device."""
MOST_EPOCHS, FEWEST_STEPS = 1000, 1000
"""Of a run without ``--budget``: so many passes over the images are enough, but never fewer steps."""

_SEVERAL = 3  # images of a class
_SAMPLE, _DECODED = 100, 40  # images whose headers are read; of which some are decoded
_PARTS = re.compile(r"(train|training|val|valid|validation|test|testing|eval|images?|data|unlabell?ed)\d*", re.I)
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}|\d{3}[A-Z_]{5}|(19|20)\d\d[-_. ].*", re.I)  # 100CANON: a camera's


@dataclass(frozen=True)
class FolderFacts:
    """What a look at somebody's images tells.

    Args:
        num_images: how many.
        side: median of the shorter sides of a sample, in pixels.
        labels: where their labels are: ``'folder'``, ``'column'``, or None.
        said: how that was found, for the user; empty where there is nothing to say.
        flat: share of a sample that shows something on a flat background, as icons and scans do.
    """

    num_images: int
    side: int
    labels: str | None
    said: str = ""
    flat: float = 0.0


def open_images(
    images: str | Path, labels: str | None = None, groups: str | None = None, *, option: str = "--data"
) -> Any:
    """The images that a command names, see :func:`~selfsup.config.images.images_section`."""
    return DATASETS.build(images_section(images, labels=labels, groups=groups, option=option))


def look(root: str | Path, *, labels: str | None = "auto", groups: str | None = None) -> FolderFacts:
    """Count images, read the headers of some of them, and decode a few.

    Args:
        root: a folder, a list, or shards; of shards behind a URL the first one is looked into.
        labels: ``'folder'``, ``'column'`` or None as the user has said; ``'auto'`` looks for them.
        groups: as for ``ImageList``, so that a long list is read once.

    Raises:
        DataError: if there are no images, or none of a sample can be read.
    """
    said = ""
    if labels == "auto":
        labels, said = find_labels(root)
    images = open_images(root, labels, groups)
    remote = getattr(images, "remote", None) is not None
    among = int(images.shard_starts[1]) if remote else len(images)
    sides: list[int] = []
    flat: list[bool] = []
    for index in draw(among, min(_SAMPLE, among)).tolist():
        try:
            content = images.encoded(index) if isinstance(images, WebShards) else Path(images.file(index)).read_bytes()
            header = read_header(content)
            if len(flat) < _DECODED:
                flat.append(flat_background(decode_image(content, min_side=SMALL_SIDE)) is not None)
        except (OSError, ValueError):
            continue
        sides.append(min(header.width, header.height))
    if not sides:
        raise DataError.at("--data", f"none of {min(_SAMPLE, len(images))} images looked at can be read", got=str(root))
    return FolderFacts(len(images), int(np.median(sides)), labels, said, float(np.mean(flat)))


def find_labels(images: str | Path, option: str = "--data") -> tuple[str | None, str]:
    """Where the labels of some images are, if that is unmistakable; and a sentence about it.

    A table with a column ``label`` has them there. The folders below a root are classes if every image lies in one of
    them, there are at least two, most hold several images, and they are not called as parts of a data set (train, val),
    dates or a camera's folders are.

    Args:
        images: a folder, a list, or shards.
        option: of the command, that named them.

    Returns:
        ``'folder'``, ``'column'``, of shards ``'cls'``, or None; what was found, empty where nothing looks like labels.
    """
    root = Path(images).expanduser()
    section = images_section(images, option=option)
    if section["type"] == "WebShards":
        place: Any = (
            find_shards(root)[0]
            if not is_url(images)
            else RemoteShards(str(images), schemes=section["schemes"], cache=section["cache"])
        )
        named = manifest_classes(place)
        return ("cls", f"labels: those of {len(named):,} classes that stand beside the images") if named else (None, "")
    if root.is_file():
        if root.suffix.lower() == ".txt":
            return None, ""
        header = root.read_text(encoding="utf-8-sig", errors="replace").partition("\n")[0]
        columns = [name.strip().strip('"') for name in re.split(r"[,\t;]", header)]
        return ("column", f"labels: the column 'label' of {root.name}") if "label" in columns else (None, "")
    folders, loose = _first_level(root)
    names = sorted(folders)
    if not names:
        return None, ""
    some = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    otherwise = "; --labels folder takes the folders as classes all the same"
    if all(_PARTS.fullmatch(name) for name in names):
        return None, f"labels: none, for the folders ({some}) are called as parts of a data set are{otherwise}"
    if all(_DATE.fullmatch(name) for name in names):
        return None, f"labels: none, for the folders ({some}) are called as dates or a camera's folders are{otherwise}"
    if loose or len(names) < 2:
        return None, ""
    if np.median(list(folders.values())) < _SEVERAL:
        return None, f"labels: none, for most of the {len(names):,} folders hold one or two images{otherwise}"
    return "folder", f"labels: the {len(names):,} folders ({some}); --labels none trains and evaluates without them"


def labels_needed(root: str | Path, option: str) -> tuple[str, str]:
    """:func:`find_labels` where there have to be some.

    Args:
        root: a folder, a list, or shards.
        option: of the command, that named it.

    Raises:
        DataError: if there is no image.
        ConfigError: if no labels are found.
    """
    labels, said = find_labels(root, option)
    if labels is not None:
        return labels, said
    try:
        open_images(root, option=option)
    except DataError as error:
        first = error.problems[0]
        raise DataError.at(option, first.message, got=first.got) from None
    raise ConfigError.at(
        "--labels",
        f"no labels are found in {root}",
        expected=said or "two or more folders, one for each class, or a table with a column 'label'",
    )


def _first_level(root: Path) -> tuple[dict[str, int], bool]:
    """The folders below a root that hold images, with how many (counted to three), and whether images lie beside them.

    What a run has written is passed over.
    """
    folders, loose = {}, False
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                loose = loose or entry.name.lower().endswith(EXTENSIONS)
            elif not Path(entry.path, WORK_DIR_MARKER).is_file():
                found = (name for _, _, names in os.walk(entry.path) for name in names)
                count = sum(1 for _ in islice((name for name in found if _is_image(name)), _SEVERAL))
                if count:
                    folders[entry.name] = count
    return folders, loose


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def device_kind(device: torch.device) -> str:
    """``'cpu'``, ``'small_gpu'`` or ``'large_gpu'``."""
    if device.type == "cpu":
        return "cpu"
    return "large_gpu" if torch.cuda.get_device_properties(device).total_memory >= LARGE_GPU else "small_gpu"


@dataclass(frozen=True)
class Choice:
    """A recipe for somebody's images.

    Args:
        config: its name.
        options: what in it follows from the images, by path.
        why: for the user, one sentence each.
    """

    config: str
    options: Mapping[str, Any]
    why: tuple[str, ...]


def choose(found: FolderFacts, kind: str, *, processes: int = 1) -> Choice:
    """The recipe of ``configs/folder`` for some images on a kind of device.

    Args:
        found: the images.
        kind: see :func:`device_kind`.
        processes: how many will take part.

    Raises:
        DataError: if there are too few images to compare with one another.
    """
    small = found.side < SMALL_SIDE
    which, method = kind, "SimCLR"
    if kind == "large_gpu" and not small:
        which, method = ("large_gpu", "SwAV") if found.num_images >= ENOUGH_FOR_SWAV else ("small_gpu", "SimCLR")
    config = f"folder/{which}_{'small' if small else 'large'}_images"
    most = {"cpu": 128 if small else 64, "small_gpu": 256, "large_gpu": 512 if small else 64}[which]
    per_process = _largest_power_of_two(found.num_images // (2 * processes))
    if per_process < 2:
        raise DataError.at(
            "--data", "too few images to learn from", got=found.num_images, expected=f"at least {4 * processes}"
        )
    options: dict[str, Any] = {
        "train_dataloader.batch_size": min(most, per_process),
        "train_dataloader.num_images": found.num_images,
    }
    if found.labels is not None:
        options["train_dataloader.dataset.labels"] = found.labels
    if small:
        size = 32 if found.side <= 48 else 64
        options["train_dataloader.views.size"] = size
        if kind == "cpu" and size == 64:
            options["train_dataloader.batch_size"] = min(64, per_process)
    else:
        size = {"cpu": 96, "small_gpu": 128, "large_gpu": 224}[which]
        options["train_dataloader.dataset.min_side"] = 2 * size  # a crop of a quarter of the area has this side left
    flat: tuple[str, ...] = ()
    if found.flat >= MOSTLY_FLAT:
        options["train_dataloader.views.before"] = [dict(type="FreshFlatBackground")]
        flat = (f"views: {found.flat:.0%} of the images looked at have a flat background, so each view gets another",)
    where = {"cpu": "no GPU", "small_gpu": "a GPU of less than 20 GB", "large_gpu": "a GPU of 20 GB or more"}[kind]
    kind_of_images = f"{found.num_images:,} images, half of them with a shorter side of {found.side} px or more"
    why = (
        f"recipe: {config} ({method} at {size} px), for {where} and {kind_of_images}",
        *flat,
        *([found.said] if found.said else []),
    )
    return Choice(config, options, why)


def _largest_power_of_two(limit: int) -> int:
    return 1 << (limit.bit_length() - 1) if limit else 0


def most_steps(recipe: Recipe, num_images: int, *, processes: int = 1) -> int:
    """Steps after which a run of some images that was given no time may end."""
    per_epoch = max(1, num_images // effective_batch(recipe, processes))
    return max(FEWEST_STEPS, MOST_EPOCHS * per_epoch)
