"""What ``--data`` means: a folder, a list or shards, on this machine or behind a URL, as the section of a config."""

import re
from pathlib import Path
from typing import Any

from selfsup.errors import DataError

CACHE = {"dir": "~/.cache/selfsup/shards", "max_gib": 20}
"""Where shards behind a URL are kept, and how much of it, if nothing else is said."""
SHARDS_AT_ONCE = 8
"""Of shards behind a URL, so many are mixed: twice as many, of 1.2 GiB each, fit into that cache."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def images_section(
    images: str | Path, *, labels: str | None = None, groups: str | None = None, option: str = "--data"
) -> dict[str, Any]:
    """The section of the data set that somebody's images are.

    An ``ImageList`` of a folder or a list; ``WebShards`` of a folder of shards, a tar, a name with ranges, or a URL.
    Whoever names a URL allows its scheme.

    Args:
        images: as the command names them.
        labels: see the data set.
        groups: likewise.
        option: that names the images, for a message.

    Raises:
        DataError: if there is no such folder or file.
    """
    more = {name: value for name, value in (("labels", labels), ("groups", groups)) if value is not None}
    if (scheme := _SCHEME.match(str(images))) is not None:
        remote = {"schemes": [scheme[1].lower()], "cache": dict(CACHE)}
        return {"type": "WebShards", "root": str(images), **remote, **more}
    path = Path(images).expanduser()
    if not path.exists() and not is_ranged(path.name):
        expected = "it must be a folder of images, a list of their paths, or shards"
        raise DataError.at(option, "no such folder or file", got=str(images), expected=expected)
    kind = "WebShards" if path.suffix == ".tar" or holds_shards(path) else "ImageList"
    return {"type": kind, "root": str(path.absolute()), **more}  # found from any folder


def use_images(config: dict[str, Any], images: str | Path) -> None:
    """Point a config, in place, at images without labels; its tasks and input contract are of other images.

    Raises:
        DataError: if there is no such folder or file.
    """
    section = images_section(images)
    if isinstance(loader := config.get("train_dataloader"), dict):
        loader["dataset"] = section
        loader.pop("num_images", None)
        loader.pop("shards_at_once", None)
        if "cache" in section:
            loader["shards_at_once"] = SHARDS_AT_ONCE
    config.pop("tasks", None)
    config.pop("input_contract", None)


def images_name(images: str | Path) -> str:
    """What a run on some images is called if nothing says so."""
    if _SCHEME.match(str(images)):
        *folders, last = str(images).rstrip("/").split("/")
        return re.sub(r"[^\w.-]+", "_", folders[-1] if is_ranged(last) or last.endswith(".json") else last)
    path = Path(images).expanduser().resolve()
    return (path.parent if is_ranged(path.name) else path).stem or "images"


def is_ranged(name: str) -> bool:
    """Whether a name stands for several shards."""
    return "{" in name and name.endswith(".tar")


def holds_shards(root: Path) -> bool:
    """Whether a folder holds tars and what is written beside them, and nothing else."""
    if not root.is_dir():
        return False
    endings = {entry.suffix for entry in root.iterdir() if not entry.name.startswith(".")}
    return ".tar" in endings and endings <= {".tar", ".json", ".parquet"}
