"""Which of a run's images are kept from its training, also once it is resumed, and in a test of what came out."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfsup.data.all_but import AllBut
from selfsup.engine.hooks.evaluate import EvaluateHook
from selfsup.engine.resume import NEW_RUN
from selfsup.errors import CheckpointError
from selfsup.methods.base import Method
from selfsup.ops.random_state import isolated_random_state
from selfsup.ops.together import together
from selfsup.weights.checkpoint import Checkpoint


def find_held_out(
    images: Any,
    views: Any,
    *,
    method: Method,
    judges: Sequence[EvaluateHook],
    tester: EvaluateHook,
    device: torch.device,
    saved: Checkpoint | None = None,
) -> np.ndarray:
    """Build the evaluators, and say which images are not to be trained on: those that they judge the method on.

    A run that goes on keeps to those that it held out at its start, whatever its evaluators are now: they judge the
    same ones, or as many of them as they want.

    Args:
        images: all of them.
        views: the view pipeline.
        method: what is judged.
        judges: what evaluates the run, perhaps nothing.
        tester: what a test will judge by: it is asked where nothing else has judged the run from its start.
        device: where the run trains.
        saved: what the run has come to, None for a new one.

    Returns:
        Numbers of images, int64, ascending.

    Raises:
        CheckpointError: if the run saw other images, or is to be judged on some that it did not hold out.
    """
    before = None
    with together(), isolated_random_state(device):
        if saved is not None:
            before = _before(saved)
            _check_images(saved, images)
        if not judges and before is None:
            judges = [tester]
        parts = [judge.hold_out(images, preprocess=method.preprocess, views=views, held_out=before) for judge in judges]
        judged = np.unique(np.concatenate([np.empty(0, np.int64), *parts]))
        if saved is not None and before is not None and len(trained_on := np.setdiff1d(judged, before)):
            names = ", ".join(name for judge in judges for name in judge.evaluators)
            raise CheckpointError(
                f"{saved.path}: the run held {len(before):,} of its images out, and evaluators ({names}) would judge "
                f"{len(trained_on):,} others, which it has trained on; give them images of their own "
                f"(evaluators.*.test), switch them off (default_hooks.evaluate=None, evaluators={{}}), or {NEW_RUN}"
            )
    return judged if before is None else before


def without(held_out: np.ndarray, images: Any, logger: logging.Logger) -> Any:
    """The images to train on.

    Args:
        held_out: numbers of those to leave out.
        images: all of them.
        logger: is told how many are left out.
    """
    if not len(held_out):
        return images
    rest = AllBut(images, held_out)
    logger.info(
        f"held out from training: {len(held_out):,} of {len(images):,} images, on which evaluators judge; "
        f"{len(rest):,} are trained on"
    )
    return rest


def data_of(images: Any, held_out: np.ndarray) -> dict[str, Any]:
    """What a checkpoint keeps of the images: how many, which list (where the data set can tell), and those held out."""
    return {
        "length": len(images),
        "digest": getattr(images, "digest", None),
        "held_out": torch.from_numpy(np.asarray(held_out, np.int64)),
    }


def for_a_test(saved: Checkpoint | None, images: Any, *, source: str | Path) -> tuple[np.ndarray | None, str | None]:
    """Which of a run's images a test of its weights may judge.

    Args:
        saved: the checkpoint that the file of weights holds, None if it is another kind of file.
        images: the run's own, by the config of the test.
        source: the file, for the note.

    Returns:
        Numbers of those that were held out, None where that is unknown; and what to say of any other, None if there is
        nothing.
    """
    held_out = _before(saved)
    if held_out is None or saved is None or saved.data is None:
        return None, f"{source} does not say which images it was trained on; those judged here may be among them"
    before = saved.data
    if not _same(before, images):
        return None, (
            f"{source} was trained on another list of {before['length']:,} images than the {len(images):,} of this "
            "config; those judged here may be among them"
        )
    return held_out, None if len(held_out) else f"{source} was trained on all images, those judged here among them"


def _before(saved: Checkpoint | None) -> np.ndarray | None:
    """The images that a run held out; checkpoints of earlier versions do not say."""
    return None if saved is None or saved.data is None else saved.data["held_out"].numpy()


def _check_images(saved: Checkpoint, images: Any) -> None:
    """Reject other images than the run saw: its numbers would mean others."""
    before = saved.data
    if before is None or _same(before, images):
        return
    if before["length"] != len(images):
        raise CheckpointError(
            f"{saved.path}: the run's data set had {before['length']:,} images, it has {len(images):,} now; {NEW_RUN}"
        )
    raise CheckpointError(
        f"{saved.path}: the data set has as many images as the run's, {len(images):,}, but it is another list, in "
        f"names, order or labels; put it back, or {NEW_RUN}"
    )


def _same(before: Mapping[str, Any], images: Any) -> bool:
    """Whether images are those of a checkpoint, as far as either tells."""
    digest = getattr(images, "digest", None)
    known = before["digest"] is not None and digest is not None
    return before["length"] == len(images) and (not known or before["digest"] == digest)
