"""From a path or name to a resolved config: plain dicts, lists and values, validated, with every default filled in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.config.custom_imports import import_custom
from selfsup.config.find import find_config
from selfsup.config.options import apply_options, parse_options
from selfsup.config.read import read_config
from selfsup.config.validate import fill_defaults, validate
from selfsup.errors import DataError


def load_config(
    path_or_name: str | Path, options: Mapping[str, Any] | Sequence[str] = (), *, images: str | Path | None = None
) -> dict[str, Any]:
    """Load, compose, override, validate and complete a config.

    Args:
        path_or_name: a file, or the name of a packaged config such as ``'swav/swav_resnet50'``; ``.py`` is optional.
        options: changes by dotted path, ``{'train_cfg.max_steps': 5}`` or ``['train_cfg.max_steps=5']``; list items
            by number: ``custom_hooks.0.interval=5``. ``train_cfg.max_steps`` replaces ``max_epochs`` and vice versa.
        images: folder or list of images that replaces the config's own, see :func:`use_images`.

    Returns:
        The resolved config: plain data with ``type`` names, independent of the file and of later calls.

    Raises:
        ConfigError: if the file is not found, cannot be executed, or has anything wrong; every problem is listed.
        DataError: if ``images`` does not exist.
    """
    path = find_config(path_or_name)
    config = read_config(path)
    if images is not None:
        use_images(config, images)
    added = apply_options(config, parse_options(options))
    failed = import_custom(config.get("custom_imports"))
    validate(config, source=str(path), added=added, known=failed)
    return fill_defaults(config)


def use_images(config: dict[str, Any], images: str | Path) -> None:
    """Point a config, in place, at other training images.

    They become an ``ImageList`` without labels. Evaluators lose the data sets they name, which are other images than
    the run now learns from: each is then given a held-out part of the new ones, and left out if it needs labels and
    there are none.

    Raises:
        DataError: if there is no such folder or file.
    """
    root = Path(images).expanduser()
    if not root.exists():
        raise DataError(f"{images}: no such folder or file; it must be a folder of images or a list of their paths")
    loader = config.get("train_dataloader")
    if isinstance(loader, dict):
        loader["dataset"] = {"type": "ImageList", "root": str(root)}
        loader.pop("num_images", None)
    evaluators = config.get("evaluators")
    for evaluator in evaluators.values() if isinstance(evaluators, dict) else ():
        if isinstance(evaluator, dict):
            for name in ("train", "test"):
                evaluator.pop(name, None)
