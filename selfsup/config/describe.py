"""What a config will do, without data and without memory for its weights: the plan behind ``--dry-run``."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from selfsup.config.recipe import batch_parts, differences, effective_batch, recipe_batch, recipe_micro_batch
from selfsup.config.trial import build_on_meta, explained, lone_optimizer, try_out, try_schedule, view_sides
from selfsup.errors import ConfigError, listing
from selfsup.registry import PARAM_SCHEDULERS, TRANSFORMS

UNKNOWN = "unknown until the data is read"
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Args:
        parameters: of each part of the method, and ``'total'``.
        views: side in pixels and how many of them, of the views of one image; None if only the data can tell.
        multiply_adds: of the backbone's forward pass over all views of one image.
        num_images: size of the data set, None if the config does not say.
        steps: optimiser updates, None if they depend on an unknown data set.
        steps_per_epoch: optimiser updates in one pass over the data.
        batch: images per process and micro-batch, processes, micro-batches per update.
        recipe_batch: images per update that the learning rates belong to.
        rates: (step, learning rate) at evenly spread steps, empty if unknown.
        precision: of the forward pass.
        notes: how the run differs from its recipe.
    """

    parameters: dict[str, int]
    views: tuple[tuple[int, int], ...] | None
    multiply_adds: int | None
    num_images: int | None
    steps: int | None
    steps_per_epoch: int | None
    batch: tuple[int, int, int]
    recipe_batch: int | None
    rates: tuple[tuple[int, float], ...]
    precision: str
    notes: tuple[str, ...]

    @property
    def effective_batch(self) -> int:
        """Images per optimiser update."""
        return int(np.prod(self.batch))

    @property
    def images_seen(self) -> int | None:
        """Images over the whole run, counted once per epoch."""
        return None if self.steps is None else self.steps * self.effective_batch


def describe(
    config: Mapping[str, Any],
    *,
    processes: int = 1,
    scaled_from: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    multiply_adds: Callable[[nn.Module, int], int] | None = None,
    fast_precision: str | None = None,
) -> Plan:
    """Work out what a resolved config will do; builds all but data sets, on the meta device, and opens no data.

    Args:
        config: a resolved config.
        processes: how many will take part.
        scaled_from: the config before its learning rates were scaled, for the notes.
        recipe: the config as its file has it, for the notes, where options have changed it.
        multiply_adds: counts a backbone's multiply-adds for one square image of a size; None leaves them out.
        fast_precision: what ``precision='auto'`` stands for on this machine; None leaves that open.

    Raises:
        ConfigError: listing everything that components refuse, or that this many processes cannot do.
    """
    method, problems = try_out(config, processes=processes)
    if method is None or problems:
        raise ConfigError(listing(problems))
    views = view_sizes(config["train_dataloader"]["views"])
    loader, length = config["train_dataloader"], config["train_cfg"]
    batch = effective_batch(config, processes)
    num_images = loader.get("num_images")
    per_epoch = num_images // batch if num_images else None
    steps = length.get("max_steps") or (length["max_epochs"] * per_epoch if per_epoch else None)
    curve = rate_curve(config, steps=steps, steps_per_epoch=per_epoch) if steps else None
    cost = None
    if multiply_adds is not None and views is not None and isinstance(method, nn.Module):
        backbone = method.get_submodule("backbone")
        cost = sum([count * multiply_adds(backbone, size) for size, count in views])
    return Plan(
        parameters=count_parameters(method),
        views=views,
        multiply_adds=cost,
        num_images=num_images,
        steps=steps,
        steps_per_epoch=per_epoch,
        batch=batch_parts(config, processes),
        recipe_batch=recipe_batch(scaled_from or config),
        rates=learning_rates(curve, steps) if steps and curve else (),
        precision=_precision(config, fast_precision),
        notes=(
            *differences(config, processes, scaled_from=scaled_from),
            *_unfinished_warmup(config, steps, per_epoch),
            *_shared_batch_norm(method, config),
            *_advice(method, config, recipe or scaled_from or config, processes),
        ),
    )


def _precision(config: Mapping[str, Any], fast: str | None) -> str:
    stated = config["optim_wrapper"].get("precision", "auto")
    return f"auto: {fast} here" if stated == "auto" and fast is not None else stated


def _unfinished_warmup(config: Mapping[str, Any], steps: int | None, per_epoch: int | None) -> list[str]:
    """A run that ends before its learning rate has reached the peak."""
    given = config.get("param_scheduler") or []
    notes = []
    for schedule in [given] if isinstance(given, dict) else given:
        warmup = schedule.get("warmup_steps") or round((schedule.get("warmup_epochs") or 0) * (per_epoch or 0))
        if steps is not None and warmup >= steps > 0:
            notes.append(
                f"param_scheduler: the warm-up takes {warmup} steps and the run has {steps}, so that the learning "
                "rate never reaches its peak"
            )
    return notes


def _shared_batch_norm(method: nn.Module, config: Mapping[str, Any]) -> list[str]:
    """Batch norm over processes where the method is made for that of each one."""
    if config.get("sync_bn") in (None, 1) or not getattr(method, "own_batch_norm", False):
        return []
    return [f"sync_bn: in {type(method).__name__} batch norm is meant to be each process's own; leave sync_bn unset"]


def _advice(method: nn.Module, config: Mapping[str, Any], recipe: Mapping[str, Any], processes: int) -> Sequence[str]:
    """What the method itself has to say about a batch, unless the recipe it follows does the same."""
    advice: Any = getattr(method, "advice", None)
    if not callable(advice):
        return ()
    per_process, processes, _ = batch_parts(config, processes)
    example = None
    if (batch := recipe_micro_batch(recipe)) is not None:
        example = (method if recipe["model"] == config["model"] else build_on_meta(recipe), batch)
    return advice(per_process * processes, recipe=example)


def count_parameters(method: nn.Module) -> dict[str, int]:
    """Parameters of each direct part of a method that has any, and their total, shared ones counted once."""
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    return {
        **{name: count for name, count in parts.items() if count},
        "total": sum(p.numel() for p in method.parameters()),
    }


def view_sizes(views: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """(side in pixels, how many) of the views of one image, largest first, tried out on a blank image.

    Raises:
        ConfigError: if the pipeline refuses its arguments.
    """
    pipeline = explained("train_dataloader.views", TRANSFORMS.build, views)
    sides = view_sides(pipeline)
    return None if sides is None else tuple(sorted(Counter(sides).items(), reverse=True))


def rate_curve(config: Mapping[str, Any], *, steps: int, steps_per_epoch: int | None) -> Callable[[int], float] | None:
    """The learning rate of parameters in no special group as a function of the step, by the schedule's closed form.

    Args:
        config: a resolved config.
        steps: optimiser updates of the whole run.
        steps_per_epoch: optimiser updates in one pass over the data, None if unknown.

    Returns:
        None if there are several schedules, one has no closed form (``value(step, base)``), or it counts in epochs
        whose length is not known.

    Raises:
        ConfigError: if optimiser or schedule refuse their arguments.
    """
    given = config.get("param_scheduler") or []
    schedules = [given] if isinstance(given, dict) else given
    counts_epochs = any("epoch" in name for schedule in schedules for name in schedule)
    if len(schedules) > 1 or (steps_per_epoch is None and counts_epochs):
        return None
    base = lone_optimizer(config).defaults["lr"]
    if not schedules:
        return lambda step: base
    if not hasattr(PARAM_SCHEDULERS.find(schedules[0]["type"]), "value"):
        return None
    schedule = try_schedule(config, schedules[0], steps=steps, steps_per_epoch=steps_per_epoch or steps)
    return lambda step: float(schedule.value(step, base))


def learning_rates(curve: Callable[[int], float], steps: int, *, points: int = 41) -> tuple[tuple[int, float], ...]:
    """(step, learning rate) at evenly spread steps and at the first step of the highest rate."""
    first, last = 0, steps - 1
    rates: dict[int, float] = {}
    while True:  # the first round spreads the points over the run, the others close in on the peak
        found = {
            step: curve(step) for step in {first + round(i * (last - first) / (points - 1)) for i in range(points)}
        }
        rates = rates or found
        peak = max(found, key=lambda step: (found[step], -step))
        if last - first < points:
            return tuple(sorted((rates | {peak: found[peak]}).items()))
        reach = (last - first) // (points - 1) + 1
        first, last = max(peak - reach, 0), min(peak + reach, steps - 1)


def sparkline(values: Sequence[float]) -> str:
    """One character per value, its height in proportion to the greatest."""
    top = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, max(0, int(value / top * len(_BARS))))] for value in values)


def print_plan(plan: Plan, console: Console) -> None:
    """Show a plan as tables."""
    parts = Table("part", "parameters", title="model", title_justify="left")
    parts.columns[1].justify = "right"
    for name, count in plan.parameters.items():
        parts.add_row(name, f"{count:,}", style="bold" if name == "total" else None)
    console.print(parts)
    run = Table(show_header=False, title="run", title_justify="left")
    for name, text in _rows(plan):
        run.add_row(name, text)
    console.print(run)
    print_notes(plan.notes, console)


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Show notes, one a line."""
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _rows(plan: Plan) -> list[tuple[str, str]]:
    per_process, processes, accumulate = plan.batch
    batch = f"{plan.effective_batch:,} = {per_process} per process x {processes} process"
    batch += f"{'' if processes == 1 else 'es'} x {accumulate} accumulated"
    if plan.recipe_batch is not None:
        batch += f" (recipe: {plan.recipe_batch:,})"
    epochs = UNKNOWN
    if plan.steps is not None and plan.steps_per_epoch:
        epochs = f"{plan.steps / plan.steps_per_epoch:.4g} of {plan.steps_per_epoch:,} steps"
    views = "unknown until there is an image"
    if plan.views is not None:
        views = " + ".join(f"{count} x {size} px" for size, count in plan.views)
    rows = [
        ("effective batch", batch),
        ("data set", UNKNOWN if plan.num_images is None else f"{plan.num_images:,} images"),
        ("epochs", epochs),
        ("steps", UNKNOWN if plan.steps is None else f"{plan.steps:,}"),
        ("images seen", UNKNOWN if plan.images_seen is None else f"{plan.images_seen:,}"),
        ("views of an image", views),
    ]
    if plan.multiply_adds is not None:
        update = 3 * plan.multiply_adds * plan.effective_batch  # a backward pass costs two forward passes
        rows.append(("multiply-adds", f"{plan.multiply_adds:.3g} forward per image, about {update:.3g} per update"))
    rows.append(("precision", plan.precision))
    if plan.rates:
        rates = [rate for _, rate in plan.rates]
        rows.append(("learning rate", sparkline(rates)))
        peak = int(np.argmax(rates))
        for index in sorted({0, peak, len(rates) // 2, len(rates) - 1}):
            step, rate = plan.rates[index]
            rows.append((f"  at step {step:,}", f"{rate:.6g}"))
    else:
        rows.append(("learning rate", "told by its schedules as they go" if plan.steps_per_epoch else UNKNOWN))
    return rows
