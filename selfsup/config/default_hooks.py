"""The hooks that every run has, by the names under which ``default_hooks`` changes, replaces or switches them off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfsup.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class DefaultHook:
    """One hook of every run.

    Args:
        type: its name among HOOKS.
        takes: arguments that other sections of the config give, read from the whole config.
        alone: a second one would do again what the first has done.
    """

    type: str
    takes: Mapping[str, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)
    alone: bool = False


DEFAULT_HOOKS: dict[str, DefaultHook] = {
    "progress": DefaultHook("ProgressHook", alone=True),
    "scheduler": DefaultHook("ParamSchedulerHook", alone=True),
    "bad_images": DefaultHook(
        "BadImagesHook", {"max_share": lambda config: config["train_dataloader"].get("max_bad_share", 0.01)}
    ),
    "collapse": DefaultHook("CollapseWatchHook"),
    "evaluate": DefaultHook(
        "EvaluateHook",
        {
            "evaluators": lambda config: dict(config.get("evaluators") or {}),
            "every_epochs": lambda config: config.get("evaluate_every", 1) or None,
        },
    ),
    "pictures": DefaultHook("PictureHook"),
    "checkpoint": DefaultHook("CheckpointHook"),
}


def with_default_hooks(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The whole section: every default hook by name, changed as ``given`` says.

    Args:
        given: a config's ``default_hooks``: dicts whose ``type`` may be left out, or None for a hook that is switched
            off. Names that no default hook has are kept, for validation to reject.
    """
    return {**{name: {} for name in DEFAULT_HOOKS}, **(given or {})}


def hooks_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What to build for a run, with the arguments that other sections of the config give.

    Args:
        config: resolved or not.

    Raises:
        ConfigError: if ``default_hooks`` has a name that is none of them.
    """
    chosen = {}
    for name, given in with_default_hooks(config.get("default_hooks")).items():
        if name not in DEFAULT_HOOKS:
            raise ConfigError(f"default_hooks.{name}: {no_default_hook(name)}")
        if given is None:
            continue
        default = DEFAULT_HOOKS[name]
        hook = {"type": default.type, **given}
        if hook["type"] == default.type:  # one that stands in for it has arguments of its own
            hook = {**{argument: read(config) for argument, read in default.takes.items()}, **hook}
        chosen[name] = hook
    return chosen


def doubled(config: Mapping[str, Any]) -> list[str]:
    """Problems of ``custom_hooks`` that do again what a hook of every run does.

    Args:
        config: valid or not.
    """
    given, custom = config.get("default_hooks") or {}, config.get("custom_hooks") or ()
    if not isinstance(given, Mapping) or not isinstance(custom, Sequence):
        return []
    there = {
        hook.type: name
        for name, hook in DEFAULT_HOOKS.items()
        if hook.alone and isinstance(own := given.get(name, {}), Mapping) and own.get("type", hook.type) == hook.type
    }
    return [
        f"custom_hooks.{number}: every run has a {kind} already, and would do its work twice; change that one in "
        f"default_hooks.{there[kind]}"
        for number, hook in enumerate(custom)
        if isinstance(hook, Mapping) and (kind := hook.get("type")) in there
    ]


def no_default_hook(name: str) -> str:
    """What is wrong with a name, and what would be right."""
    return f"is no hook of every run{did_you_mean(name, DEFAULT_HOOKS)}; other hooks go into custom_hooks"
