"""Resuming a run: which checkpoint all processes take, whether it is this run's, and what has changed since."""

import hashlib
import logging
import secrets
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from selfsup.config import Recipe, changes, upgraded
from selfsup.engine.optim.groups import OPTIONS
from selfsup.engine.save import Stateful, restore_rank_state
from selfsup.engine.schedules import Schedule
from selfsup.errors import CheckpointError
from selfsup.ops.dist import broadcast_object, gather_objects, world_size
from selfsup.ops.together import together
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, list_checkpoints, step_of
from selfsup.weights.load import load_checkpoint

NEEDED = ("step", "optim_wrapper", "schedules", "ranks", "images", "batch", "optimizer", "schedulers")
"""What a checkpoint must have besides a model for a run to resume from it."""
EQUAL = ("images", "optimizer", "schedulers")
"""What must be as it was."""
NEW_RUN = "use --init-from to start a new run from these weights"


def new_run_id() -> str:
    """What identifies a run, over every resume; the same in every process."""
    return broadcast_object(secrets.token_hex(8))


def newest_for_all(work_dir: str | Path, *, mapped: bool) -> Checkpoint | None:
    """The newest checkpoint that process 0 sees, as each process finds it; all of them call this together.

    Each process reads the file of that name on its own disk. All must have the same run id and the same contents, by
    the checksums that the file itself has of every tensor.

    Args:
        work_dir: of the run.
        mapped: see :func:`~selfsup.weights.read.read_weights`.

    Returns:
        The checkpoint; None if process 0 sees none.

    Raises:
        CheckpointError: if a process cannot read the file, a newer version wrote it, it is no whole run's, or it is
            not the same everywhere.
    """
    found = list_checkpoints(work_dir)
    step = broadcast_object(step_of(found[-1]) if found else None)
    if step is None:
        return None
    path = checkpoint_path(work_dir, step)
    with together():
        _check_complete(path)
        checkpoint = Checkpoint.read(path, mapped=mapped)
        if missing := [name for name in NEEDED if getattr(checkpoint, name) is None]:
            raise CheckpointError(f"{path}: must hold what a run resumes from, got no {', '.join(missing)}; {NEW_RUN}")
        contents = _checksums(path)
    _check_same_everywhere(path, checkpoint.run, contents)
    return checkpoint


def _check_complete(path: Path) -> None:
    """Reject a file whose end is missing, as a disk or a copy that failed leaves it, and say how to resume."""
    if not path.is_file() or zipfile.is_zipfile(path):
        return
    older = [other for other in list_checkpoints(path.parent.parent) if other < path and zipfile.is_zipfile(other)]
    remedy = (
        f"the newest complete one before it is {older[-1]}: move the broken file away, and the same command with "
        "--resume resumes from there"
        if older
        else "there is no complete one before it: the same command without --resume archives it and starts anew"
    )
    raise CheckpointError(
        f"{path}: the file is truncated or no checkpoint at all, {path.stat().st_size} bytes; {remedy}"
    )


def _checksums(path: Path) -> str:
    """A digest of the table of contents, which has size and checksum of every tensor; the tensors are not read."""
    digest = hashlib.blake2b(digest_size=16)
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            digest.update(f"{part.filename} {part.file_size} {part.CRC}\n".encode())
    return digest.hexdigest()


def _check_same_everywhere(path: Path, run: str | None, contents: str) -> None:
    """Reject weights that differ between processes: each would train another model."""
    everywhere = gather_objects((str(path), run, contents))
    (first, its_run, _), *_ = everywhere
    for number, (other, other_run, other_contents) in enumerate(everywhere):
        if (other_run, other_contents) != everywhere[0][1:]:
            same = "" if other_run != its_run else ", with other contents"
            raise CheckpointError(
                f"process 0 reads {first} of run {its_run or 'unknown'}, process {number} reads {other} of run "
                f"{other_run or 'unknown'}{same}; all must resume from the same one: give them a work dir that they "
                "share, or copy the right file to each"
            )


def restore_run(
    saved: Checkpoint,
    parts: Stateful,
    run: Mapping[str, Any],
    *,
    total_steps: int,
    log: logging.Logger,
) -> None:
    """Restore a run's state, on all processes or on none.

    Args:
        saved: the checkpoint.
        parts: receive the state.
        run: what the checkpoint is compared with, see :func:`~selfsup.engine.save.identity_of`, and ``config``.
        total_steps: updates of the whole run.
        log: for what has changed since, and what could not be restored.

    Raises:
        CheckpointError: if the checkpoint is not this run's, or is past its end.
    """
    with together():
        _check_fits(saved, run, total_steps)
    changed = restore_state(saved, parts, log)
    if saved.seed not in (None, run["seed"]):
        changed.append(f"seed {saved.seed} -> {run['seed']}: order and views of the images are others from here on")
    if list(saved.batch) != list(run["batch"]):
        changed.append(f"batch {_times(saved.batch)} -> {_times(run['batch'])}")
    what = f"; changed since: {', '.join(changed)}" if changed else ""
    log.info(f"resumed at step {saved.step} from {saved.path}{what}")
    if saved.config is not None:
        before = with_precision(upgraded(saved.config), saved.precision)
        if others := changes(before, with_precision(run["config"], run["precision"])):
            log.info(f"the config has changed since: {others}")


def with_precision(config: Mapping[str, Any], precision: str | None) -> Mapping[str, Any]:
    """A config that says which precision it is where it leaves that to the device."""
    wrapper = config["optim_wrapper"]
    if wrapper.get("precision", "auto") != "auto":
        return config
    return {**config, "optim_wrapper": {**wrapper, "precision": precision}}


def _check_fits(saved: Checkpoint, run: Mapping[str, Any], total_steps: int) -> None:
    """Reject a checkpoint that this run cannot resume from."""
    for name in EQUAL:
        before, now = getattr(saved, name), run[name]
        if before != now:
            raise CheckpointError(
                f"{saved.path}: {name}: must be {_shown(before)} as before, got {_shown(now)}; restore the config, or "
                f"{NEW_RUN}"
            )
    assert saved.step is not None
    if saved.step > total_steps:  # what it would write would bear the wrong step
        raise CheckpointError(
            f"{saved.path}: the run has come to step {saved.step}, and the config ends it at step {total_steps}; let "
            f"it end later (train_cfg), evaluate it with `selfsup test`, or {NEW_RUN}"
        )
    _check_batch(saved.batch, run["batch"], saved.path)


def _check_batch(before: Sequence[int], now: Sequence[int], path: Path | None) -> None:
    """Steps, epochs and learning rates count updates: of other sizes they would mean something else from here on."""
    (each, processes, accumulate), wanted = now, prod(before)
    if prod(now) == wanted:
        return
    right = NEW_RUN
    if wanted % (each * processes) == 0:
        right = f"set optim_wrapper.accumulative_counts={wanted // (each * processes)}, or {right}"
    elif wanted % (processes * accumulate) == 0:
        right = f"set train_dataloader.batch_size={wanted // (processes * accumulate)}, or {right}"
    raise CheckpointError(
        f"{path}: images per update must be {wanted} ({_times(before)}) as before, got {prod(now)} ({_times(now)}), "
        f"which would change what steps and learning rates mean; {right}"
    )


def restore_state(saved: Checkpoint, parts: Stateful, log: logging.Logger) -> list[str]:
    """The inverse of :func:`~selfsup.engine.save.collect`; the config's options of the optimizer hold from here on.

    Args:
        saved: a checkpoint that fits.
        parts: what receives it.
        log: warned if the run had another number of processes.

    Returns:
        What changed since it was saved.

    Raises:
        CheckpointError: if the weights do not fit the method, its backbone computes something else, other parameters
            were trained, or others were in each group of a schedule that keeps values for each.
    """
    optimizer = parts.optim_wrapper.optimizer
    mmengines = [schedule for schedule in parts.schedules if not isinstance(schedule, Schedule)]
    if mmengines and not parts.optim_wrapper.has_groups_of(saved.optim_wrapper):
        raise CheckpointError(
            f"{saved.path}: optim_wrapper.param_groups sorts the parameters otherwise than the run did, and "
            f"{type(mmengines[0]).__name__} has a value for each of its groups; restore them, or {NEW_RUN}"
        )
    load_checkpoint(parts.method, saved)
    wanted = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    parts.optim_wrapper.load_state_dict(saved.optim_wrapper)
    stateful = {schedule.param_name for schedule in mmengines}
    stateful |= {"betas"} if "momentum" in stateful else set()  # where Adam keeps what MMEngine calls momentum
    changed = restore_options(optimizer, wanted, stateful=stateful)
    for schedule, state in zip(parts.schedules, saved.schedules, strict=True):
        schedule.load_state_dict(state)
    if not restore_rank_state(saved.ranks, parts.method, parts.device):
        log.warning(
            f"resumed on {world_size()} processes, saved on {len(saved.ranks)}: random states start anew, and queues "
            "are those of process 0"
        )
    return changed


def restore_options(
    optimizer: Optimizer, wanted: Sequence[Mapping[str, Any]], *, stateful: Collection[str]
) -> list[str]:
    """Restore the config's options of parameter groups after a state was loaded over them.

    Args:
        optimizer: holds the checkpoint's options.
        wanted: the config's, of every group.
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


def with_beginning(recipe: Recipe, saved: Checkpoint, log: logging.Logger) -> Recipe:
    """Let a recipe say what its run began with, whatever the command that resumes it names.

    Args:
        recipe: of the run as it is resumed.
        saved: its checkpoint.
        log: for a line that what the command names is not used.
    """
    file = saved.started_from["file"] if saved.started_from else None
    named = recipe.load_from
    if named is not None:
        began = "" if named == file else f", and began with {file or 'random weights'}"
        log.info(f"{named} (load_from, --init-from) is not used: the run resumes from its own checkpoint{began}")
    return recipe if named == file else replace(recipe, load_from=file)


def _shown(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _times(parts: Sequence[int]) -> str:
    return " x ".join(map(str, parts))
