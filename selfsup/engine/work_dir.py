"""A folder of a run's own: writable, and cleared of what an earlier run left without losing any of it."""

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from selfsup.data.splits import SPLIT_FILES
from selfsup.errors import CheckpointError, ConfigError
from selfsup.ops.dist import barrier, is_main, together, world_size
from selfsup.ops.files import WORK_DIR_MARKER, found_in_work_dir
from selfsup.ops.locks import held, living_holder
from selfsup.weights.checkpoint import NAME
from selfsup.weights.one_file import is_folder

EARLIER = "earlier"
RESULTS = (
    "config.py",
    WORK_DIR_MARKER,
    *SPLIT_FILES,
    "checkpoints",
    "metrics.jsonl",
    "bad_images.txt",
    "tensorboard",
    "backbone.safetensors",
    "backbone.pth",
    "backbone.json",
    "scores.json",
)
"""What a run writes in any case; hooks may write more."""
LOCK = "run.lock"
"""Its file is there as long as a run is at work, and names the process."""


def check_writable(work_dir: Path) -> None:
    """Make the work dir, and reject one that cannot be written to, or is in use, before anything is built.

    Raises:
        ConfigError: if it cannot be made or written to, or another run is at work in it.
    """
    # Where processes have joined already, the main one may not be out of the run before; in_use asks it.
    if world_size() == 1 and (holder := living_holder(work_dir / LOCK)) is not None:
        raise _in_use(work_dir, holder)
    probe = work_dir / f".writable_{os.getpid()}"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError.at(
            "work_dir",
            f"cannot be written to ({error.strerror})",
            got=str(work_dir),
            expected="choose another folder with --work-dir",
        ) from None


@contextmanager
def in_use(work_dir: Path) -> Iterator[None]:
    """Keep other runs out of a work dir while inside; the main process does so for all.

    Raises:
        ConfigError: on all processes, if another run is at work in it.
    """
    with ExitStack() as stack:
        with together():
            if is_main():
                try:
                    stack.enter_context(held(work_dir / LOCK, patience=0))
                except TimeoutError:
                    raise _in_use(work_dir, living_holder(work_dir / LOCK)) from None
        yield


def _in_use(work_dir: Path, holder: str | None) -> ConfigError:
    return ConfigError.at(
        "work_dir",
        f"another run is at work in {work_dir}",
        got=holder,
        expected="wait for its end, or choose another folder with --work-dir",
    )


def found_before(work_dir: Path) -> set[str]:
    """Names of what was in a work dir before its first run: the user's, and not to be moved."""
    if (told := found_in_work_dir(work_dir)) is not None:
        return told
    # No run was here, or one that was killed while it wrote.
    names = {path.name for path in work_dir.iterdir()} if work_dir.is_dir() else set()
    return {name for name in names - {*RESULTS, EARLIER} if not name.startswith(LOCK)}


def archive(
    work_dir: str | Path, *, keep: Collection[str] = (), config: Mapping[str, Any] | None = None
) -> Path | None:
    """Move what an earlier run left in a work dir out of the way of a new one; nothing is deleted.

    Args:
        work_dir: the folder.
        keep: names of what stays: what was there before the first run, what the new one has written already.
        config: of the new run; what it reads from the work dir, such as images, stays too.

    Returns:
        The folder it was moved into, on the main process; None if there was nothing, and on the others.
    """
    archived: Path | None = None
    if is_main():
        root = Path(work_dir).absolute()
        staying = ({*keep, *_read_from(root, config or {})} - set(RESULTS)) | {EARLIER}
        if leaving := [path for path in root.iterdir() if path.name not in staying and not path.name.startswith(LOCK)]:
            archived = root / EARLIER / unused_name(root / EARLIER)
            archived.mkdir(parents=True)
            for path in leaving:
                path.rename(archived / path.name)
    barrier()
    return archived


def _read_from(root: Path, value: Any) -> Iterator[str]:
    """Names in a folder that some text of a config leads to."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _read_from(root, item)
    elif isinstance(value, str | Path):
        path = Path(value).expanduser().absolute()
        if path != root and path.is_relative_to(root):
            yield path.relative_to(root).parts[0]


def unused_name(folder: Path) -> str:
    """The time, as a name that nothing in a folder has yet."""
    now = name = time.strftime("%Y%m%d_%H%M%S")
    number = 1
    while (folder / name).exists():
        number += 1
        name = f"{now}_{number}"
    return name


_PARTIAL_PICTURE = re.compile(r"\..+\.png\.partial")


def sweep(work_dir: str | Path) -> None:
    """Remove what a run that was killed while it wrote has left half written; what others call so stays."""
    root = Path(work_dir)
    ours = {f"{name}.partial" for name in RESULTS}
    for partial in root.glob("*.partial"):
        if partial.name in ours or _PARTIAL_PICTURE.fullmatch(partial.name):
            partial.unlink(missing_ok=True)
    for path in (root / "checkpoints").glob("step_*"):
        named = NAME.fullmatch(path.name.removesuffix(".partial").removesuffix(".replaced"))
        if named and path.is_dir() and not (is_folder(path) and path.suffix != ".partial"):
            shutil.rmtree(path, ignore_errors=True)
        elif named and path.suffix == ".partial":
            path.unlink(missing_ok=True)


def archive_file(file: Path) -> None:
    """Move a file out of the way, as the results of an earlier run are.

    Raises:
        CheckpointError: if it cannot be moved.
    """
    if not file.is_file():
        return
    folder = file.parent / EARLIER
    try:
        archived = folder / unused_name(folder)
        archived.mkdir(parents=True)
        file.rename(archived / file.name)
    except OSError as error:
        raise CheckpointError.at(
            str(file), f"is out of date and cannot be put into {folder} ({error.strerror})"
        ) from error


def work_dir_of(weights: Path) -> Path | None:
    """The folder of the run that wrote a file of weights; None if it lies in none."""
    folder = weights if weights.is_dir() and not is_folder(weights) else weights.parent
    folder = folder.parent if folder.name == "checkpoints" else folder
    return folder if (folder / WORK_DIR_MARKER).is_file() else None
