"""A plan for many processes, shown as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from selfsup.planning.describe import print_notes
from selfsup.planning.scale import ScalePlan
from selfsup.planning.sizes import shown_size


def print_scale(plan: ScalePlan, console: Console, *, bandwidth: float | None = None) -> None:
    """Show a plan as tables.

    Args:
        plan: what to show.
        console: where.
        bandwidth: bytes a second that each process can send; None leaves times out.

    "Stages again" are those whose activations are computed again in the backward pass; "HSDP, 8" holds a copy on
    every 8 processes; "fit" is the images per process.
    """
    run = Table(show_header=False, title="run", title_justify="left")
    run.add_row("processes", f"{plan.processes:,}")
    run.add_row("images per update", f"{plan.images:,}")
    run.add_row("steps", "unknown until the data is read" if plan.steps is None else f"{plan.steps:,}")
    run.add_row("epochs", "unknown until the data is read" if plan.epochs is None else f"{plan.epochs:.4g}")
    for name, count in plan.parameters.items():
        run.add_row(f"parameters, {name}", f"{count:,}")
    if plan.multiply_adds is not None:
        run.add_row("multiply-adds of an image", f"{plan.multiply_adds:.4g} forward, all views")
    run.add_row("precision", plan.precision)
    run.add_row("checkpoint", "unknown" if plan.checkpoint is None else shown_size(plan.checkpoint))
    for split, sent in plan.exchanged.items():
        time = "" if bandwidth is None else f", {sent / bandwidth:.3g} s if nothing overlaps"
        run.add_row(f"sent per update, {_split_name(split, plan.processes)}", f"{shown_size(sent)}{time}")
    run.add_row("time of a step", "unknown: a run measures it")
    console.print(run)
    if plan.activations:
        sides = sorted({side for sizes in plan.activations.values() for side in sizes}, reverse=True)
        table = Table("stages again", *(f"{side} px" for side in sides), title="activations of the backbone")
        for stages, sizes in plan.activations.items():
            table.add_row(_stage_names(stages), *(shown_size(sizes[side]) for side in sides))
        console.print(table)
    if plan.ways:
        names = list(dict.fromkeys(name for way in plan.ways for name in way.parts))
        table = Table("stages again", "split", *names, "total", "fit", title="memory of a process", padding=0)
        for way in plan.ways:
            bytes_of = [shown_size(way.parts[name]) if name in way.parts else "" for name in names]
            batch = "" if way.largest_batch is None else str(way.largest_batch)
            name = _split_name(way.split, plan.processes)
            table.add_row(_stage_names(way.checkpoint_stages), name, *bytes_of, shown_size(way.total), batch)
        console.print(table)
    print_notes(plan.notes, console)


def _split_name(split: int, processes: int) -> str:
    if split == 1:
        return "DDP" if processes > 1 else "no"
    return "FSDP" if split == processes else f"HSDP, {split}"


def _stage_names(stages: Sequence[int]) -> str:
    return ",".join(map(str, stages)) or "none"
