"""Recipes of a study's cells: a packaged recipe with changes, and the classifier that belongs to a pretraining."""

from collections.abc import Mapping
from typing import Any

from selfsup.config import load_config

Base = str | Mapping[str, Any]
"""A config's name, or ``dict(config=NAME, options={...})`` with changes by dotted path. With ``classifier={...}`` it is
the supervised training that belongs to the recipe, see :func:`classifier_of` for the arguments."""

SILENT = {f"default_hooks.{hook}": None for hook in ("evaluate", "pictures", "collapse")}
"""A cell is evaluated in cells of its own."""


def recipe_of(base: Base, *changes: Mapping[str, Any], images: Any = None, seed: int = 0) -> dict[str, Any]:
    """A whole recipe as plain data: all that can change a run's result, and nothing else.

    Args:
        base: what it builds on.
        changes: by dotted path, later ones win.
        images: the data set that is trained on; None for the base's own.
        seed: of the run.

    Raises:
        ConfigError: if the recipe is not valid.
    """
    named: Mapping[str, Any] = {"config": base} if isinstance(base, str) else base
    options: dict[str, Any] = {"custom_hooks": [], **SILENT, **named.get("options", {})}
    if images is not None:
        options["train_dataloader.dataset"] = dict(images)
    for change in changes:
        for one, other in (("max_epochs", "max_steps"), ("max_steps", "max_epochs")):
            if f"train_cfg.{one}" in change:
                options.pop(f"train_cfg.{other}", None)
        options |= change
    given = load_config(named["config"], options).to_dict()
    for key in ("work_dir", "recipe", "budget", "tasks", "evaluators", "load_from"):
        given.pop(key, None)
    given["train_dataloader"] = {
        key: value for key, value in given["train_dataloader"].items() if key not in ("num_workers", "num_images")
    }
    whole = {**given, "split": None, "seed": seed}
    if "classifier" not in named:
        return whole
    return classifier_of(whole, images=whole["train_dataloader"]["dataset"], **named["classifier"])


def classifier_of(
    pretraining: Mapping[str, Any],
    *,
    images: Mapping[str, Any],
    count: float | None = None,
    num_classes: int,
    steps: int,
    warmup_steps: int = 0,
    lr: float | None = None,
    jitter: float = 0.1,
) -> dict[str, Any]:
    """The recipe of a classifier with the network, optimizer and crops of a pretraining, to be fine-tuned or not.

    Args:
        pretraining: a whole recipe, whose views are SimCLR's.
        images: with labels.
        count: how many of them, see :func:`images_of`; a batch holds no more.
        num_classes: C.
        steps: how long.
        warmup_steps: of them.
        lr: learning rate; None for the pretraining's.
        jitter: see :class:`~selfsup.data.SupervisedViews`.
    """
    model, loader, wrapper = (pretraining[name] for name in ("model", "train_dataloader", "optim_wrapper"))
    batch = min(loader["batch_size"], count) if isinstance(count, int) else loader["batch_size"]
    views = {key: loader["views"][key] for key in ("size", "scale", "before") if key in loader["views"]}
    optimizer = wrapper["optimizer"] if lr is None else {**wrapper["optimizer"], "lr": lr}
    supervised = {
        "type": "Supervised",
        "backbone": model["backbone"],
        "num_classes": num_classes,
        "loss": {"type": "CrossEntropyLoss"},
    }
    if "preprocess" in model:
        supervised["preprocess"] = model["preprocess"]
    return {
        **{key: value for key, value in pretraining.items() if key != "auto_scale_lr"},
        "model": supervised,
        "train_dataloader": {
            **loader,
            "batch_size": batch,
            "dataset": images_of(images, count),
            "views": {"type": "SupervisedViews", "jitter": jitter, **views},
        },
        "optim_wrapper": {**wrapper, "optimizer": optimizer},
        "param_scheduler": {"type": "WarmupCosine", "warmup_steps": warmup_steps},
        "train_cfg": {"max_steps": steps},
    }


def images_of(images: Mapping[str, Any], count: float | None) -> dict[str, Any]:
    """The first images of one fixed permutation: nested, and the same in every experiment.

    Args:
        images: the whole source.
        count: how many, or which share if it is a fraction below 1; None or 1.0 for all.

    Source: Cole et al. 2022, arXiv:2105.05837, section 3.
    """
    if count is None or (count == 1.0 and isinstance(count, float)):
        return dict(images)
    chosen = {"fraction": count} if isinstance(count, float) else {"count": count}
    return {"type": "Subset", "dataset": dict(images), **chosen}
