"""How a run differs from the recipe it follows: effective batch, learning rate, queue; and the recipe's own scaling."""

import copy
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from selfsup.config.recipe import Recipe
from selfsup.errors import ConfigError

ABSOLUTE_RATES = (
    "lr",
    "start_lr",
    "peak_lr",
    "end_lr",
    "min_lr",
    "warmup_lr",
    "final_lr",
    "eta_min",
    "eta_max",
    "end_value",
)
"""Arguments of schedules that are learning rates themselves, not factors, by convention of name."""


def batch_parts(config: Mapping[str, Any], processes: int) -> tuple[int, int, int]:
    """Images per process and micro-batch, processes, micro-batches per optimizer update."""
    accumulate = config["optim_wrapper"].get("accumulative_counts", 1)
    return config["train_dataloader"]["batch_size"], processes, accumulate


def effective_batch(config: Mapping[str, Any], processes: int) -> int:
    """Images per optimizer update."""
    per_process, processes, accumulate = batch_parts(config, processes)
    return per_process * processes * accumulate


def recipe_batch(config: Mapping[str, Any]) -> int | None:
    """Images per optimizer update that the config's learning rates belong to, if it says so."""
    scaling = config.get("auto_scale_lr")
    return scaling["base_batch_size"] if scaling else None


def recipe_micro_batch(config: Mapping[str, Any]) -> int | None:
    """Images of all processes per micro-batch that the recipe was made for, if it says so."""
    base = recipe_batch(config)
    return None if base is None else max(1, base // config["optim_wrapper"].get("accumulative_counts", 1))


def dist_timeout(config: Mapping[str, Any]) -> timedelta:
    """How long a process waits for the others."""
    return timedelta(minutes=config.get("dist_timeout", Recipe.dist_timeout))


def sync_bn_group(config: Mapping[str, Any], processes: int) -> int | None:
    """Processes that share batch-norm statistics, None if each has its own; never more than there are.

    Raises:
        ConfigError: if the processes cannot be divided into groups of ``sync_bn``.
    """
    wanted = config.get("sync_bn")
    if wanted is None or processes == 1:
        return None
    group = processes if wanted == "all" else min(wanted, processes)
    if processes % group:
        fitting = [size for size in range(1, processes + 1) if processes % size == 0]
        raise ConfigError(
            f"sync_bn: groups of {group} do not divide {processes} processes; use one of "
            f"{', '.join(map(str, fitting))}, or 'all'"
        )
    return None if group == 1 else group


def rate_factor(config: Mapping[str, Any], processes: int) -> float:
    """What the recipe's own rule multiplies learning rates with at this run's batch; 1 if it has no rule."""
    base = recipe_batch(config)
    if base is None:
        return 1.0
    ratio = effective_batch(config, processes) / base
    return ratio**0.5 if config["auto_scale_lr"].get("rule", "linear") == "sqrt" else ratio


def scale_learning_rates(config: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """A copy of the config with every learning rate scaled to this run's batch by the recipe's own rule.

    The optimizer's ``lr`` and the schedules' absolute rates are scaled, so that the curve keeps its shape;
    ``auto_scale_lr.base_batch_size`` becomes this run's batch, which the new rates belong to.
    """
    scaled = copy.deepcopy(dict(config))
    factor = rate_factor(config, processes)
    for place in _rates(scaled):
        for name in ABSOLUTE_RATES:
            if isinstance(place.get(name), (int, float)):
                place[name] *= factor
    if scaled.get("auto_scale_lr"):
        scaled["auto_scale_lr"]["base_batch_size"] = effective_batch(config, processes)
    return scaled


def _rates(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield config["optim_wrapper"]["optimizer"]
    yield from config["optim_wrapper"].get("param_groups") or ()
    for schedule in schedules_of(config).values():
        of_another = str(schedule["type"]).endswith("Momentum") or schedule.get("param_name", "lr") != "lr"
        if not of_another:  # an eta_min of the momentum is no learning rate
            yield schedule


def differences(
    config: Mapping[str, Any], processes: int, *, scaled_from: Mapping[str, Any] | None = None
) -> list[str]:
    """What a reader of the recipe should know about this run, one sentence each; empty if it is the recipe.

    Args:
        config: the run's resolved config.
        processes: how many take part.
        scaled_from: the config before ``--auto-scale-lr``, where that was asked for.
    """
    lines = []
    original = scaled_from or config
    per_process, processes, accumulate = batch_parts(config, processes)
    batch, base = per_process * processes * accumulate, recipe_batch(original)
    factor = rate_factor(original, processes)
    if base is not None and batch != base:
        lines.append(
            f"effective batch {batch:,} = {per_process} x {processes} x {accumulate}; the recipe's is {base:,}"
        )
        rate = original["optim_wrapper"]["optimizer"].get("lr")
        rule = original["auto_scale_lr"].get("rule", "linear")
        if isinstance(rate, (int, float)):
            wanted = f"{rate * factor:.4g} by the recipe's {rule} rule"
            if scaled_from is None:
                lines.append(f"learning rate {rate:.4g} as in the recipe; this batch wants {wanted}: --auto-scale-lr")
            else:
                lines.append(f"learning rate {wanted}; the recipe's is {rate:.4g}")
    norm_group = config.get("sync_bn")
    if isinstance(norm_group, int) and norm_group > processes:
        seen = f"of all {processes} processes" if processes > 1 else "of one process"
        lines.append(
            f"sync_bn: batch norm sees the {per_process * processes:,} images {seen}; the recipe's groups are of "
            f"{norm_group} processes"
        )
    queue = config["model"].get("queue_length", 0)
    if queue and base is not None and batch != base:
        gathered = per_process * processes
        count = f"{queue / gathered:,.1f}".removesuffix(".0")
        batches = f"{count} batch{'' if count == '1' else 'es'} of {gathered:,}"
        lines.append(f"queue {queue:,}: {batches}; the recipe's are of {base:,}")
    return lines


def schedules_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every schedule of a config by its path: one, several or none."""
    given = config.get("param_scheduler") or []
    if isinstance(given, dict):
        return {"param_scheduler": given}
    return {f"param_scheduler.{number}": schedule for number, schedule in enumerate(given)}
