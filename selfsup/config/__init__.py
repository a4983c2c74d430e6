"""Configs: load and validate; knows registries, never components."""

from selfsup.config.batch import (
    batch_parts,
    dist_timeout,
    effective_batch,
    scale_learning_rates,
    sync_bn_group,
)
from selfsup.config.changes import changes, plain
from selfsup.config.default_hooks import DEFAULT_HOOKS
from selfsup.config.dump import dump_config
from selfsup.config.find import config_name, config_names, find_config, plugin_configs
from selfsup.config.load import load_config
from selfsup.config.recipe import Recipe, upgraded
from selfsup.config.validate import find_problems, validate_component

__all__ = [
    "DEFAULT_HOOKS",
    "Recipe",
    "batch_parts",
    "changes",
    "config_name",
    "config_names",
    "dist_timeout",
    "dump_config",
    "effective_batch",
    "find_config",
    "find_problems",
    "load_config",
    "plain",
    "plugin_configs",
    "scale_learning_rates",
    "sync_bn_group",
    "upgraded",
    "validate_component",
]
