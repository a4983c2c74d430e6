"""Building a config's parts without data and without memory for weights, to see whether they can be."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from selfsup.config.batch import batch_parts, effective_batch, schedules_of, sync_bn_group
from selfsup.config.default_hooks import hooks_of
from selfsup.config.recipe import DEFAULT_WRAPPER, PLACES, Place
from selfsup.config.signatures import signature_of
from selfsup.data.views.sides import view_sides
from selfsup.engine.schedules.build import build_schedule, conflicts
from selfsup.errors import ConfigError, DataError, SelfsupError, at_place
from selfsup.registry import (
    EVALUATORS,
    HOOKS,
    METHODS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    TRANSFORMS,
    Registry,
)

_STAND_IN = 64
"""For a size that the parts around give, where those cannot be built."""


def build_on_meta(config: Mapping[str, Any]) -> nn.Module:
    """The config's method, with shapes but no weights.

    Raises:
        ConfigError: if a component rejects its arguments.
    """
    with torch.device("meta"):
        return explained("model", METHODS.build, config["model"])


def try_out(
    config: Mapping[str, Any], *, processes: int | None = None, broken: Collection[str] = ()
) -> tuple[nn.Module | None, list[str]]:
    """Build everything but data sets, to see whether it can be.

    Args:
        config: a config with its defaults filled in.
        processes: how many will take part; None leaves open what depends on that.
        broken: paths at which validation has found something already: what holds one of them is not tried, its sound
            parts are.

    Returns:
        The method on the meta device, None if it cannot be built; and what was rejected, each with its path.
    """
    trial = _Trial(broken)
    method = trial.model(config.get("model"))
    if processes is not None:
        trial.attempt("sync_bn", sync_bn_group, config, processes)
        trial.attempt("train_dataloader", _check_batch, config, processes)
        if method is not None:
            per_process, processes, _ = batch_parts(config, processes)
            trial.attempt("model", method.check_batch, per_process, processes)
    num_views = trial.num_views(config)
    if num_views is not None and hasattr(method, "check_num_views"):
        trial.attempt("train_dataloader.views", method.check_num_views, num_views)
    optimizer = trial.optimizer(config)
    if method is not None and optimizer is not None:
        trial.attempt("optim_wrapper", _build_wrapper, config, method)
    if optimizer is not None and trial.is_sound("param_scheduler"):
        trial.schedules(config)
    if trial.is_sound("default_hooks"):
        for name, hook in hooks_of(config).items():
            trial.component(f"default_hooks.{name}", HOOKS, hook)
    for number, hook in enumerate(config.get("custom_hooks") or ()):
        trial.component(f"custom_hooks.{number}", HOOKS, hook)
    for name, evaluator in (config.get("evaluators") or {}).items():
        if isinstance(evaluator, dict):
            trial.attempt(f"evaluators.{name}", _build_evaluator, evaluator, owner=str(evaluator.get("type")))
    return method, list(trial.problems)


class _Trial:
    """One attempt after the other; what is rejected is noted, each message once."""

    def __init__(self, broken: Collection[str]) -> None:
        self.broken = tuple(broken)
        self.problems: dict[str, None] = {}

    def is_sound(self, path: str) -> bool:
        """Whether validation has found nothing in or around what stands at a path."""
        return not any(
            bad == path or bad.startswith(f"{path}.") or path.startswith(f"{bad}.") or not bad for bad in self.broken
        )

    def attempt(self, path: str, build: Callable[..., Any], *arguments: Any, owner: str = "") -> Any:
        """What ``build`` returns; None if it rejects, or if validation has rejected what it would build."""
        if not self.is_sound(path):
            return None
        try:
            with at_place(path, owner):
                return build(*arguments)
        except SelfsupError as error:
            self.problems[str(error)] = None
        return None

    def component(self, path: str, registry: Registry, given: Any, **context: Any) -> Any:
        """Build one component from its dict, with what the config may leave out."""
        if not isinstance(given, dict):
            return None
        return self.attempt(path, registry.build, {**context, **given}, owner=str(given.get("type")))

    def model(self, given: Any) -> Any:
        """The method; where it cannot be built, each of its parts, so that one does not hide the other."""
        with torch.device("meta"):
            whole = _Trial(self.broken)
            method = whole.component("model", METHODS, given)
            if method is None:
                for path, place, part in _parts(given, "model"):
                    self.component(path, place.registry, part, **dict.fromkeys(place.supplied, _STAND_IN))
                told = tuple(problem.partition(": ")[2] for problem in self.problems)
                self.problems |= {problem: None for problem in whole.problems if not problem.endswith(told)}
        return method

    def num_views(self, config: Mapping[str, Any]) -> int | None:
        """How many views the pipeline makes of an image; None if it cannot be built, or only the data can tell."""
        given = (config.get("train_dataloader") or {}).get("views")
        pipeline = self.component("train_dataloader.views", TRANSFORMS, given)
        sides = None if pipeline is None else view_sides(pipeline)
        return None if sides is None else len(sides)

    def schedules(self, config: Mapping[str, Any]) -> None:
        """The schedules, each by itself and all together."""
        built = {}
        for path, given in schedules_of(config).items():
            schedule = self.attempt(path, try_schedule, config, given, owner=str(given.get("type")))
            if schedule is not None:
                built[path] = schedule
        length = config.get("train_cfg") or {}
        found = conflicts(config, built, steps=length.get("max_steps"), epochs=length.get("max_epochs"))
        self.problems |= dict.fromkeys(found)

    def optimizer(self, config: Mapping[str, Any]) -> Any:
        """The optimizer, for one parameter."""
        if not self.is_sound("optim_wrapper.optimizer") or "optim_wrapper" not in config:
            return None
        return self.attempt("optim_wrapper.optimizer", lone_optimizer, config)


class _Blank:
    """Two gray images, where a data set belongs."""

    labels = np.arange(2)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        return np.full((32, 32, 3), 127, np.uint8)


def _parts(component: Any, path: str) -> Iterator[tuple[str, Place, dict[str, Any]]]:
    """Path, place and dict of every component inside one, the innermost first."""
    for name, item in component.items() if isinstance(component, Mapping) else ():
        place = PLACES.get(name)
        if isinstance(item, dict) and place is not None and not place.named:
            yield from _parts(item, f"{path}.{name}")
            yield f"{path}.{name}", place, item


def _check_batch(config: Mapping[str, Any], processes: int) -> None:
    """Reject an update that takes more images than there are."""
    num_images, batch = config["train_dataloader"].get("num_images"), effective_batch(config, processes)
    if num_images and batch > num_images:
        parts = " x ".join(map(str, batch_parts(config, processes)))
        raise ConfigError(
            f"train_dataloader.batch_size: {batch} images per update ({parts}) are more than the {num_images} of the "
            "data set; make it smaller"
        )


def _build_evaluator(given: Mapping[str, Any]) -> Any:
    takes = signature_of(EVALUATORS.find(given["type"])).arguments
    blank: dict[str, Any] = {name: _Blank() for name in ("train", "test") if name in takes}
    try:
        return EVALUATORS.build({**given, **blank})
    except DataError:
        return None  # it wants more of its images than two gray ones: only the data can tell


def _build_wrapper(config: Mapping[str, Any], method: nn.Module) -> Any:
    section = config["optim_wrapper"]
    return OPTIM_WRAPPERS.find(section.get("type", DEFAULT_WRAPPER)).for_method(method, section)


def explained(path: str, build: Callable[..., Any], *arguments: Any) -> Any:
    """What ``build`` makes of its arguments, the last of them a component's dict; a rejection names its place."""
    with at_place(path, arguments[-1]):
        return build(*arguments)


def try_schedule(
    config: Mapping[str, Any], schedule: Mapping[str, Any], *, steps: int = 1000, steps_per_epoch: int = 100
) -> Any:
    """A schedule for one parameter; the run's length does not matter to whether it can be built."""
    return build_schedule(schedule, lone_optimizer(config), steps=steps, steps_per_epoch=steps_per_epoch)


def lone_optimizer(config: Mapping[str, Any]) -> Any:
    """The config's optimizer, for one parameter."""
    optimizer = dict(config["optim_wrapper"]["optimizer"])
    build = partial(OPTIMIZERS.build, params=[nn.Parameter(torch.zeros(1))])
    return explained("optim_wrapper.optimizer", build, optimizer)
