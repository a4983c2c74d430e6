"""A config's schedules, built, and held against each other and against the run they are for."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.optim.scheduler.param_scheduler import INF, ConstantParamScheduler, OneCycleParamScheduler

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
        raise ConfigError.at("last_step", "must be left out", expected="--resume goes on from a checkpoint")
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
    """What each schedule for itself cannot see: others that overwrite it, fixed rates, and the length of the run.

    Args:
        optim_wrapper: of the recipe.
        built: the schedules by their paths, in their order.
        steps: optimizer updates of the whole run, None if unknown.
        epochs: passes over the data that are finished in it, None if unknown.
    """
    problems = []
    groups: Sequence[Mapping[str, Any]] = optim_wrapper.get("param_groups") or ()
    fixed = next((number for number, group in enumerate(groups) if group.get("fixed_lr")), None)
    for path, schedule in built.items():
        name = type(schedule).__name__
        if fixed is not None and schedule.param_name == "lr" and not _from_step_alone(schedule):
            where = f"optim_wrapper.param_groups.{fixed} with fixed_lr"
            message = f"{name} moves the learning rate of every group, also that of {where}"
            problems.append(Problem(path, message, expected="use one of ours, such as WarmupCosine"))
        length = getattr(schedule, "T_max", None) or getattr(schedule, "total_iters", 0)
        if not isinstance(schedule, ConstantParamScheduler) and length >= INF - schedule.begin - 1:
            given = "end or T_max" if hasattr(schedule, "T_max") else "end"
            right = f"without it {name} takes a billion steps and hardly moves"
            problems.append(Problem(path, f"{given} is missing", expected=right))
        if isinstance(schedule, OneCycleParamScheduler):
            found = _cycle(schedule, epochs if schedule.by_epoch else steps)
            problems += [problem.under(path) for problem in found]
    moved: dict[str, str] = {}
    for path, schedule in built.items():
        option = schedule.param_name
        first = moved.setdefault(option, path)
        if first != path and (_from_step_alone(schedule) or _from_step_alone(built[first])):
            both = f"{type(schedule).__name__} and {first} ({type(built[first]).__name__})"
            message = f"{both} both set the {option} of every step, and one would overwrite the other"
            problems.append(Problem(path, message, expected="keep one of them"))
    return problems


def _from_step_alone(schedule: Any) -> bool:
    """Whether a schedule sets its option anew in every step, whatever it was, rather than changing what it finds."""
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
