"""What a config will do, without data and without memory for its weights: the plan behind ``--dry-run``."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from selfsup.config.batch import batch_parts, differences, effective_batch, recipe_batch, recipe_micro_batch
from selfsup.config.recipe import Recipe
from selfsup.data.views.sides import view_sides
from selfsup.engine.beforehand import said_beforehand
from selfsup.errors import ConfigError, under
from selfsup.planning.trial import build_on_meta, lone_optimizer, try_out, try_schedule
from selfsup.registry import TRANSFORMS

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
        steps: optimizer updates, None if they depend on an unknown data set.
        steps_per_epoch: optimizer updates in one pass over the data.
        batch: images per process and micro-batch, processes, micro-batches per update.
        recipe_batch: images per update that the learning rates belong to.
        rates: (step, learning rate) at evenly spread steps, empty if unknown.
        other_options: the same of every other option that a schedule moves, by its name.
        precision: of the forward pass.
        notes: how the run differs from its recipe.
        beforehand: what a run says itself before its first step, as far as it is known without data.
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
    other_options: dict[str, tuple[tuple[int, float], ...]]
    precision: str
    notes: tuple[str, ...]
    beforehand: tuple[str, ...]

    @property
    def effective_batch(self) -> int:
        """Images per optimizer update."""
        return int(np.prod(self.batch))

    @property
    def images_seen(self) -> int | None:
        """Images over the whole run, counted once per epoch."""
        return None if self.steps is None else self.steps * self.effective_batch


def describe(
    recipe: Recipe | Mapping[str, Any],
    *,
    processes: int = 1,
    scaled_from: Recipe | None = None,
    original: Recipe | None = None,
    multiply_adds: Callable[[nn.Module, int], int] | None = None,
    fast_precision: str | None = None,
) -> Plan:
    """Work out what a recipe will do; builds all but data sets, on the meta device, and opens no data.

    Args:
        recipe: of the run.
        processes: how many will take part.
        scaled_from: the recipe before its learning rates were scaled, for the notes.
        original: the recipe as its file has it, for the notes, where options have changed it.
        multiply_adds: counts a backbone's multiply-adds for one square image of a size; None leaves them out.
        fast_precision: what ``precision='auto'`` stands for on this machine; None leaves that open.

    Raises:
        ConfigError: listing everything that components reject, or that this many processes cannot do.
    """
    recipe = Recipe.of(recipe)
    method, problems = try_out(recipe, processes=processes)
    if method is None or problems:
        raise ConfigError(*problems)
    views = view_sizes(recipe.train_dataloader.views)
    num_images, epochs = recipe.train_dataloader.num_images, recipe.train_cfg.max_epochs
    per_epoch = num_images // effective_batch(recipe, processes) if num_images else None
    steps = recipe.train_cfg.max_steps or (epochs * per_epoch if epochs and per_epoch else None)
    curve = rate_curve(recipe, steps=steps, steps_per_epoch=per_epoch) if steps else None
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
        batch=batch_parts(recipe, processes),
        recipe_batch=recipe_batch(scaled_from or recipe),
        rates=learning_rates(curve, steps) if steps and curve else (),
        other_options=_other_curves(recipe, steps, per_epoch) if steps else {},
        precision=_precision(recipe, fast_precision),
        notes=(
            *differences(recipe, processes, scaled_from=scaled_from),
            *_shared_batch_norm(method, recipe),
            *_advice(method, recipe, original or scaled_from or recipe, processes),
        ),
        beforehand=tuple(
            said_beforehand(recipe, method, num_images=num_images, steps=steps, steps_per_epoch=per_epoch)
        ),
    )


def _precision(recipe: Recipe, fast: str | None) -> str:
    stated = recipe.optim_wrapper.get("precision", "auto")
    return f"auto: {fast} here" if stated == "auto" and fast is not None else stated


def _shared_batch_norm(method: nn.Module, recipe: Recipe) -> list[str]:
    """Batch norm over processes where the method is made for that of each one."""
    if recipe.sync_bn in (None, 1) or not getattr(method, "own_batch_norm", False):
        return []
    return [f"sync_bn: in {type(method).__name__} batch norm is meant to be each process's own; leave sync_bn unset"]


def _advice(method: nn.Module, recipe: Recipe, original: Recipe, processes: int) -> Sequence[str]:
    """What the method itself has to say about a batch, unless the recipe it follows does the same."""
    advice: Any = getattr(method, "advice", None)
    if not callable(advice):
        return ()
    example = None
    if (batch := recipe_micro_batch(original)) is not None:
        example = (method if original.model == recipe.model else build_on_meta(original), batch)
    return advice(recipe.train_dataloader.batch_size * processes, recipe=example)


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
        ConfigError: if the pipeline rejects its arguments.
    """
    with under("train_dataloader.views"):
        sides = view_sides(TRANSFORMS.build(views))
    return None if sides is None else tuple(sorted(Counter(sides).items(), reverse=True))


def rate_curve(
    recipe: Recipe, *, steps: int, steps_per_epoch: int | None, option: str = "lr"
) -> Callable[[int], float] | None:
    """The learning rate of parameters in no special group as a function of the step, by the schedule's closed form.

    Args:
        recipe: of the run.
        steps: optimizer updates of the whole run.
        steps_per_epoch: optimizer updates in one pass over the data, None if unknown.
        option: another option of the optimizer, such as ``'weight_decay'``.

    Returns:
        None if several schedules move it, one has no closed form (``value(step, base)``), or it counts in epochs
        whose length is not known.

    Raises:
        ConfigError: if optimizer or schedule reject their arguments.
    """
    length = {"steps": steps, "steps_per_epoch": steps_per_epoch or steps}
    built = [(given, try_schedule(recipe, given, **length)) for given in recipe.schedules.values()]
    schedules = [given for given, schedule in built if schedule.param_name == option]
    moving = [schedule for _, schedule in built if schedule.param_name == option]
    counts_epochs = any("epoch" in name for schedule in schedules for name in schedule)
    if len(schedules) > 1 or (steps_per_epoch is None and counts_epochs):
        return None
    base = lone_optimizer(recipe).defaults[option]
    if not moving:
        return lambda step: base
    return (lambda step: float(moving[0].value(step, base))) if hasattr(moving[0], "value") else None


def _other_curves(recipe: Recipe, steps: int, per_epoch: int | None) -> dict[str, tuple[tuple[int, float], ...]]:
    """(step, value) of every scheduled option but the learning rate, where it is known."""
    names = {str(given["param_name"]) for given in recipe.schedules.values() if given.get("param_name", "lr") != "lr"}
    curves = {name: rate_curve(recipe, steps=steps, steps_per_epoch=per_epoch, option=name) for name in sorted(names)}
    return {name: learning_rates(curve, steps) for name, curve in curves.items() if curve is not None}


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
    print_notes([*plan.notes, *plan.beforehand], console)


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
    for name, points in plan.other_options.items():
        rows.append((name, sparkline([value for _, value in points])))
        rows += [(f"  at step {step:,}", f"{value:.6g}") for step, value in (points[0], points[-1])]
    return rows
