"""The hooks that every run has, by the names under which ``default_hooks`` changes, replaces or switches them off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from selfsup.errors import ConfigError, Problem, nearest

if TYPE_CHECKING:
    from selfsup.config.recipe import Recipe


@dataclass(frozen=True)
class DefaultHook:
    """One hook of every run.

    Args:
        type: its name among HOOKS.
        takes: arguments that other sections of the recipe give.
        alone: a second one would do again what the first has done.
    """

    type: str
    takes: Mapping[str, Callable[["Recipe"], Any]] = field(default_factory=dict)
    alone: bool = False


DEFAULT_HOOKS: dict[str, DefaultHook] = {
    "progress": DefaultHook("ProgressHook", alone=True),
    "scheduler": DefaultHook("ParamSchedulerHook", alone=True),
    "bad_images": DefaultHook("BadImagesHook", {"max_share": lambda recipe: recipe.train_dataloader.max_bad_share}),
    "collapse": DefaultHook("CollapseWatchHook"),
    "evaluate": DefaultHook(
        "EvaluateHook",
        {
            "evaluators": lambda recipe: dict(recipe.evaluators),
            "every_epochs": lambda recipe: recipe.evaluate_every or None,
        },
    ),
    "pictures": DefaultHook("PictureHook"),
    "checkpoint": DefaultHook("CheckpointHook"),
}


def with_default_hooks(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The whole section: every default hook by name, changed as ``given`` says.

    Args:
        given: a config's ``default_hooks``: dicts whose ``type`` may be left out, or None for a hook that is switched
            off.
    """
    return {**{name: {} for name in DEFAULT_HOOKS}, **(given or {})}


def hooks_of(recipe: "Recipe") -> dict[str, dict[str, Any]]:
    """What to build for a run, by name, with the arguments that other sections of the recipe give.

    Raises:
        ConfigError: if there is a name that none of them has.
    """
    for name in recipe.default_hooks.keys() - DEFAULT_HOOKS.keys():
        raise ConfigError(no_default_hook(f"default_hooks.{name}", name))
    chosen = {}
    for name, default in DEFAULT_HOOKS.items():
        if (given := recipe.default_hooks[name]) is None:
            continue
        hook = {"type": default.type, **given}
        if hook["type"] == default.type:  # one that stands in for it has arguments of its own
            hook = {**{argument: read(recipe) for argument, read in default.takes.items()}, **hook}
        chosen[name] = hook
    return chosen


def doubled(config: Mapping[str, Any]) -> list[Problem]:
    """The ``custom_hooks`` of a config that do again what a hook of every run does."""
    given, custom = config.get("default_hooks") or {}, config.get("custom_hooks") or ()
    if not isinstance(given, Mapping) or not isinstance(custom, Sequence):
        return []
    there = {
        hook.type: name
        for name, hook in DEFAULT_HOOKS.items()
        if hook.alone and isinstance(own := given.get(name, {}), Mapping) and own.get("type", hook.type) == hook.type
    }
    return [
        Problem(
            f"custom_hooks.{number}", f"every run has a {kind} already", expected=f"change default_hooks.{there[kind]}"
        )
        for number, hook in enumerate(custom)
        if isinstance(hook, Mapping) and (kind := hook.get("type")) in there
    ]


def no_default_hook(path: str, name: str) -> Problem:
    """The problem of a name that no hook of every run has."""
    right = f"{nearest(name, DEFAULT_HOOKS)}; other hooks go into custom_hooks"
    return Problem(path, "is no hook of every run", expected=right)
