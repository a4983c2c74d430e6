"""Weights of an earlier run in a new one: where a run starts from, and networks it has trained already."""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from selfsup.errors import CheckpointError
from selfsup.methods.base import Method
from selfsup.ops.dist import broadcast_object, is_main, together
from selfsup.ops.parts import class_name, is_sharded
from selfsup.registry import METHODS
from selfsup.weights.card import origin
from selfsup.weights.checkpoint import Checkpoint, checkpoint_file, list_checkpoints
from selfsup.weights.digest import digest_of
from selfsup.weights.load import fill_backbone, load_checkpoint
from selfsup.weights.load_report import LoadReport
from selfsup.weights.read import read_weights


def start_from(path: str | Path, method: Method) -> str:
    """Begin a run with the weights of an earlier one, as ``--init-from`` does.

    A file of a backbone alone fills ``method.backbone``, whatever network the method evaluates; a teacher that starts
    as a copy is copied again. Else a method with ``fresh_parts`` takes what it shares with the checkpoint of whichever
    method, and all of that must be there; any other method takes all of the checkpoint of one like it.

    The method is told which of its tensors were taken, see :meth:`~selfsup.methods.Method.after_init_from`.

    Returns:
        A sentence that says what was taken, what was left, what was copied from that, and what starts fresh.

    Raises:
        CheckpointError: if the file cannot be read or does not fit; the method is unchanged then.
    """
    state = read_weights(path, mapped=is_sharded(method))
    checkpoint = Checkpoint.of(state, path)
    if method.fresh_parts is None:
        if checkpoint is not None:
            load_checkpoint(method, checkpoint)
            return f"starting from the weights of {path}"
        report = _fill(method.backbone, state, path)
        left = "".join(f"; left {why} ({_tensors(len(names))})" for why, names in report.ignored.items())
        backbone = {name for name in method.state_dict() if name.startswith("backbone.")}
        said = f"took backbone ({_tensors(len(report.loaded))}){left}"
        return f"starting from {path}: {said}; {_others(method, backbone)}"
    if checkpoint is None:
        checkpoint = Checkpoint(model={f"backbone.{name}": value for name, value in state.items()}, path=Path(path))
    own, given = method.state_dict(), checkpoint.model
    fresh = tuple(f"{part}." for part in method.fresh_parts)
    taken = {name for name in own if name in given and not name.startswith(fresh)}
    kept = {name: tensor for name, tensor in own.items() if name.startswith(fresh)}
    load_checkpoint(method, checkpoint, {**kept, **{name: given[name] for name in own if name in taken}})
    took = [name for name in own if name in taken]
    rest = [name for name in given if name not in taken]
    return f"starting from {path}: took {_parts(took)}; left {_parts(rest)}; {_others(method, taken)}"


def _others(method: Method, taken: Collection[str]) -> str:
    """Tell the method what was taken, and say what has become of the other tensors."""
    copied = method.after_init_from(taken)
    known = {*taken, *copied}
    copies = f"copied from the student are {_parts(copied)}; " if copied else ""
    return f"{copies}fresh are {_parts(name for name in method.state_dict() if name not in known)}"


def load_method(path: str | Path, method: Method) -> int | None:
    """Load the model part of a training checkpoint into ``method``, as ``--init-from`` and testing do.

    A file that holds a backbone alone, such as an exported ``backbone.safetensors``, fills the backbone, and the
    network that the method evaluates where that is another one, such as a teacher's, which a run exports. The rest of
    the method keeps its random weights, which testing does not look at.

    Returns:
        Optimizer updates that the weights were trained for, if the file says so.

    Raises:
        CheckpointError: if the file cannot be read or does not fit.
    """
    state = read_weights(path, mapped=is_sharded(method))
    if (checkpoint := Checkpoint.of(state, path)) is not None:
        load_checkpoint(method, checkpoint)
        return checkpoint.step
    _fill(method.backbone, state, path)
    if method.representation is not method.backbone:
        _fill(method.representation, state, path)
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


def _fill(network: nn.Module, state: Mapping[str, Any], path: str | Path) -> LoadReport:
    """Copy the weights of a backbone alone into a method's."""
    return fill_backbone(network, state, Path(path), hint="`selfsup convert` makes a file of it that is taken here")


class TrainedWeights:
    """Fills methods that another one holds, such as a teacher, from the files that an earlier part of the run took.

    Args:
        before: what it took, call by call, as :func:`~selfsup.weights.card.origin` says it, and as ``taken`` collects.
    """

    def __init__(self, before: Sequence[Mapping[str, Any]] = ()) -> None:
        self.before = before
        self.taken: list[dict[str, Any]] = []

    def __call__(self, path: str, module: nn.Module) -> None:
        """Fill a method from a training checkpoint, or the newest one of a work dir; all processes call this together.

        Raises:
            CheckpointError: if the file cannot be read, holds a backbone alone, does not fit, or is not the one that
                the run began with.
        """
        with together():
            found = self._choose(path) if is_main() else {}
        found = broadcast_object(found)
        file = Path(found["file"])
        with together():
            if (checkpoint := Checkpoint.of(read_weights(file), file)) is None:
                raise CheckpointError.at(
                    str(file),
                    f"must be a training checkpoint, which has all parts of {class_name(module)}, and has no 'model'",
                )
        load_checkpoint(module, checkpoint)
        self.taken.append(found)

    def _choose(self, path: str) -> dict[str, Any]:
        """What is known of the file that a path means, or meant when the run began."""
        if len(self.taken) >= len(self.before):
            return origin(checkpoint_file(path).resolve())
        expected = self.before[len(self.taken)]
        for candidate in (expected["file"], path):  # moved, perhaps
            with contextlib.suppress(CheckpointError):
                file = checkpoint_file(candidate).resolve()
                if digest_of(file) == expected["sha256"]:
                    return {**expected, "file": str(file)}
        raise CheckpointError.at(
            path,
            f"must hold the weights that the run began with, {expected['file']} (SHA-256 "
            f"{expected['sha256'][:12]}...), which are not there any more",
            expected="restore that file, or start a new run with --init-from",
        )


def _parts(names: Iterable[str]) -> str:
    """Tensor names, counted by the part of the method they belong to."""
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{part} ({_tensors(count)})" for part, count in counts.items()) or "nothing"


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' if count > 1 else ''}"
