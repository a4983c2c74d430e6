"""The hooks that every run has, by the names under which ``default_hooks`` changes, replaces or switches them off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selfsup.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class DefaultHook:
    """One hook of every run.

    Args:
        type: its name among HOOKS.
        takes: arguments that other sections of the config give, read from the whole config.
    """

    type: str
    takes: Mapping[str, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)


DEFAULT_HOOKS: dict[str, DefaultHook] = {
    "progress": DefaultHook("ProgressHook"),
    "scheduler": DefaultHook("ParamSchedulerHook"),
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
            off. Names that no default hook has are kept, for validation to refuse.
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


def no_default_hook(name: str) -> str:
    """What is wrong with a name, and what would be right."""
    return f"is no hook of every run{did_you_mean(name, DEFAULT_HOOKS)}; other hooks go into custom_hooks"
