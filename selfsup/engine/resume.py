"""Going on with a run: which checkpoint all processes take, whether it is this run's, and what has changed since."""

import hashlib
import secrets
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from selfsup.engine.files import FORMAT, checkpoint_path, list_checkpoints, step_of
from selfsup.engine.optim.groups import OPTIONS
from selfsup.engine.reading import read_checkpoint
from selfsup.engine.together import together
from selfsup.errors import CheckpointError
from selfsup.ops.dist import broadcast_object, gather_objects

KEYS = ("step", "model", "optim_wrapper", "schedules", "ranks", "images", "batch", "optimizer", "schedulers")
"""What a checkpoint holds besides its format."""

AFRESH = "use --init-from to start a new run from these weights"


@dataclass(frozen=True)
class SavedRun:
    """What a run has come to.

    Args:
        path: the checkpoint, for messages.
        state: what it holds.
    """

    path: Path
    state: dict[str, Any]


def new_run_id() -> str:
    """What tells a run from all others, over every resume; the same in every process."""
    return broadcast_object(secrets.token_hex(8))


def newest_for_all(work_dir: str | Path, *, mapped: bool) -> SavedRun | None:
    """The newest checkpoint that process 0 sees, as each process finds it; all of them call this together.

    Each process reads the file of that name on its own disk. All must have the same run id and the same contents, by
    the checksums that the file itself has of every tensor, so that checkpoints without a run id, as earlier versions
    wrote them, are compared too.

    Args:
        work_dir: of the run.
        mapped: see :func:`~selfsup.engine.reading.read_checkpoint`.

    Returns:
        The checkpoint; None if process 0 sees none.

    Raises:
        CheckpointError: if a process cannot read the file, it is of another format or no whole run's, or it is not the
            same everywhere.
    """
    found = list_checkpoints(work_dir)
    step = broadcast_object(step_of(found[-1]) if found else None)
    if step is None:
        return None
    path = checkpoint_path(work_dir, step)
    with together():
        _check_complete(path)
        state = read_checkpoint(path, mapped=mapped)
        _check_whole(state, path)
        contents = _checksums(path)
    _check_same_everywhere(path, state.get("run"), contents)
    return SavedRun(path, state)


def _check_complete(path: Path) -> None:
    """Refuse a file whose end is missing, as a disk or a copy that failed leaves it, with the way back."""
    if not path.is_file() or zipfile.is_zipfile(path):
        return
    older = [other for other in list_checkpoints(path.parent.parent) if other < path and zipfile.is_zipfile(other)]
    way = (
        f"the newest complete one before it is {older[-1]}: move the broken file away, and the same command with "
        "--resume goes on from there"
        if older
        else "there is no complete one before it: the same command without --resume puts it aside and starts anew"
    )
    raise CheckpointError(f"{path}: the file is truncated or no checkpoint at all, {path.stat().st_size} bytes; {way}")


def _check_whole(state: Mapping[str, Any], path: Path) -> None:
    """Refuse what is no checkpoint of a run."""
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {state.get('format')!r}, this version reads format {FORMAT}")
    missing = [key for key in KEYS if key not in state]
    if missing:
        raise CheckpointError(
            f"{path}: holds no {', '.join(missing)}, which a run of this version needs to go on; {AFRESH}"
        )


def _checksums(path: Path) -> str:
    """A digest of the table of contents, which has size and checksum of every tensor; the tensors are not read."""
    digest = hashlib.blake2b(digest_size=16)
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            digest.update(f"{part.filename} {part.file_size} {part.CRC}\n".encode())
    return digest.hexdigest()


def _check_same_everywhere(path: Path, run: str | None, contents: str) -> None:
    """Refuse to train weights on that differ between processes: each would be right about another model."""
    everywhere = gather_objects((str(path), run, contents))
    (first, its_run, _), *_ = everywhere
    for number, (other, other_run, other_contents) in enumerate(everywhere):
        if (other_run, other_contents) != everywhere[0][1:]:
            same = "" if other_run != its_run else ", with other contents"
            raise CheckpointError(
                f"process 0 reads {first} of run {its_run or 'unknown'}, process {number} reads {other} of run "
                f"{other_run or 'unknown'}{same}; all must go on from one: give them a work dir that they share, or "
                "copy the right file to each"
            )


def began_with(state: Mapping[str, Any]) -> str | None:
    """The file of weights that a checkpoint's run began with; None for random weights.

    Checkpoints of earlier versions do not say so themselves, but most have the config of then.
    """
    if "started_from" not in state:
        return state.get("config", {}).get("load_from")
    return state["started_from"] and state["started_from"]["file"]


def saved_precision(state: Mapping[str, Any]) -> Any:
    """The precision that a checkpoint's run computes in; None if it does not say.

    Checkpoints of earlier versions do not say so themselves, but their config does, with the default of then.
    """
    if "precision" in state:
        return state["precision"]
    return state["config"]["optim_wrapper"].get("precision", "fp32") if "config" in state else None


def with_precision(config: Mapping[str, Any], precision: Any) -> Mapping[str, Any]:
    """Let a config that leaves the precision to the device say which one it is."""
    wrapper = config["optim_wrapper"]
    if wrapper.get("precision", "auto") != "auto":
        return config
    return {**config, "optim_wrapper": {**wrapper, "precision": precision}}


def with_beginning(config: Mapping[str, Any], file: str | None, tell: Callable[[str], object]) -> Mapping[str, Any]:
    """Let a config say what its run began with, whatever the command that goes on with it names.

    Args:
        config: of the run as it goes on.
        file: see :func:`began_with`.
        tell: for a line that says that what the command names is not looked at.
    """
    named = config.get("load_from")
    if named is not None:
        began = "" if named == file else f", and began with {file or 'random weights'}"
        tell(f"{named} (load_from, --init-from) is not looked at: the run goes on from its own checkpoint{began}")
    return config if named == file else {**config, "load_from": file}


def check_fits(state: Mapping[str, Any], path: Path, run: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that this run cannot go on from.

    Args:
        state: what the file holds.
        path: the file, for the messages.
        run: what the config makes of ``images``, ``batch`` (per process, processes, accumulated), ``optimizer`` and
            ``schedulers``.

    Raises:
        CheckpointError: if the data set, the images per update, the optimiser or the schedules are others.
    """
    if state["images"] != run["images"]:
        raise CheckpointError(
            f"{path}: the run saw {state['images']} images, the data set has {run['images']} now; {AFRESH}"
        )
    for key, what in (("optimizer", "optimiser"), ("schedulers", "learning-rate schedules")):
        if state[key] != run[key]:
            raise CheckpointError(
                f"{path}: the run's {what} {_named(state[key])}, the config's {_named(run[key])}; the state of one is "
                f"nothing to the other: put the config back, or {AFRESH}"
            )
    _check_batch(state["batch"], run["batch"], path)


def check_length_of_run(step: int, total_steps: int, path: Path) -> None:
    """Refuse to go on with a run that is past its end: what it would write would bear the wrong step.

    Args:
        step: updates done so far.
        total_steps: updates of the whole run, by the config.
        path: the checkpoint, for the message.

    Raises:
        CheckpointError: if there are more of the first.
    """
    if step > total_steps:
        raise CheckpointError(
            f"{path}: the run has come to step {step}, and the config ends it at step {total_steps}; let it end later "
            f"(train_cfg), look at it with `selfsup test`, or {AFRESH}"
        )


def _check_batch(before: Sequence[int], now: Sequence[int], path: Path) -> None:
    """Steps, epochs and learning rates count updates: of other sizes they would mean something else from here on."""
    (each, processes, accumulate), wanted = now, _product(before)
    if _product(now) == wanted:
        return
    right = AFRESH
    if wanted % (each * processes) == 0:
        right = f"set optim_wrapper.accumulative_counts={wanted // (each * processes)}, or {right}"
    elif wanted % (processes * accumulate) == 0:
        right = f"set train_dataloader.batch_size={wanted // (processes * accumulate)}, or {right}"
    raise CheckpointError(
        f"{path}: the run's updates are of {wanted} images ({_times(before)}), they would be of {_product(now)} "
        f"({_times(now)}) now, and its steps and learning rates would mean something else; {right}"
    )


def put_back(optimizer: Optimizer, wanted: Sequence[Mapping[str, Any]], *, stateful: Collection[str]) -> list[str]:
    """Give parameter groups the config's options back after a state was loaded over them.

    Args:
        optimizer: holds the checkpoint's options.
        wanted: the config's, from :func:`options_of` before loading.
        stateful: options that MMEngine's schedules change step by step, from their last value: the checkpoint's stay.

    Returns:
        What differs between the two, ``name before -> now``, or that it stays.
    """
    changes = []
    for group, options in zip(optimizer.param_groups, wanted, strict=True):
        for name in [name for name in OPTIONS if name in group and name not in options]:
            changes.append(f"{name} {group.pop(name)} -> unset")
        for name, value in options.items():
            option = name.removeprefix("initial_")
            before = group.get(name)
            moves = f"initial_{name}" in options  # by a schedule, whose own value comes from its state
            if before != value and option in stateful:
                changes += [] if moves else [f"{option} stays {before} by the state of its schedule, not {value}"]
            elif before != value and not moves:
                changes.append(f"{option} {before} -> {value}")
            if option not in stateful:
                group[name] = value
    return list(dict.fromkeys(changes))


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The options of every parameter group."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def batch_change(before: Sequence[int], now: Sequence[int]) -> list[str]:
    """How an update of the same size is made up otherwise, if it is."""
    return [] if list(before) == list(now) else [f"batch {_times(before)} -> {_times(now)}"]


def seed_change(before: int | None, now: int) -> list[str]:
    """What another seed means from here on; checkpoints of earlier versions do not say theirs."""
    if before is None or before == now:
        return []
    return [f"seed {before} -> {now}: the order and the views of the images are others from here on"]


def _named(names: str | Sequence[str]) -> str:
    return f"is {names}" if isinstance(names, str) else f"are {', '.join(names) or 'none'}"


def _times(parts: Sequence[int]) -> str:
    return " x ".join(map(str, parts))


def _product(parts: Sequence[int]) -> int:
    each, processes, accumulate = parts
    return each * processes * accumulate
