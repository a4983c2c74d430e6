"""From a path or name to a recipe: composed, overridden, validated, with every default filled in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.config.custom_imports import import_custom
from selfsup.config.find import find_config
from selfsup.config.images import use_images
from selfsup.config.options import apply_options, parse_options
from selfsup.config.read import read_config
from selfsup.config.recipe import Recipe
from selfsup.config.validate import check, with_defaults
from selfsup.errors import ConfigError


def load_config(
    path_or_name: str | Path, options: Mapping[str, Any] | Sequence[str] = (), *, images: str | Path | None = None
) -> Recipe:
    """Load, compose, override, validate and complete a config.

    Args:
        path_or_name: a file, or the name of a packaged config such as ``'swav/swav_resnet50'``; ``.py`` is optional.
        options: changes by dotted path, ``{'train_cfg.max_steps': 5}`` or ``['train_cfg.max_steps=5']``; list items
            by number: ``custom_hooks.0.interval=5``. ``train_cfg.max_steps`` replaces ``max_epochs`` and vice versa.
        images: folder, list, shards or URL that replace the config's own images, see :func:`use_images`.

    Raises:
        ConfigError: if the file is not found, cannot be executed, or has anything wrong; every problem is listed.
        DataError: if ``images`` does not exist.
    """
    config, found = read_and_check(path_or_name, options, images=images)
    if found.problems:
        raise found
    return Recipe.from_dict(with_defaults(config))


def read_and_check(
    path_or_name: str | Path, options: Mapping[str, Any] | Sequence[str] = (), *, images: str | Path | None = None
) -> tuple[dict[str, Any], ConfigError]:
    """The config of a file as plain data, and an error with everything that is wrong with it, perhaps nothing."""
    path = find_config(path_or_name)
    config = read_config(path)
    if images is not None:
        use_images(config, images)
    apply_options(config, parse_options(options))
    failed = import_custom(config.get("custom_imports"))
    found = check(config)
    return config, ConfigError(*failed, *found.problems, source=str(path), note=found.note)
