"""Building a config's parts without data and without memory for weights, to see whether they can be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from selfsup.config.batch import batch_parts, effective_batch, sync_bn_group
from selfsup.config.load import read_and_check
from selfsup.config.recipe import PLACES, Place, Recipe
from selfsup.config.signatures import signature_of
from selfsup.config.validate import with_defaults
from selfsup.data.views.sides import view_sides
from selfsup.engine.beforehand import check_batches
from selfsup.engine.build import build_optim_wrapper
from selfsup.engine.schedules.build import build_schedule, conflicts
from selfsup.errors import ConfigError, DataError, Problem, SelfsupError, under
from selfsup.registry import EVALUATORS, HOOKS, METHODS, OPTIMIZERS, TASKS, TRANSFORMS, Registry

_STAND_IN = 64
"""For a size that the parts around give, where those cannot be built."""


def load_and_try(
    path_or_name: str | Path, options: Mapping[str, Any] | Sequence[str] = (), *, images: str | Path | None = None
) -> Recipe:
    """As :func:`~selfsup.config.load_config`, but what is sound of a wrong config is built to find all else at once.

    Raises:
        ConfigError: with every problem.
        DataError: if ``images`` does not exist.
    """
    config, found = read_and_check(path_or_name, options, images=images)
    if found.problems:
        broken = [problem.path for problem in found.problems]
        sound = {name: section for name, section in config.items() if name not in broken}
        _, rejected = try_out(Recipe.from_dict(with_defaults(sound), partial=True), broken=broken)
        found.problems += rejected
        raise found
    return Recipe.from_dict(with_defaults(config))


def build_on_meta(recipe: Recipe) -> nn.Module:
    """The recipe's method, with shapes but no weights.

    Raises:
        ConfigError: if a component rejects its arguments.
    """
    with torch.device("meta"), under("model"):
        return METHODS.build(recipe.model)


def try_out(
    recipe: Recipe, *, processes: int | None = None, broken: Sequence[str] = ()
) -> tuple[nn.Module | None, list[Problem]]:
    """Build everything but data sets, to see whether it can be.

    Args:
        recipe: with the defaults of its components.
        processes: how many will take part; None leaves open what depends on that.
        broken: paths at which validation has found something: what holds one of them is not tried, its parts are.

    Returns:
        The method on the meta device, None if it cannot be built; and what was rejected.
    """
    trial = _Trial(broken)
    method, loader = trial.model(recipe.model), recipe.train_dataloader
    if processes is not None:
        trial.attempt("", sync_bn_group, recipe, processes)
        trial.attempt("train_dataloader", _check_batch, recipe, processes)
        if method is not None:
            trial.attempt("", check_batches, method, recipe, processes)
    pipeline = trial.component("train_dataloader.views", TRANSFORMS, loader and loader.views)
    sides = None if pipeline is None else view_sides(pipeline)
    if sides is not None and hasattr(method, "check_num_views"):
        trial.attempt("train_dataloader.views", method.check_num_views, len(sides))
    trial.optimizer(recipe, method)
    if trial.is_sound("default_hooks"):
        for path, hook in recipe.hooks.items():
            trial.component(path, HOOKS, hook | {"evaluators": {}} if "evaluators" in hook else hook)  # tried below
    for number, hook in enumerate(recipe.custom_hooks or ()):
        trial.component(f"custom_hooks.{number}", HOOKS, hook)
    for kind, registry, given in (("tasks", TASKS, recipe.tasks), ("evaluators", EVALUATORS, recipe.evaluators)):
        for name, component in (given or {}).items():
            if isinstance(component, dict):
                trial.attempt(f"{kind}.{name}", _build_on_blanks, registry, component)
    return method, trial.problems


class _Trial:
    """One attempt after the other; what is rejected is noted, each problem once."""

    def __init__(self, broken: Sequence[str]) -> None:
        self.broken = broken
        self.problems: list[Problem] = []

    def is_sound(self, path: str) -> bool:
        """Whether validation has found nothing in or around what stands at a path."""
        return not any(f"{bad}.".startswith(f"{path}.") or f"{path}.".startswith(f"{bad}.") for bad in self.broken)

    def attempt(self, path: str, build: Callable[..., Any], *arguments: Any) -> Any:
        """What ``build`` returns; None if it rejects, or if validation has rejected what it would build."""
        if not self.is_sound(path):
            return None
        try:
            with under(path):
                return build(*arguments)
        except SelfsupError as error:
            self.note(error.problems)
        return None

    def note(self, problems: Sequence[Problem]) -> None:
        """Keep what is not there yet."""
        self.problems += [problem for problem in problems if problem not in self.problems]

    def component(self, path: str, registry: Registry, given: Any, **context: Any) -> Any:
        """Build one component from its dict, with what the config may leave out."""
        return self.attempt(path, registry.build, {**context, **given}) if isinstance(given, dict) else None

    def model(self, given: Any) -> Any:
        """The method; where it cannot be built, each of its parts, so that one does not hide the other."""
        with torch.device("meta"):
            whole = _Trial(self.broken)
            method = whole.component("model", METHODS, given)
            if method is None:
                for path, place, part in _parts(given, "model"):
                    self.component(path, place.registry, part, **dict.fromkeys(place.supplied, _STAND_IN))
                self.note(whole.problems)
        return method

    def optimizer(self, recipe: Recipe, method: nn.Module | None) -> None:
        """The optimizer for one parameter and for the method's, and its schedules, each by itself and all together."""
        if recipe.optim_wrapper is None or self.attempt("optim_wrapper.optimizer", lone_optimizer, recipe) is None:
            return
        if method is not None and self.is_sound("optim_wrapper"):
            self.attempt("", build_optim_wrapper, recipe, method)
        if self.is_sound("param_scheduler"):
            built = {path: self.attempt(path, try_schedule, recipe, given) for path, given in recipe.schedules.items()}
            built = {path: schedule for path, schedule in built.items() if schedule is not None}
            self.note(conflicts(recipe.optim_wrapper, built))


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


def _check_batch(recipe: Recipe, processes: int) -> None:
    """Reject an update that takes more images than there are."""
    num_images, batch = recipe.train_dataloader.num_images, effective_batch(recipe, processes)
    if num_images and batch > num_images:
        parts = " x ".join(map(str, batch_parts(recipe, processes)))
        message = f"must be smaller: an update of {parts} images is larger than the data set, {num_images} images"
        raise ConfigError.at("batch_size", message, got=recipe.train_dataloader.batch_size)


def _build_on_blanks(registry: Registry, given: Mapping[str, Any]) -> Any:
    """An evaluator or a task, without its images."""
    takes = signature_of(registry.find(given["type"])).arguments
    blanks: dict[str, Any] = {name: _Blank() for name in ("train", "test") if name in takes}
    arguments = {name: value for name, value in given.items() if name != "task"}
    try:
        return registry.build({**arguments, **blanks, **({"name": "blank"} if "name" in takes else {})})
    except DataError:
        return None  # it wants more of its images than two gray ones: only the data can tell


def try_schedule(recipe: Recipe, schedule: Mapping[str, Any], *, steps: int = 1000, steps_per_epoch: int = 100) -> Any:
    """A schedule for one parameter; the run's length does not matter to whether it can be built."""
    return build_schedule(schedule, lone_optimizer(recipe), steps=steps, steps_per_epoch=steps_per_epoch)


def lone_optimizer(recipe: Recipe) -> Any:
    """The recipe's optimizer, for one parameter."""
    return OPTIMIZERS.build(recipe.optim_wrapper["optimizer"], params=[nn.Parameter(torch.zeros(1))])
