"""The hooks that every run has, by the names under which ``default_hooks`` changes, replaces or switches them off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DefaultHook:
    """One hook of every run."""

    type: str  # its name among HOOKS
    takes: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)  # arguments read from the whole recipe


DEFAULT_HOOKS: dict[str, DefaultHook] = {
    "progress": DefaultHook("ProgressHook"),
    "scheduler": DefaultHook("ParamSchedulerHook"),
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
