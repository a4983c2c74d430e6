"""A config's schedules, built, and compared with each other and with the run they are for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.optim.scheduler.param_scheduler import INF, ConstantParamScheduler, OneCycleParamScheduler
from torch.optim import Optimizer

from selfsup.config.recipe import Recipe
from selfsup.config.signatures import signature_of
from selfsup.errors import ConfigError, Problem, nearest, under
from selfsup.registry import PARAM_SCHEDULERS


def build_schedule(schedule: Mapping[str, Any], optimizer: Any, *, steps: int, steps_per_epoch: int) -> Any:
    """One schedule; ours, and those of plugins that ask for it, are told of the run's length.

    Args:
        schedule: its dict.
        optimizer: whose options it moves.
        steps: optimizer updates of the whole run.
        steps_per_epoch: optimizer updates in one pass over the data.

    Raises:
        ConfigError: if it rejects its arguments, or moves an option that the optimizer does not have.
    """
    if schedule.get("last_step", -1) != -1:
        raise ConfigError.at("last_step", "must be left out", expected="--resume continues from a checkpoint")
    option = schedule.get("param_name")
    if option is not None and option not in optimizer.defaults:
        kind = type(optimizer).__name__
        near = nearest(str(option), optimizer.defaults)
        raise ConfigError.at("param_name", f"{kind} has no such option", got=option, expected=near)
    component = PARAM_SCHEDULERS.find(schedule["type"])
    takes = signature_of(component)
    length = (
        {} if component.__module__.startswith("mmengine.") else dict(total_steps=steps, steps_per_epoch=steps_per_epoch)
    )
    context = {name: number for name, number in length.items() if takes.open or name in takes.arguments}
    return PARAM_SCHEDULERS.build(dict(schedule), optimizer=optimizer, **context)


def build_schedules(recipe: Recipe, optimizer: Any, *, steps: int, steps_per_epoch: int) -> list[Any]:
    """What changes the optimizer's options from step to step.

    Args:
        recipe: of the run.
        optimizer: whose options.
        steps: optimizer updates of the whole run.
        steps_per_epoch: optimizer updates in one pass over the data.

    Raises:
        ConfigError: if a schedule rejects its arguments, or does not go with the others or with the run.
    """
    built = {}
    for path, schedule in recipe.schedules.items():
        with under(path):
            built[path] = build_schedule(schedule, optimizer, steps=steps, steps_per_epoch=steps_per_epoch)
    if problems := conflicts(recipe.optim_wrapper, built, steps=steps, epochs=steps // steps_per_epoch):
        raise ConfigError(*problems)
    return list(built.values())


def conflicts(
    optim_wrapper: Mapping[str, Any], built: Mapping[str, Any], *, steps: int | None, epochs: int | None
) -> list[Problem]:
    """What no schedule can see by itself: others that overwrite it, groups to be left alone, the length of the run.

    Args:
        optim_wrapper: of the recipe.
        built: the schedules by their paths, in their order.
        steps: optimizer updates of the whole run, None if unknown.
        epochs: passes over the data that are finished in it, None if unknown.
    """
    problems = []
    groups: Sequence[Mapping[str, Any]] = optim_wrapper.get("param_groups") or ()
    first_of: dict[str, str] = {}
    for path, schedule in built.items():
        name, option = type(schedule).__name__, schedule.param_name
        first = first_of.setdefault(option, path)
        if first != path and (_from_step_alone(schedule) or _from_step_alone(built[first])):
            both = f"{name} and {first} ({type(built[first]).__name__})"
            message = f"{both} both set the {option} of every step, and one would overwrite the other"
            problems.append(Problem(path, message, expected="keep one of them"))
        if _from_step_alone(schedule):
            continue
        for number, group in enumerate(groups):
            lifted = group.get(option) == 0 and getattr(schedule, "eta_min", 0)
            if group.get(f"fixed_{option}") or lifted:
                fixed = f"{option}=0" if lifted else f"fixed_{option}"
                ours = "WarmupCosine" if option == "lr" else "Cosine"
                where = f"optim_wrapper.param_groups.{number} with {fixed}"
                message = f"{name} moves the {option} of every group, also that of {where}"
                problems.append(Problem(path, message, expected=f"use one of ours, such as {ours}"))
        length = getattr(schedule, "T_max", None) or getattr(schedule, "total_iters", 0)
        if not isinstance(schedule, ConstantParamScheduler) and length >= INF - schedule.begin - 1:
            given = "end or T_max" if hasattr(schedule, "T_max") else "end"
            right = f"without it {name} takes a billion steps and hardly moves"
            problems.append(Problem(path, f"{given} is missing", expected=right))
        if isinstance(schedule, OneCycleParamScheduler):
            found = _cycle(schedule, epochs if schedule.by_epoch else steps)
            problems += [problem.under(path) for problem in found]
    return problems


def scheduled_options(schedules: Iterable[Any], optimizer: Optimizer) -> dict[str, float]:
    """What the optimizer's next update uses: each scheduled option, and ``lr``, in the group where it is highest.

    Groups that keep their own (``fixed_lr``, ...) are left out, unless all do.
    """
    options = {}
    for name in dict.fromkeys(["lr", *(schedule.param_name for schedule in schedules)]):
        groups = [group for group in optimizer.param_groups if name in group]
        moved = [group[name] for group in groups if not group.get(f"fixed_{name}")] or [group[name] for group in groups]
        if moved:
            options[name] = max(moved)
    return options


def _from_step_alone(schedule: Any) -> bool:
    """Whether a schedule sets its option whatever it was, rather than changing what it finds."""
    return bool(getattr(schedule, "from_step_alone", False))


def _cycle(schedule: Any, length: int | None) -> list[Problem]:
    """What is wrong with the one cycle of a schedule, in a run that moves it so many times."""
    name = type(schedule).__name__
    if not schedule.eta_max:
        return [Problem("eta_max", "is missing", expected=f"{name} needs the highest learning rate of its cycle")]
    if schedule.total_steps >= INF - schedule.begin:
        return [Problem("total_steps", "is missing", expected=f"{name} needs the length of its cycle")]
    moves = 0 if length is None else min(length, schedule.end - 1) - schedule.begin
    if moves > schedule.total_steps:
        unit = "epochs" if schedule.by_epoch else "steps"
        return [Problem("total_steps", f"must be at least {moves}, the {unit} of the run", schedule.total_steps)]
    return []
