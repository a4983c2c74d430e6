"""What a config will do, without data and without memory for its weights: the plan behind ``--dry-run``."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import nn

from selfsup.config.batch import batch_parts, differences, effective_batch, recipe_batch
from selfsup.config.recipe import Recipe
from selfsup.data.views.sides import view_sides
from selfsup.engine.beforehand import said_beforehand
from selfsup.errors import ConfigError, under
from selfsup.planning.groups import parameter_rows
from selfsup.planning.trial import build_on_meta, lone_optimizer, try_out, try_schedule
from selfsup.registry import TRANSFORMS

UNKNOWN = "unknown until the data is read"
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do; None and empty where only the data can tell."""

    parameters: dict[str, int]  # of each part of the method, and ``'total'``
    views: tuple[tuple[int, int], ...] | None  # side in pixels and how many of them, of the views of one image
    multiply_adds: int | None  # of the backbone's forward pass over all views of one image
    num_images: int | None
    steps: int | None  # optimizer updates
    steps_per_epoch: int | None
    batch: tuple[int, int, int]  # images per process and micro-batch, processes, micro-batches per update
    recipe_batch: int | None  # images per update that the learning rates belong to
    rates: tuple[tuple[int, float], ...]  # (step, learning rate) at evenly spread steps
    other_options: dict[str, tuple[tuple[int, float], ...]]  # the same of others that a schedule moves, by name
    groups: tuple[tuple[str, str], ...]  # which parameters decay, which do not, which are frozen
    precision: str  # of the forward pass
    notes: tuple[str, ...]  # how the run differs from its recipe
    beforehand: tuple[str, ...]  # what a run says itself before its first step, as far as it is known without data

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
        original: the recipe as its file has it, for the notes.
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
    cost, precision = None, recipe.precision
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
        groups=tuple(parameter_rows(method, recipe)),
        precision=f"auto: {fast_precision} here" if precision == "auto" and fast_precision else precision,
        notes=(
            *differences(recipe, processes, scaled_from=scaled_from),
            *_shared_batch_norm(method, recipe),
            *_advice(method, recipe, original or scaled_from or recipe, processes),
        ),
        beforehand=tuple(
            said_beforehand(recipe, method, num_images=num_images, steps=steps, steps_per_epoch=per_epoch)
        ),
    )


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
    if (batch := recipe_batch(original)) is not None:
        like = method if original.model == recipe.model else build_on_meta(original)
        example = (like, max(1, batch // original.accumulate))
    return advice(recipe.train_dataloader.batch_size * processes, recipe=example)


def count_parameters(method: nn.Module) -> dict[str, int]:
    """Parameters of each direct part of a method that has any, and their total, shared ones counted once."""
    parts = {**dict(method.named_children()), "total": method}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    return {name: count for name, count in counts.items() if count}


def view_sizes(views: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """(side in pixels, how many) of the views of one image, largest first, tried out on a blank image."""
    with under("train_dataloader.views"):
        sides = view_sides(TRANSFORMS.build(views))
    return None if sides is None else tuple(sorted(Counter(sides).items(), reverse=True))


def rate_curve(
    recipe: Recipe, *, steps: int, steps_per_epoch: int | None, option: str = "lr"
) -> Callable[[int], float] | None:
    """The learning rate, or another ``option``, as a function of the step, by the schedule's ``value(step, base)``.

    None if several schedules move it, one has no such closed form, or it counts in epochs of unknown length.
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
    spread = sorted({round(i * (steps - 1) / (points - 1)) for i in range(points)})
    highest = spread.index(max(spread, key=curve))  # the peak lies between its neighbors
    between = range(spread[max(highest - 1, 0)], spread[min(highest + 1, len(spread) - 1)] + 1)
    return tuple((step, curve(step)) for step in sorted({*spread, max(between, key=curve)}))


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
    if not plan.rates:
        rows.append(("learning rate", "told by its schedules as they go" if plan.steps_per_epoch else UNKNOWN))
    rows += plan.groups
    for name, points in {"learning rate": plan.rates, **plan.other_options}.items():
        values = [value for _, value in points]
        if values:
            rows.append((name, sparkline(values)))
        for index in sorted({0, int(np.argmax(values)), len(values) // 2, len(values) - 1}) if values else ():
            rows.append((f"  at step {points[index][0]:,}", f"{values[index]:.6g}"))
    return rows
