"""A run's state as one dict, and back: what a checkpoint holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from selfsup.config import batch_parts, changes
from selfsup.engine import state as rank_state
from selfsup.engine.checkpoint import load_run
from selfsup.engine.files import FORMAT
from selfsup.engine.resume import (
    AFRESH,
    SavedRun,
    batch_change,
    check_fits,
    check_length_of_run,
    options_of,
    put_back,
    saved_precision,
    seed_change,
    with_precision,
)
from selfsup.engine.schedule import Schedule
from selfsup.engine.shard import class_name, whole_state
from selfsup.engine.together import together
from selfsup.errors import CheckpointError
from selfsup.methods.base import Method
from selfsup.ops.dist import is_main, world_size


@dataclass(frozen=True)
class Stateful:
    """The parts of a run that change as it goes.

    Args:
        method: what is trained, without what wraps it.
        optim_wrapper: its optimiser.
        schedules: of the optimiser's options.
        device: where the run trains.
    """

    method: Method
    optim_wrapper: Any
    schedules: list[_ParamScheduler]
    device: torch.device


def identity_of(parts: Stateful, config: Mapping[str, Any], *, num_images: int) -> dict[str, Any]:
    """What must be the same for a checkpoint to be this run's."""
    return {
        "images": num_images,
        "seed": config.get("seed", 0),
        "batch": list(batch_parts(config, world_size())),
        "optimizer": type(parts.optim_wrapper.optimizer).__name__,
        "schedulers": [type(schedule).__name__ for schedule in parts.schedules],
        "precision": getattr(parts.optim_wrapper, "precision", None),
    }


def collect(parts: Stateful, *, step: int) -> dict[str, Any] | None:
    """Everything the parts need to go on after ``step`` updates, on the main process; called by every one."""
    ranks = rank_state.gather_rank_states(parts.method, parts.device)
    weights = whole_state(dict(parts.method.state_dict()))
    optimizer = whole_state(parts.optim_wrapper.state_dict())
    if not is_main():
        return None
    return {
        "format": FORMAT,
        "step": step,
        "method": class_name(parts.method),
        "model": weights,
        "optim_wrapper": optimizer,
        "schedules": [_values_of(schedule) for schedule in parts.schedules],
        "ranks": ranks,
    }


def _values_of(schedule: _ParamScheduler) -> dict[str, Any]:
    """A schedule's state without functions: OneCycleLR keeps one, and a file that holds code is never loaded."""
    return {name: value for name, value in schedule.state_dict().items() if not callable(value)}


def go_on(
    saved: SavedRun,
    parts: Stateful,
    identity: Mapping[str, Any],
    *,
    total_steps: int,
    tell: Callable[[str], object],
    warn: Callable[[str], object],
) -> None:
    """Give a run its state back, on all processes or on none.

    Args:
        saved: what it has come to.
        parts: receive the state.
        identity: of the run, see :func:`identity_of`, and its ``config``.
        total_steps: updates of the whole run.
        tell: for what has changed since.
        warn: for what no longer has its state.

    Raises:
        CheckpointError: if the checkpoint is not this run's, or is past its end.
    """
    path, state = saved.path, saved.state
    with together():
        check_fits(state, path, identity)
        check_length_of_run(state["step"], total_steps, path)
    changed = give_back(state, parts, source=str(path), warn=warn)
    changed += seed_change(state.get("seed"), identity["seed"])
    changed += batch_change(state["batch"], identity["batch"])
    what = f"; changed since: {', '.join(changed)}" if changed else ""
    tell(f"resumed at step {state['step']} from {path}{what}")
    if "config" in state:
        before = with_precision(state["config"], saved_precision(state))
        if others := changes(before, with_precision(identity["config"], identity["precision"])):
            tell(f"the config has changed since: {others}")


def give_back(state: Mapping[str, Any], parts: Stateful, *, source: str, warn: Callable[[str], object]) -> list[str]:
    """The inverse of :func:`collect`; the config's options of the optimiser hold from here on.

    Args:
        state: of a checkpoint that fits.
        parts: what receives it.
        source: where it comes from, for messages.
        warn: is told if the run had another number of processes.

    Returns:
        What changed since it was saved.

    Raises:
        CheckpointError: if the weights do not fit the method, its backbone computes something else, other parameters
            were trained, or others were in each group of a schedule that keeps values for each.
    """
    optimizer = parts.optim_wrapper.optimizer
    mmengines = [schedule for schedule in parts.schedules if not isinstance(schedule, Schedule)]
    if mmengines and not parts.optim_wrapper.has_groups_of(state["optim_wrapper"]):
        raise CheckpointError(
            f"{source}: optim_wrapper.param_groups sorts the parameters otherwise than the run did, and "
            f"{type(mmengines[0]).__name__} goes on from a value of each of its groups; put them back, or {AFRESH}"
        )
    load_run(parts.method, state["model"], state, source)
    wanted = options_of(optimizer)
    parts.optim_wrapper.load_state_dict(state["optim_wrapper"])
    stateful = {schedule.param_name for schedule in mmengines}
    stateful |= {"betas"} if "momentum" in stateful else set()  # where Adam keeps what MMEngine calls momentum
    changed = put_back(optimizer, wanted, stateful=stateful)
    for schedule, saved in zip(parts.schedules, state["schedules"], strict=True):
        schedule.load_state_dict(saved)
    if not rank_state.restore_rank_state(state["ranks"], parts.method, parts.device):
        processes = "1 process" if world_size() == 1 else f"{world_size()} processes"
        warn(
            f"resumed on {processes}, saved on {len(state['ranks'])}: random states start anew, "
            "and queues are those of process 0"
        )
    return changed
