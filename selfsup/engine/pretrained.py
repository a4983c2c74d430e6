"""Weights of an earlier run in a new one: where a run starts from, and networks it has trained already."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from selfsup.engine.checkpoint import list_checkpoints, load_method, load_weights, read_weights
from selfsup.engine.shard import is_sharded
from selfsup.errors import CheckpointError
from selfsup.methods.base import Method


def checkpoint_file(path: str | Path) -> Path:
    """The checkpoint that a path means: a file, or the newest one of a work dir.

    Raises:
        CheckpointError: if there is none.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        newest = list_checkpoints(found)[-1:]
        if not newest:
            raise CheckpointError(f"{path}: no checkpoints in this folder; name a file, or the work dir of a run")
        return newest[0]
    if not found.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    return found


def start_from(path: str | Path, method: Method) -> str:
    """Begin a run with the weights of an earlier one, as ``--init-from`` does.

    A method with ``fresh_parts`` takes what it shares with the checkpoint of whichever method, and all of that must be
    there; any other method is filled as by :func:`~selfsup.engine.checkpoint.load_method`.

    Returns:
        A sentence that says what was taken, what was left, and what starts fresh.

    Raises:
        CheckpointError: if the file cannot be read or does not fit; the method is unchanged then.
    """
    if method.fresh_parts is None:
        load_method(path, method)
        return f"starting from the weights of {path}"
    found = read_weights(path, mapped=is_sharded(method))
    given = found["model"] if "model" in found else {f"backbone.{name}": tensor for name, tensor in found.items()}
    fresh = tuple(f"{part}." for part in method.fresh_parts)
    own = method.state_dict()
    kept = {name: tensor for name, tensor in own.items() if name.startswith(fresh)}
    taken = {name: given[name] for name in own if name in given and name not in kept}
    load_weights(method, {**kept, **taken}, source=str(path))
    left = [name for name in given if name not in taken]
    return f"starting from {path}: took {_parts(taken)}; left {_parts(left)}; fresh are {_parts(kept)}"


def load_trained(path: str, module: nn.Module) -> None:
    """Fill a method that another one holds, such as a teacher, from its own checkpoint.

    Args:
        path: a training checkpoint, or a work dir, whose newest one is taken.
        module: what is filled; every tensor must find its place.

    Raises:
        CheckpointError: if the file cannot be read, holds a backbone alone, or does not fit.
    """
    file = checkpoint_file(path)
    state = read_weights(file)
    if "model" not in state:
        raise CheckpointError(
            f"{file}: holds a backbone alone, and {type(module).__name__} needs its other parts too; name a training "
            "checkpoint"
        )
    load_weights(module, state["model"], source=str(file))


def _parts(names: Iterable[str]) -> str:
    """Tensor names, counted by the part of the method they belong to."""
    counts = Counter(name.partition(".")[0] for name in names)
    return (
        ", ".join(f"{part} ({count} tensor{'s' if count > 1 else ''})" for part, count in counts.items()) or "nothing"
    )
