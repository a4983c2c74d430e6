"""How a run differs from the recipe it follows: effective batch, learning rate, queue; and the recipe's own scaling."""

import dataclasses
from datetime import timedelta

from selfsup.config.recipe import Recipe
from selfsup.errors import ConfigError

ABSOLUTE_RATES = ("start_lr", "peak_lr", "end_lr", "min_lr", "warmup_lr", "final_lr", "eta_min", "eta_max", "end_value")
"""Arguments of schedules that are learning rates themselves, not factors, by convention of name."""


def batch_parts(recipe: Recipe, processes: int) -> tuple[int, int, int]:
    """Images per process and micro-batch, processes, micro-batches per optimizer update."""
    return recipe.train_dataloader.batch_size, processes, recipe.accumulate


def effective_batch(recipe: Recipe, processes: int) -> int:
    """Images per optimizer update."""
    return recipe.train_dataloader.batch_size * processes * recipe.accumulate


def recipe_batch(recipe: Recipe) -> int | None:
    """Images per optimizer update that the recipe's learning rates belong to, if it says so."""
    return recipe.auto_scale_lr.base_batch_size if recipe.auto_scale_lr else None


def dist_timeout(recipe: Recipe) -> timedelta:
    """How long a process waits for the others."""
    return timedelta(minutes=recipe.dist_timeout)


def sync_bn_group(recipe: Recipe, processes: int) -> int | None:
    """Processes that share batch-norm statistics, None if each has its own; never more than there are.

    Raises:
        ConfigError: if the processes cannot be divided into groups of ``sync_bn``.
    """
    wanted = recipe.sync_bn
    if wanted is None or processes == 1:
        return None
    group = processes if wanted == "all" else min(wanted, processes)
    if processes % group:
        raise ConfigError.at("sync_bn", f"must divide the {processes} processes, or be 'all'", got=group)
    return None if group == 1 else group


def rate_factor(recipe: Recipe, processes: int) -> float:
    """What the recipe's own rule multiplies learning rates with at this run's batch; 1 if it has no rule."""
    if recipe.auto_scale_lr is None:
        return 1.0
    ratio = effective_batch(recipe, processes) / recipe.auto_scale_lr.base_batch_size
    return ratio**0.5 if recipe.auto_scale_lr.rule == "sqrt" else ratio


def scale_learning_rates(recipe: Recipe, processes: int) -> Recipe:
    """The recipe with every learning rate scaled to this run's batch by the recipe's own rule.

    The optimizer's ``lr`` and the schedules' absolute rates are scaled, so that the curve keeps its shape;
    ``auto_scale_lr.base_batch_size`` becomes this run's batch, which the new rates belong to.
    """
    scaled = Recipe.from_dict(recipe.to_dict())  # whose dicts are its own
    factor = rate_factor(recipe, processes)
    of_rates = [
        schedule
        for schedule in scaled.schedules.values()  # an eta_min of the momentum is no learning rate
        if not str(schedule["type"]).endswith("Momentum") and schedule.get("param_name", "lr") == "lr"
    ]
    for place in (scaled.optim_wrapper["optimizer"], *(scaled.optim_wrapper.get("param_groups") or ()), *of_rates):
        for name in ("lr", *ABSOLUTE_RATES):
            if isinstance(place.get(name), (int, float)):
                place[name] *= factor
    if scaled.auto_scale_lr is None:
        return scaled
    scale = dataclasses.replace(scaled.auto_scale_lr, base_batch_size=effective_batch(recipe, processes))
    return dataclasses.replace(scaled, auto_scale_lr=scale)


def differences(recipe: Recipe, processes: int, *, scaled_from: Recipe | None = None) -> list[str]:
    """What a reader of the recipe should know about this run, one sentence each; empty if it is the recipe.

    Args:
        recipe: the run's.
        processes: how many take part.
        scaled_from: the recipe before ``--auto-scale-lr``, where that was asked for.
    """
    lines, original = [], scaled_from or recipe
    per_process, processes, accumulate = batch_parts(recipe, processes)
    batch, scaling, gathered = effective_batch(recipe, processes), original.auto_scale_lr, per_process * processes
    if scaling is not None and batch != scaling.base_batch_size:
        parts = f"{per_process} x {processes} x {accumulate}"
        lines.append(f"effective batch {batch:,} = {parts}; the recipe's is {scaling.base_batch_size:,}")
        rate = original.optim_wrapper["optimizer"].get("lr")
        if isinstance(rate, (int, float)):
            wanted = f"{rate * rate_factor(original, processes):.4g} by the recipe's {scaling.rule} rule"
            if scaled_from is None:
                lines.append(f"learning rate {rate:.4g} as in the recipe; this batch wants {wanted}: --auto-scale-lr")
            else:
                lines.append(f"learning rate {wanted}; the recipe's is {rate:.4g}")
    if isinstance(recipe.sync_bn, int) and recipe.sync_bn > processes:
        seen = f"of all {processes} processes" if processes > 1 else "of one process"
        groups = f"the recipe's groups are of {recipe.sync_bn} processes"
        lines.append(f"sync_bn: batch norm sees the {gathered:,} images {seen}; {groups}")
    queue = recipe.model.get("queue_length", 0)
    if queue and scaling is not None and batch != scaling.base_batch_size:
        batches = f"{queue / gathered:,.4g} batches of {gathered:,}"
        lines.append(f"queue {queue:,}: {batches}; the recipe's are of {scaling.base_batch_size:,}")
    return lines
