"""Which tars a folder, a name with ranges or a URL means, and what lies beside them."""

import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from selfsup.errors import DataError

INDEX_FOLDER = ".selfsup-index"
MANIFEST = "manifest.json"
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ENDING = ".tar"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_url(root: Any) -> bool:
    """Whether a root is not a path of this machine."""
    return isinstance(root, str) and (URL.match(root) is not None or "::" in root)


def find_shards(root: str | os.PathLike[str]) -> tuple[Path, list[str]]:
    """The tar files that a folder, a file or a name with ranges such as ``{0000..0123}.tar`` means.

    Returns:
        The folder, and the names of the shards relative to it: those of a folder sorted by their bytes.

    Raises:
        DataError: if there are none.
    """
    path = Path(root).expanduser()
    if _RANGE.search(path.name):
        names = list(expanded(path.name))
        missing = [name for name in names if not (path.parent / name).is_file()]
        if missing:
            raise DataError.at("root", f"no such shard: {path.parent / missing[0]}", got=f"{len(missing)} missing")
        return path.parent, names
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise DataError.at("root", "no such folder or file", got=os.fspath(root))
    found: list[str] = []
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shards = [name for name in files if name.endswith(_ENDING) and name[0] != "."]
        inside = os.path.relpath(folder, path)
        found += shards if inside == "." else [os.path.join(inside, name) for name in shards]
    if not found:
        raise DataError.at("root", f"no shards ({_ENDING}) below {path}", expected="`selfsup shard` makes them")
    return path, sorted(found, key=os.fsencode)


def expanded(name: str) -> Iterator[str]:
    """What ranges stand for: ``{08..11}`` counts as a shell does, with the zeros of the first number."""
    pieces = _RANGE.split(name)  # text, first, last, text, first, last, text
    ranges = [
        [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    for numbers in product(*ranges):
        yield "".join(text + number for text, number in zip(pieces[::3], [*numbers, ""], strict=True))


def index_file(folder: Path, shard: str, labels: str | None) -> Path:
    """Where the index of a shard lies."""
    return folder / f"{shard}.{quote(labels, safe='') if labels else 'none'}.index"
