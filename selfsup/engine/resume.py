"""Resuming a run: which checkpoint all processes take, whether it is this run's, and what has changed since."""

import hashlib
import logging
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from selfsup.config import Recipe, changes, upgraded
from selfsup.engine.optim.groups import OPTIONS
from selfsup.engine.save import facts_of, restore_rank_state
from selfsup.engine.schedules import Schedule
from selfsup.errors import CheckpointError
from selfsup.ops.dist import broadcast_object, gather_objects, rank, together, world_size
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.digest import digest_of
from selfsup.weights.load import load_checkpoint
from selfsup.weights.one_file import is_folder

NEW_RUN = "use --init-from to start a new run from these weights"


def newest_for_all(work_dir: str | Path, *, mapped: bool, warn: Callable[[str], object]) -> Checkpoint | None:
    """The newest whole checkpoint that process 0 sees, as each process finds it; all of them call this together.

    Args:
        work_dir: of the run.
        mapped: leave tensors where they are until they are looked at.
        warn: is told which ones are damaged and were passed over.

    Returns:
        The checkpoint; None if process 0 sees none.

    Raises:
        CheckpointError: if every one is damaged, a process cannot read the file, a newer version wrote it, it is no
            whole run's, or processes with disks of their own find other contents under its name.
    """
    names = broadcast_object([path.name for path in list_checkpoints(work_dir)])
    faults: list[str] = []
    for name in reversed(names):
        path = Path(work_dir, "checkpoints", name)
        found = [fault for fault in gather_objects(_damage(path)) if fault is not None]
        if not found:
            return _read_by_all(path, mapped=mapped)
        faults.append(f"{path}: {found[0]}")
        warn(f"{faults[-1]}; the one before it is used, if there is one")
    if faults:
        raise CheckpointError(f"no checkpoint is whole: {'; '.join(faults)}; move them away to start anew")
    return None


def _damage(path: Path) -> str | None:
    """What a copy or a disk that failed has left of a checkpoint; of folders each process looks at its share."""
    if path.is_file() and not zipfile.is_zipfile(path):  # its end is missing
        return f"the file is truncated or no checkpoint at all, {path.stat().st_size} bytes"
    if not is_folder(path):
        return None
    from selfsup.weights.sharded import damage

    return damage(path, share=(rank(), world_size()))


def _read_by_all(path: Path, *, mapped: bool) -> Checkpoint:
    with together():
        if is_folder(path):
            from selfsup.weights.sharded import read_folder

            checkpoint = Checkpoint.of(read_folder(path, mapped=mapped, checked=True), path)
            assert checkpoint is not None
        else:
            checkpoint = Checkpoint.read(path, mapped=mapped)
        contents = _digest(path)
    everywhere = gather_objects((str(path), contents))
    for number, (other, other_contents) in enumerate(everywhere):
        if other_contents != everywhere[0][1]:
            raise CheckpointError.at(
                "--resume",
                f"process 0 reads {everywhere[0][0]}, process {number} reads {other}, with other contents",
                expected="all must resume from the same one: give them a work dir that they share, or copy the right "
                "file to each",
            )
    return checkpoint


def _digest(path: Path) -> str:
    """Of the table of contents, which has size and checksum of every tensor; the tensors are not read."""
    if is_folder(path):
        return digest_of(path)
    digest = hashlib.blake2b(digest_size=16)
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            digest.update(f"{part.filename} {part.file_size} {part.CRC}\n".encode())
    return digest.hexdigest()


def restore_run(runner: Any, saved: Checkpoint) -> None:
    """Restore a run's state, on all processes or on none: the inverse of :func:`~selfsup.engine.save.collect`.

    The config's options of the optimizer hold from here on. What has changed since, and what could not be restored, is
    logged.

    Raises:
        CheckpointError: if the checkpoint is not this run's, is past its end, or does not fit the method or the
            optimizer.
    """
    now, log, wrapper = facts_of(runner), runner.logger, runner.optim_wrapper
    with together():
        _check_fits(saved, now, runner.total_steps)
    mmengines = [schedule for schedule in runner.param_schedulers if not isinstance(schedule, Schedule)]
    if mmengines and not wrapper.has_groups_of(saved.optim_wrapper):
        raise CheckpointError.at(
            f"{saved.path}: optim_wrapper.param_groups",
            "sorts the parameters otherwise than the run did, and "
            f"{type(mmengines[0]).__name__} has a value for each of its groups",
            expected=f"restore them, or {NEW_RUN}",
        )
    load_checkpoint(runner.method, saved)
    wanted = [dict(group) for group in wrapper.optimizer.param_groups]
    wrapper.load_state_dict(saved.optim_wrapper)
    for line in _restore_options(wrapper.optimizer, wanted, stateful={each.param_name for each in mmengines}):
        log.warning(line)
    for schedule, state in zip(runner.param_schedulers, saved.schedules, strict=True):
        schedule.load_state_dict(state)
    if not restore_rank_state(saved.ranks, runner.method, runner.device):
        log.warning(
            f"resumed on {world_size()} processes, saved on {len(saved.ranks)}: random states start anew, and queues "
            "are those of process 0"
        )
    log.info(f"resumed at step {saved.step} from {saved.path}")
    if saved.config is not None:
        before = _with_precision(upgraded(saved.config), saved.precision)
        if changed := changes(before, _with_precision(now["config"], now["precision"])):
            log.info(f"the config has changed since: {changed}")


def _with_precision(config: Mapping[str, Any], precision: str | None) -> Mapping[str, Any]:
    """A config that says which precision it is where it leaves that to the device."""
    wrapper = dict(config["optim_wrapper"])
    if wrapper.get("precision", "auto") == "auto":
        wrapper["precision"] = precision
    return {**config, "optim_wrapper": wrapper}


def _check_fits(saved: Checkpoint, now: Mapping[str, Any], total_steps: int) -> None:
    """Reject a checkpoint that a run with these facts cannot resume from."""
    for name in ("images", "optimizer", "schedulers"):
        if (before := getattr(saved, name)) != now[name]:
            raise CheckpointError.at(
                f"{saved.path}: {name}",
                f"must be {before} as before",
                got=now[name],
                expected=f"restore the config, or {NEW_RUN}",
            )
    assert saved.step is not None
    if saved.step > total_steps:  # what it would write would bear the wrong step
        raise CheckpointError.at(
            f"{saved.path}: train_cfg",
            f"the run has come to step {saved.step}, and the config ends it at step {total_steps}",
            expected=f"let it end later (train_cfg), evaluate it with `selfsup test`, or {NEW_RUN}",
        )
    if prod(saved.batch) != prod(now["batch"]):
        raise CheckpointError.at(
            f"{saved.path}: images per update",
            f"must be {prod(saved.batch)} ({_times(saved.batch)}) as before, got {prod(now['batch'])} "
            f"({_times(now['batch'])}), which would change what steps and learning rates mean",
            expected="change train_dataloader.batch_size or optim_wrapper.accumulative_counts, which is multiplied "
            f"with it, or {NEW_RUN}",
        )


def _restore_options(
    optimizer: Optimizer, wanted: Sequence[Mapping[str, Any]], *, stateful: Collection[str]
) -> list[str]:
    """Restore the config's options of parameter groups after the checkpoint's were loaded over them.

    MMEngine's schedules change the stateful ones step by step, from their last value: the checkpoint's stay.

    Returns:
        Which of them stay that are others in the config.
    """
    kept = {*stateful, *(["betas"] if "momentum" in stateful else [])}  # where Adam keeps what MMEngine calls momentum
    stays = []
    for group, options in zip(optimizer.param_groups, wanted, strict=True):
        for name in OPTIONS:
            if name in group and name not in options:
                del group[name]
        for name, value in options.items():
            option = name.removeprefix("initial_")
            if option not in kept:
                group[name] = value
            elif name.startswith("initial_") and group[name] != value:
                stays.append(f"{option} stays {group[name]} by the state of its schedule, not {value}")
    return list(dict.fromkeys(stays))


def with_beginning(recipe: Recipe, saved: Checkpoint, log: logging.Logger) -> Recipe:
    """The recipe as it is resumed, which says what its run began with, whatever the command that resumes it names."""
    file, named = saved.started_from["file"] if saved.started_from else None, recipe.load_from
    if named is not None:
        began = "" if named == file else f", and began with {file or 'random weights'}"
        log.info(f"{named} (load_from, --init-from) is not used: the run resumes from its own checkpoint{began}")
    return replace(recipe, load_from=file)


def _times(parts: Sequence[int]) -> str:
    return " x ".join(map(str, parts))
