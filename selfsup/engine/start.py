"""Weights of an earlier run in a new one: where a run starts from, and networks it has trained already."""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from selfsup.errors import CheckpointError
from selfsup.methods.base import Method
from selfsup.ops.dist import broadcast_object, is_main
from selfsup.ops.parts import class_name, is_sharded
from selfsup.ops.together import together
from selfsup.registry import METHODS
from selfsup.weights.card import origin
from selfsup.weights.checkpoint import Checkpoint, checkpoint_file, list_checkpoints
from selfsup.weights.digest import digest_of
from selfsup.weights.load import fill_backbone, load_checkpoint
from selfsup.weights.load_report import LoadReport
from selfsup.weights.read import read_weights


def start_from(path: str | Path, method: Method) -> str:
    """Begin a run with the weights of an earlier one, as ``--init-from`` does.

    A method with ``fresh_parts`` takes what it shares with the checkpoint of whichever method, and all of that must be
    there; any other method is filled as by :func:`load_method`.

    The method is told which of its tensors were taken, see :meth:`~selfsup.methods.Method.after_init_from`.

    Returns:
        A sentence that says what was taken, what was left, what was copied from that, and what starts fresh.

    Raises:
        CheckpointError: if the file cannot be read or does not fit; the method is unchanged then.
    """
    state = read_weights(path, mapped=is_sharded(method))
    checkpoint = Checkpoint.of(state, path)
    if method.fresh_parts is None and checkpoint is not None:
        load_checkpoint(method, checkpoint)
        return f"starting from the weights of {path}"
    if method.fresh_parts is None:
        report = _fill(method, state, path)
        backbone = {name for name in method.state_dict() if name.startswith("backbone.")}
        left = "".join(f"; left {why} ({_tensors(len(names))})" for why, names in report.ignored.items())
        took = f"took backbone ({_tensors(len(report.loaded))}){left}"
        return f"starting from {path}: {took}; {_rest(method, backbone)}"
    if checkpoint is None:
        given = {f"backbone.{name}": tensor for name, tensor in state.items()}
        checkpoint = Checkpoint(model=given, path=Path(path))
    fresh = tuple(f"{part}." for part in method.fresh_parts)
    own = method.state_dict()
    kept = {name: tensor for name, tensor in own.items() if name.startswith(fresh)}
    taken = {name: checkpoint.model[name] for name in own if name in checkpoint.model and name not in kept}
    load_checkpoint(method, checkpoint, {**kept, **taken})
    rest = [name for name in checkpoint.model if name not in taken]
    return f"starting from {path}: took {_parts(taken)}; left {_parts(rest)}; {_rest(method, taken)}"


def _rest(method: Method, taken: Collection[str]) -> str:
    """Tell the method what was taken, and say what has become of the other tensors."""
    copied = method.after_init_from(taken)
    known = {*taken, *copied}
    copies = f"copied from the student are {_parts(copied)}; " if copied else ""
    return f"{copies}fresh are {_parts(name for name in method.state_dict() if name not in known)}"


def load_method(path: str | Path, method: Method) -> int | None:
    """Load the model part of a training checkpoint into ``method``, as ``--init-from`` and testing do.

    A file that holds a backbone alone, such as an exported ``backbone.safetensors``, fills the backbone; the rest of
    the method keeps its random weights, which testing does not look at.

    Returns:
        Optimizer updates that the weights were trained for, if the file says so.

    Raises:
        CheckpointError: if the file cannot be read or does not fit, or by its card or the config in it belongs to
            another network.
    """
    state = read_weights(path, mapped=is_sharded(method))
    if (checkpoint := Checkpoint.of(state, path)) is not None:
        load_checkpoint(method, checkpoint)
        return checkpoint.step
    _fill(method, state, path)
    return None


def trained_method(work_dir: str | Path) -> Method | None:
    """The whole method of a run in eval mode, on the CPU: its backbone alone is what a run exports.

    Returns:
        None where the path is no work dir, or the run has no checkpoint that says how to build its method.

    Raises:
        CheckpointError: if the newest checkpoint cannot be read or does not fit.
    """
    newest = list_checkpoints(work_dir)[-1:] if Path(work_dir).is_dir() else []
    saved = Checkpoint.read(newest[0]) if newest else None
    if saved is None or saved.config is None:
        return None
    method: Method = METHODS.build(saved.config["model"])
    load_checkpoint(method, saved)
    return method.eval()


def _fill(method: Method, state: Mapping[str, Any], path: str | Path) -> LoadReport:
    """Copy the weights of a backbone alone into a method's."""
    try:
        return fill_backbone(method.backbone, state, Path(path))
    except CheckpointError as error:
        foreign = any(word in str(error) for word in ("source=", "prefix=", "key="))
        remedy = "; `selfsup convert` makes a file of it that is taken here" if foreign else ""
        raise CheckpointError(f"{error}{remedy}") from None


class TrainedWeights:
    """Fills methods that another one holds, such as a teacher, from their own checkpoints, and remembers from which.

    A run that is resumed must be taught by the same weights. What was taken, in the order of the calls, is ``taken``:
    of each file what :func:`~selfsup.weights.card.origin` says, which the run keeps in its checkpoints and its card.

    Args:
        before: what an earlier part of the run took, call by call.
    """

    def __init__(self, before: Sequence[Mapping[str, Any]] = ()) -> None:
        self.before = before
        self.taken: list[dict[str, Any]] = []

    def __call__(self, path: str, module: nn.Module) -> None:
        """Fill a method; all processes call this together.

        Args:
            path: a training checkpoint, or a work dir, whose newest one is taken.
            module: what is filled; every tensor must find its place.

        Raises:
            CheckpointError: if the file cannot be read, holds a backbone alone, does not fit, or is not the one that
                the run began with.
        """
        found: dict[str, Any] = {}
        with together():
            if is_main():
                found = self._choose(path)
        found = broadcast_object(found)
        file = Path(found["file"])
        with together():
            checkpoint = Checkpoint.of(read_weights(file), file)
            if checkpoint is None:
                raise CheckpointError(
                    f"{file}: must be a training checkpoint, which has all parts of {class_name(module)}, got a file "
                    "without 'model'"
                )
        load_checkpoint(module, checkpoint)
        self.taken.append(found)

    def _choose(self, path: str) -> dict[str, Any]:
        """What is known of the file that a path means, or meant when the run began."""
        if len(self.taken) >= len(self.before):
            return origin(checkpoint_file(path).resolve())
        expected = self.before[len(self.taken)]
        if (file := Path(expected["file"])).is_file() and digest_of(file) == expected["sha256"]:
            return dict(expected)
        with contextlib.suppress(CheckpointError):  # moved, perhaps
            file = checkpoint_file(path).resolve()
            if digest_of(file) == expected["sha256"]:
                return {**expected, "file": str(file)}
        raise CheckpointError(
            f"{path}: must hold the weights that the run began with, {expected['file']} (SHA-256 "
            f"{expected['sha256'][:12]}...), which are not there any more; restore that file, or start a new run with "
            "--init-from"
        )


def _parts(names: Iterable[str]) -> str:
    """Tensor names, counted by the part of the method they belong to."""
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{part} ({_tensors(count)})" for part, count in counts.items()) or "nothing"


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' if count > 1 else ''}"
