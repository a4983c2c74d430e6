"""Going on with a run: which checkpoint all processes take, whether it is this run's, and what has changed since."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from selfsup.engine.checkpoint import FORMAT, checkpoint_path, list_checkpoints, step_of
from selfsup.errors import CheckpointError
from selfsup.ops.dist import broadcast_object

KEYS = ("step", "model", "optim_wrapper", "schedules", "ranks", "images", "batch", "optimizer", "schedulers")
"""What a checkpoint holds besides its format."""

AFRESH = "use --init-from to start a new run from these weights"


def newest_for_all(work_dir: str | Path) -> Path | None:
    """The newest checkpoint that process 0 sees; None if it sees none. The same answer in every process."""
    found = list_checkpoints(work_dir)
    step = broadcast_object(step_of(found[-1]) if found else None)
    return None if step is None else checkpoint_path(work_dir, step)


def check_fits(state: Mapping[str, Any], path: Path, run: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that this run cannot go on from.

    Args:
        state: what the file holds.
        path: the file, for the messages.
        run: what the config makes of ``images``, ``batch`` (per process, processes, accumulated), ``optimizer`` and
            ``schedulers``.

    Raises:
        CheckpointError: if it is of another format or no whole run's, or the data set, the images per update, the
            optimiser or the schedules are others.
    """
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {state.get('format')!r}, this version reads format {FORMAT}")
    missing = [key for key in KEYS if key not in state]
    if missing:
        raise CheckpointError(
            f"{path}: holds no {', '.join(missing)}, which a run of this version needs to go on; {AFRESH}"
        )
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
