"""A config's schedules, built and compared with each other."""

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.optim.scheduler.param_scheduler import INF, ConstantParamScheduler
from torch.optim import Optimizer

from selfsup.config.recipe import Recipe
from selfsup.config.signatures import signature_of
from selfsup.engine.schedules.schedule import Schedule
from selfsup.errors import ConfigError, Problem, nearest, under
from selfsup.registry import PARAM_SCHEDULERS


def build_schedule(schedule: Mapping[str, Any], optimizer: Any, *, steps: int, steps_per_epoch: int) -> Any:
    """One schedule for an optimizer, in a run of so many updates; ours and those of plugins may ask for the numbers.

    Raises:
        ConfigError: if it rejects its arguments, or moves an option that the optimizer does not have.
    """
    option = schedule.get("param_name")
    if option is not None and option not in optimizer.defaults:
        near = nearest(str(option), optimizer.defaults)
        raise ConfigError.at("param_name", f"{type(optimizer).__name__} has no such option", got=option, expected=near)
    component = PARAM_SCHEDULERS.find(schedule["type"])
    takes = signature_of(component)
    length = {"total_steps": steps, "steps_per_epoch": steps_per_epoch}
    ours = not component.__module__.startswith("mmengine.")
    context = {name: number for name, number in length.items() if ours and (takes.open or name in takes.arguments)}
    return PARAM_SCHEDULERS.build(dict(schedule), optimizer=optimizer, **context)


def build_schedules(recipe: Recipe, optimizer: Any, *, steps: int, steps_per_epoch: int) -> list[Any]:
    """All of a recipe's schedules, see :func:`build_schedule`.

    Raises:
        ConfigError: if a schedule rejects its arguments, or does not go with the others.
    """
    built = {}
    for path, schedule in recipe.schedules.items():
        with under(path):
            built[path] = build_schedule(schedule, optimizer, steps=steps, steps_per_epoch=steps_per_epoch)
    if problems := conflicts(recipe.optim_wrapper, built):
        raise ConfigError(*problems)
    return list(built.values())


def conflicts(optim_wrapper: Mapping[str, Any], built: Mapping[str, Any]) -> list[Problem]:
    """What no schedule, built for its path, can see by itself: others that overwrite it, groups that are to be left
    alone, a missing length.
    """
    problems = []
    first_of: dict[str, str] = {}
    for path, schedule in built.items():
        name, option = type(schedule).__name__, schedule.param_name
        first = first_of.setdefault(option, path)
        if first != path and (isinstance(schedule, Schedule) or isinstance(built[first], Schedule)):
            both = f"{name} and {first} ({type(built[first]).__name__})"
            message = f"{both} both set the {option} of every step, and one would overwrite the other"
            problems.append(Problem(path, message, expected="keep one of them"))
        if isinstance(schedule, Schedule):
            continue
        for number, group in enumerate(optim_wrapper.get("param_groups") or ()):
            lifted = group.get(option) == 0 and getattr(schedule, "eta_min", 0)
            if group.get(f"fixed_{option}") or lifted:
                fixed = f"{option}=0" if lifted else f"fixed_{option}"
                where = f"optim_wrapper.param_groups.{number} with {fixed}"
                message = f"{name} moves the {option} of every group, also that of {where}"
                ours = "WarmupCosine" if option == "lr" else "Cosine"
                problems.append(Problem(path, message, expected=f"use one of ours, such as {ours}"))
        length = getattr(schedule, "T_max", None) or getattr(schedule, "total_iters", 0)
        if not isinstance(schedule, ConstantParamScheduler) and length >= INF - schedule.begin - 1:
            given = "end or T_max" if hasattr(schedule, "T_max") else "end"
            right = f"without it {name} takes a billion steps and hardly moves"
            problems.append(Problem(path, f"{given} is missing", expected=right))
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
