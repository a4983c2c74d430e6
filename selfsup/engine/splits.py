"""Which images of a run are held out from its training: decided once, read again on resume, evaluation and test."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.config import Recipe
from selfsup.data.draws import Drawn
from selfsup.data.sources.source import single_labels
from selfsup.data.splits import MOST_CANDIDATES, Split, looks_for_copies, split
from selfsup.engine.resume import NEW_RUN
from selfsup.errors import CheckpointError
from selfsup.ops.dist import broadcast_object, is_main, together
from selfsup.weights.checkpoint import Checkpoint


def run_split(
    source: Any,
    recipe: Recipe,
    work_dir: str | Path | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    log: Callable[[str], object] = print,
) -> Split | None:
    """The split of a run's own images: as the run has decided it, or else by the recipe; all processes call this.

    A run has a split when it has no tasks, its images have one label each, and there are two classes or more;
    ``split=None`` switches it off.

    Args:
        source: the run's images, all of them.
        recipe, work_dir, checkpoint: of the run; the split file of the work dir is read where the checkpoint does not
            say, and one that was written before there were splits says it too.
        log: told why nothing is held out, or that copies are not looked for.

    Raises:
        DataError: if a split file cannot be read, or the section ``split`` is wrong.
    """
    saved = None if checkpoint is None else checkpoint.data
    if saved is not None and is_same_list(saved, source):
        if "split" in saved:
            return None if saved["split"] is None else Split.from_state(saved["split"], source)
        held_out, none = saved["held_out"].numpy(), np.empty(0, np.int64)  # by commit 41b416a
        return Split(source, {"val": none, "test": held_out, "copies": none}, {}) if len(held_out) else None
    if saved is None and checkpoint is not None and checkpoint.images == len(source):
        return None  # so early a checkpoint says how many images were trained on, which were all
    found = None
    with together():
        if is_main():
            found = Split.read(work_dir, source) if work_dir is not None else None
            found = found or _new(source, recipe, log)
    parts = broadcast_object(None if found is None else (found.held_out, found.rules, found.unknown, found.from_file))
    return None if parts is None else Split(source, *parts)


def _new(source: Any, recipe: Recipe, log: Callable[[str], object]) -> Split | None:
    rules, labels = recipe.split, single_labels(source)
    if recipe.tasks or rules is None or labels is None:
        return None
    some = np.asarray(labels[Drawn(len(source), MOST_CANDIDATES)[:]])
    if len(np.unique(some[some >= 0])) < 2:
        return None
    found = split(source, **asdict(rules))
    if found.is_empty:
        log("nothing is held out from the training: every class has one image (or one group of images)")
        return None
    if getattr(source, "file", None) is not None and not looks_for_copies(source):
        log(f"{len(source):,} images are too many to look for copies of those that are held out")
    return found


def describe_split(found: Split) -> str:
    """One line for the log."""
    copies = f", and {len(found.copies):,} copies of them in no part" if len(found.copies) else ""
    return (
        f"held out from training: {len(found.val):,} (val) and {len(found.test):,} (test) of {len(found.source):,} "
        f"images{copies}; {len(found.train):,} are trained on"
    )


def data_state(source: Any, found: Split | None) -> dict[str, Any]:
    """What a checkpoint keeps of a run's images: how many, which list (where the source can tell), and the split."""
    return {
        "length": len(source),
        "digest": getattr(source, "digest", None),
        "split": None if found is None else found.state(),
    }


def is_same_list(saved: Mapping[str, Any], source: Any) -> bool:
    """Whether images are those of a checkpoint's ``data``, as far as either tells."""
    digest = getattr(source, "digest", None)
    known = saved["digest"] is not None and digest is not None
    return saved["length"] == len(source) and (not known or saved["digest"] == digest)


def check_images(saved: Checkpoint, source: Any) -> None:
    """Reject to resume with other images than the run saw: its numbers would mean others."""
    before = saved.data
    if before is not None and not is_same_list(before, source):
        raise CheckpointError.at(
            str(saved.path),
            f"the run's data set had {before['length']:,} images, it has {len(source):,} now, another list in names, "
            "order or labels",
            expected="restore it (where labels are numbers: classes=['0', '1', ...], which was the default once), or "
            f"{NEW_RUN}",
        )


def doubt_about_test(
    found: Split | None, checkpoint: Checkpoint | None, source: Any, *, path: str | Path
) -> str | None:
    """What to say of a test of the weights at ``path`` on images that these may have been trained on; None if nothing.

    Args:
        found: the split that the test goes by.
        checkpoint: what the file holds; None if it holds a backbone alone.
        source: the run's images by the config of the test.
        path: of the weights.
    """
    saved = None if checkpoint is None else checkpoint.data
    by_name = found is not None and found.from_file
    if saved is None:
        said = f"{path} does not say which images it was trained on; those tested here may be among them"
        return None if by_name else said
    if is_same_list(saved, source):
        return f"{path} was trained on all images, those tested here among them" if found is None else None
    known = f", matched by name ({found.unknown:,} of those held out are unknown)" if by_name and found else ""
    return (
        f"{path} was trained on another list of {saved['length']:,} images than the {len(source):,} of this config"
        f"{known}; those tested here may be among them"
    )
