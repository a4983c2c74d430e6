"""Building a config's parts without data and without memory for weights, to see whether they can be."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from selfsup.config.default_hooks import hooks_of
from selfsup.config.recipe import sync_bn_group
from selfsup.config.schema import DEFAULT_WRAPPER
from selfsup.errors import ConfigError, SelfsupError
from selfsup.registry import HOOKS, METHODS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS


def build_on_meta(config: Mapping[str, Any]) -> nn.Module:
    """The config's method, with shapes but no weights.

    Raises:
        ConfigError: if a component refuses its arguments.
    """
    with torch.device("meta"):
        return explained("model", METHODS.build, config["model"])


def check_run(config: Mapping[str, Any], method: nn.Module, processes: int) -> None:
    """Build what stands beside the method, to see whether it can be.

    Args:
        config: a resolved config.
        method: on the meta device.
        processes: how many will take part.

    Raises:
        ConfigError: listing everything that is refused.
    """
    checks: list[Callable[[], Any]] = [
        partial(sync_bn_group, config, processes),
        partial(explained, "optim_wrapper", _build_wrapper, config, method),
    ]
    schedules = config.get("param_scheduler") or []
    for schedule in [schedules] if isinstance(schedules, dict) else schedules:
        checks.append(partial(explained, "param_scheduler", build_schedule, config, schedule))
    for name, hook in hooks_of(config).items():
        checks.append(partial(explained, f"default_hooks.{name}", HOOKS.build, hook))
    for number, hook in enumerate(config.get("custom_hooks") or ()):
        checks.append(partial(explained, f"custom_hooks.{number}", HOOKS.build, hook))
    problems = []
    for check in checks:
        try:
            check()
        except SelfsupError as error:
            problems.append(str(error))
    problems = list(dict.fromkeys(problems))  # a schedule names what is wrong with its optimiser again
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError(f"{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems))


def _build_wrapper(config: Mapping[str, Any], method: nn.Module) -> Any:
    section = config["optim_wrapper"]
    lone_optimizer(config)  # names what it refuses by its own place
    return OPTIM_WRAPPERS.find(section.get("type", DEFAULT_WRAPPER)).for_method(method, section)


def explained(path: str, build: Callable[..., Any], *arguments: Any) -> Any:
    """What ``build`` returns; a value that it refuses is an error of the user's, with its place."""
    try:
        return build(*arguments)
    except SelfsupError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def build_schedule(
    config: Mapping[str, Any], schedule: Mapping[str, Any], *, steps: int = 1000, steps_per_epoch: int = 100
) -> Any:
    """A schedule for one parameter; the run's length does not matter to whether it can be built."""
    context: dict[str, Any] = {}
    if not PARAM_SCHEDULERS.find(schedule["type"]).__module__.startswith("mmengine."):
        context = {"total_steps": steps, "steps_per_epoch": steps_per_epoch}
    return PARAM_SCHEDULERS.build(dict(schedule), optimizer=lone_optimizer(config), **context)


def lone_optimizer(config: Mapping[str, Any]) -> Any:
    """The config's optimiser, for one parameter."""
    optimizer = dict(config["optim_wrapper"]["optimizer"])
    return explained(
        "optim_wrapper.optimizer", lambda: OPTIMIZERS.build(optimizer, params=[nn.Parameter(torch.zeros(1))])
    )
