"""What a config takes on many processes, before any of them is paid for: memory, exchanges, checkpoints."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from selfsup.config.batch import effective_batch
from selfsup.config.recipe import Recipe, Sharding
from selfsup.config.signatures import signature_of
from selfsup.engine.distributed import blocks
from selfsup.errors import ConfigError
from selfsup.ops.cost import multiply_adds
from selfsup.ops.precision import Precision
from selfsup.planning.describe import count_parameters, view_sizes
from selfsup.planning.memory import Footprint, backbone_activations, step_footprint
from selfsup.planning.trial import build_on_meta, lone_optimizer
from selfsup.registry import BACKBONES

ROOM = 0.9
"""Share of a device's memory that tensors may fill: the rest is for the context, workspaces and gaps between tensors,
of which nothing is known beforehand."""
PER_MACHINE = 8
"""Processes of a machine, unless a plan says otherwise."""
_TRIES = 5  # of batches, each a step
_CLOSE = 0.02  # of the images that fit: so few more are not looked for
ALL_STAGES = (1, 2, 3, 4)
FLOAT32 = 4

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"([\d.]+(?:e\d+)?)\s*([kmgt]i?)?(b|bytes?|bit|bits)?(/s)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train the config, and the memory of each process, in bytes.

    Args:
        checkpoint_stages: stages of the backbone whose activations are computed again.
        split: over how many processes parameters, gradients and the optimizer's state are split; 1 for not at all. With
            fewer than all there are several copies.
        parts: bytes by what they are for; None for what is not known.
        batch_size: the images per process and micro-batch that this is for.
        largest_batch: the most that fit; 0 if not one does, None if that is not known.
    """

    checkpoint_stages: tuple[int, ...]
    split: int
    parts: dict[str, int | None]
    batch_size: int
    largest_batch: int | None

    @property
    def total(self) -> int | None:
        """Bytes of all parts; None if one is not known."""
        known = [size for size in self.parts.values() if size is not None]
        return sum(known) if len(known) == len(self.parts) else None


@dataclass(frozen=True, kw_only=True)
class ScalePlan:
    """What a config takes; sizes in bytes, None for what is not known.

    Args:
        processes: how many take part.
        parameters: of each part of the method, and ``'total'``.
        multiply_adds: of the backbone's forward pass over all views of one image.
        images: per update; ``steps`` updates, ``epochs`` passes over the data.
        precision: of the forward pass.
        activations: what the backbone keeps of a process's images, by checkpointed stages and side of the views.
        ways: the config's own first.
        exchanged: bytes that each process sends for one update, by over how many the method is split.
        checkpoint: bytes of a checkpoint.
        notes: what would fit, and what is not known.
    """

    processes: int
    parameters: dict[str, int]
    multiply_adds: int | None
    images: int
    steps: int | None
    epochs: float | None
    precision: Precision
    activations: dict[tuple[int, ...], dict[int, int]]
    ways: tuple[Way, ...]
    exchanged: dict[int, int]
    checkpoint: int | None
    notes: tuple[str, ...]


def plan_scale(
    recipe: Recipe, *, processes: int, memory: float | None = None, per_machine: int = PER_MACHINE
) -> ScalePlan:
    """Work out what a config takes on some processes; no weights are made and no data opened.

    Args:
        recipe: of the run.
        processes: how many take part, one for each device.
        memory: of a device, in bytes; None leaves out what fits.
        per_machine: processes that hold a copy together where there are several copies.

    Raises:
        ConfigError: if a component rejects its arguments, or the views are known only once there is an image.
    """
    views = view_sizes(recipe.train_dataloader.views)
    if views is None:
        raise ConfigError.at(
            "train_dataloader.views", "give views whose size depends on the image: nothing can be said"
        )
    given = recipe.precision
    precision: Precision = "bf16" if given == "auto" else given
    notes = ["precision: auto is taken as bf16, as on GPUs from compute capability 8.0 on"] if given == "auto" else []
    method = build_on_meta(recipe)
    sizes = _Sizes.of(method, recipe)
    if sizes.optimizer is None:
        notes.append("the state of this optimizer is not known, nor what depends on it")
    own = _stages(recipe)
    choices = [own] if own is None else list(dict.fromkeys([own, (), ALL_STAGES]))
    batch = recipe.train_dataloader.batch_size
    ways, exchanged = [], dict[int, int]()
    splits = _splits(recipe, processes, per_machine)
    for stages in choices:
        step = cache(partial(_run, recipe, stages, views, precision))
        known = dict[int, int]()
        try:
            calls = step(batch).calls
            for split in splits:
                if processes > 1 and split not in exchanged:
                    exchanged[split] = sizes.exchanged(calls, split, processes, recipe.accumulate)
                arguments: dict[str, Any] = {"split": split, "processes": processes, "memory": memory, "known": known}
                ways.append(sizes.way(stages or (), step, batch, **arguments))
        except (RuntimeError, NotImplementedError) as error:
            notes.append(f"activations: unknown, for the method looks at values ({str(error).splitlines()[0][:100]})")
            break
    activations = {} if own is None else _activations(recipe, own, views, batch, precision)
    update, num_images = effective_batch(recipe, processes), recipe.train_dataloader.num_images
    per_epoch = num_images // update if num_images else None
    epochs = recipe.train_cfg.max_epochs
    steps = recipe.train_cfg.max_steps or (epochs * per_epoch if epochs and per_epoch else None)
    backbone = method.get_submodule("backbone")
    return ScalePlan(
        processes=processes,
        parameters=count_parameters(method),
        multiply_adds=sum([count * multiply_adds(backbone, size) for size, count in views]),
        images=update,
        steps=steps,
        epochs=steps / per_epoch if steps and per_epoch else None,
        precision=precision,
        activations=activations,
        ways=tuple(ways),
        exchanged=exchanged,
        checkpoint=None if sizes.optimizer is None else sizes.weights + sizes.buffers + sizes.optimizer,
        notes=(*notes, *(_advice(ways, recipe, memory, processes) if memory is not None else ())),
    )


def largest_batch(recipe: Recipe, *, processes: int, memory: float, precision: Precision) -> int | None:
    """The most images per process and micro-batch that fit as the config is; None where that cannot be told.

    Of a method that looks at values, which nothing can be run through without contents, the backbone alone is counted.

    Args:
        recipe: of the run.
        processes: how many take part.
        memory: of a device, in bytes.
        precision: of the forward pass.
    """
    views = view_sizes(recipe.train_dataloader.views)
    if views is None:
        return None
    stages, batch = _stages(recipe), recipe.train_dataloader.batch_size
    step = cache(partial(_run, recipe, stages, views, precision))
    split = _own_split(recipe, processes)
    sizes = _Sizes.of(build_on_meta(recipe), recipe)
    try:
        way = sizes.way(stages or (), step, batch, split=split, processes=processes, memory=memory, known={})
    except (RuntimeError, NotImplementedError):
        pass
    else:
        return way.largest_batch
    try:
        each = 0
        for size, count in views:
            with torch.device("meta"):
                backbone = BACKBONES.build(dict(recipe.model["backbone"]))
            each += backbone_activations(backbone, size, 2 * count, precision) // 2  # batch norm needs two
    except (RuntimeError, NotImplementedError):
        return None
    weights = (sizes.weights + sizes.gradients + (sizes.optimizer or 0)) // split
    return max(0, int((ROOM * memory - weights - sizes.buffers) // max(each, 1)))


@dataclass(frozen=True)
class _Sizes:
    """Bytes of a method's tensors in one process that holds all of them."""

    weights: int
    gradients: int
    optimizer: int | None
    buffers: int
    blocks: tuple[tuple[int, bool], ...]  # what is gathered at a time: its weights, and whether they are trained

    @classmethod
    def of(cls, method: nn.Module, recipe: Recipe) -> "_Sizes":
        trained = sum(FLOAT32 * p.numel() for p in method.parameters() if p.requires_grad)
        copies = _state_per_parameter(recipe)
        return cls(
            weights=sum(p.numel() * p.element_size() for p in method.parameters()),
            gradients=trained,
            optimizer=None if copies is None else copies * trained,
            buffers=sum(b.numel() * b.element_size() for b in method.buffers()),
            blocks=tuple((_bytes(part), _trained(part)) for part in _blocks(method, recipe)),
        )

    def exchanged(self, calls: Sequence[int], split: int, processes: int, accumulate: int) -> int:
        """What each process sends for one update, by the ring algorithms of NCCL and gloo."""
        copies = processes // split
        between = 2 * (copies - 1) / copies * self.gradients / split  # once an update
        if split == 1:
            return round(between)
        rest = self.weights - sum(size for size, _ in self.blocks)
        gathered = 3 * rest  # there, back, and its gradients
        for (size, trained), count in zip(self.blocks, calls, strict=True):
            gathered += count * size * (3 if trained else 1)
        return round((split - 1) / split * accumulate * gathered + between)

    def way(
        self,
        stages: tuple[int, ...],
        step: Callable[[int], Footprint],
        batch: int,
        *,
        split: int,
        processes: int,
        memory: float | None,
        known: dict[int, int],
    ) -> Way:
        """Memory in one way of training, from what a step with a number of images takes."""
        parts: dict[str, int | None]
        if split > 1:
            largest = max((size for size, _ in self.blocks), default=0)
            rest = self.weights - sum(size for size, _ in self.blocks)
            parts = {
                "parameters": self.weights // split,
                "gradients": self.gradients // split,
                "optimizer": None if self.optimizer is None else self.optimizer // split,
                "gathered": 3 * largest + 2 * rest,  # a block, the next one, and gradients; what is in none of them
            }
        else:
            parts = {"parameters": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}
        alone = processes == 1  # gradients arise as activations go; DistributedDataParallel has room for all of them

        def peak(images: int) -> int:
            found = step(images)
            return max(found.kept, found.peak_with_gradients - self.gradients) if alone else found.peak

        parts |= {"buffers": self.buffers, "activations": peak(batch)}
        fits = None
        others = [size for name, size in parts.items() if name != "activations"]
        if memory is not None and None not in others:
            fits = _largest(peak, ROOM * memory - sum(size for size in others if size is not None), known, batch)
        return Way(checkpoint_stages=stages, split=split, parts=parts, batch_size=batch, largest_batch=fits)


def _splits(recipe: Recipe, processes: int, per_machine: int) -> list[int]:
    """Over how many processes the method may be split, the config's own first: not, a machine's, all."""
    own = _own_split(recipe, processes)
    machine = [per_machine] if 1 < per_machine < processes and processes % per_machine == 0 else []
    return list(dict.fromkeys([own, 1, *machine, processes]))


def _own_split(recipe: Recipe, processes: int) -> int:
    return 1 if recipe.sharding is None or processes == 1 else processes // recipe.sharding.copies


def _largest(peak: Callable[[int], int], room: float, known: dict[int, int], batch: int) -> int:
    """The most images of which a step was seen to fit; within a few of a hundred the most that do.

    Args:
        peak: of a step with so many images, in bytes.
        room: for it.
        known: peaks that were worked out already, by the number of images; more are added.
        batch: where to begin.
    """
    for images in (batch, 2 * batch):
        known.setdefault(images, peak(images))
    for _ in range(_TRIES):
        low = max((images for images, size in known.items() if size <= room), default=0)
        above = [images for images in known if images > low]
        below = sorted(images for images in known if images <= low)
        high = min(above) if above else below[-2]  # beyond all of them by the line through the last two
        at_low, at_high = known.get(low, 0), known[high]
        slope = max((at_high - at_low) / (high - low), 1)
        guess = int(low + (room - at_low) / slope)
        guess = min(guess, high - 1) if above else guess
        if guess in known or guess - low <= _CLOSE * low:
            return low
        known[guess] = peak(guess)
    return max((images for images, size in known.items() if size <= room), default=0)


def _run(
    recipe: Recipe, stages: tuple[int, ...] | None, views: Sequence[tuple[int, int]], precision: Precision, batch: int
) -> Footprint:
    method = build_on_meta(recipe if stages is None else _with_stages(recipe, stages))
    method.channels_last = recipe.channels_last  # type: ignore[assignment]
    return step_footprint(method, views, batch, precision, watched=_blocks(method, recipe))


def _activations(
    recipe: Recipe, own: tuple[int, ...], views: Sequence[tuple[int, int]], batch: int, precision: Precision
) -> dict[tuple[int, ...], dict[int, int]]:
    found = dict[tuple[int, ...], dict[int, int]]()
    for stages in dict.fromkeys([*(ALL_STAGES[:number] for number in range(len(ALL_STAGES) + 1)), own]):
        found[stages] = {}
        for size, count in views:
            with torch.device("meta"):
                backbone = BACKBONES.build({**recipe.model["backbone"], "checkpoint_stages": stages})
            found[stages][size] = backbone_activations(backbone, size, count * batch, precision)
    return found


def _stages(recipe: Recipe) -> tuple[int, ...] | None:
    """The stages that a config checkpoints; None for a backbone that has no such choice."""
    backbone = recipe.model.get("backbone")
    if not isinstance(backbone, dict):
        return None
    if "checkpoint_stages" not in signature_of(BACKBONES.find(backbone["type"])).arguments:
        return None
    return tuple(sorted(backbone.get("checkpoint_stages") or ()))


def _with_stages(recipe: Recipe, stages: tuple[int, ...]) -> Recipe:
    backbone = {**recipe.model["backbone"], "checkpoint_stages": stages}
    return replace(recipe, model={**recipe.model, "backbone": backbone})


def _blocks(method: nn.Module, recipe: Recipe) -> list[nn.Module]:
    return blocks(method, (recipe.sharding or Sharding()).min_parameters)


def _bytes(part: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in part.parameters())


def _trained(part: nn.Module) -> bool:
    return any(p.requires_grad for p in part.parameters())


def _state_per_parameter(recipe: Recipe) -> int | None:
    """How many numbers the optimizer keeps of each, found by one update of one; None if it cannot be made."""
    try:
        optimizer: Any = lone_optimizer(recipe)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    except (RuntimeError, TypeError, ValueError):
        return None
    kept = [value for state in optimizer.state.values() for value in state.values()]
    return sum(isinstance(value, torch.Tensor) and value.shape == (1,) for value in kept)


def _advice(ways: Sequence[Way], recipe: Recipe, memory: float, processes: int) -> list[str]:
    if not ways or ways[0].total is None:
        return ["whether it fits: unknown"]
    first = ways[0]
    assert first.total is not None and first.largest_batch is not None
    room = f"{_shown(ROOM * memory)} of {_shown(memory)}, the rest being for what no plan knows"
    if first.total <= ROOM * memory:
        return [f"fits as it is: {_shown(first.total)} of {room}; up to {first.largest_batch} images per process would"]
    notes = [f"does not fit as it is: {_shown(first.total)}, and there are {room}"]
    for way in ways[1:]:
        if way.total is not None and way.total <= ROOM * memory:
            notes.append(f"fits with {_described(way, processes)}: {_shown(way.total)}")
    batch = recipe.train_dataloader.batch_size
    best = max(ways, key=lambda way: way.largest_batch or 0)
    if len(notes) == 1 and best.largest_batch:
        micro = -(-batch // best.largest_batch)
        notes.append(
            f"fits with {_described(best, processes)}, train_dataloader.batch_size={-(-batch // micro)} and {micro} "
            "times as many optim_wrapper.accumulative_counts"
        )
    elif len(notes) == 1:
        notes.append("not one image fits in any of these ways: more processes, or more memory")
    return notes


def _described(way: Way, processes: int) -> str:
    copies = processes // way.split
    sharding = f"sharding={{'copies': {copies}}}" if copies > 1 else "sharding={}"
    stages = f"model.backbone.checkpoint_stages={list(way.checkpoint_stages)}"
    return f"{stages} and {sharding if way.split > 1 else 'without sharding'}"


def parse_size(text: str, path: str) -> float:
    """Bytes, or bytes a second, of words such as ``80GiB``, ``25GB/s`` and ``200Gbit/s``.

    Raises:
        ConfigError: if they are none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or not (number := float(found[1])) > 0:
        raise ConfigError.at(path, "must be a size such as 80GiB or 25GB/s", got=text)
    bits = 8 if (found[3] or "").lower().startswith("bit") else 1
    return number * _UNITS[(found[2] or "").lower()] / bits


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
    run.add_row("checkpoint", "unknown" if plan.checkpoint is None else _shown(plan.checkpoint))
    for split, sent in plan.exchanged.items():
        time = "" if bandwidth is None else f", {sent / bandwidth:.3g} s if nothing overlaps"
        run.add_row(f"sent per update, {_split_name(split, plan.processes)}", f"{_shown(sent)}{time}")
    run.add_row("time of a step", "unknown: a run measures it")
    console.print(run)
    if plan.activations:
        sides = sorted({side for sizes in plan.activations.values() for side in sizes}, reverse=True)
        table = Table("stages again", *(f"{side} px" for side in sides), title="activations of the backbone")
        for stages, sizes in plan.activations.items():
            table.add_row(_stage_names(stages), *(_shown(sizes[side]) for side in sides))
        console.print(table)
    if plan.ways:
        names = list(dict.fromkeys(name for way in plan.ways for name in way.parts))
        table = Table("stages again", "split", *names, "total", "fit", title="memory of a process", padding=0)
        for way in plan.ways:
            bytes_of = [_shown(way.parts[name]) if name in way.parts else "" for name in names]
            batch = "" if way.largest_batch is None else str(way.largest_batch)
            name = _split_name(way.split, plan.processes)
            table.add_row(_stage_names(way.checkpoint_stages), name, *bytes_of, _shown(way.total), batch)
        console.print(table)
    for note in plan.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _split_name(split: int, processes: int) -> str:
    if split == 1:
        return "DDP" if processes > 1 else "no"
    return "FSDP" if split == processes else f"HSDP, {split}"


def _stage_names(stages: Sequence[int]) -> str:
    return ",".join(map(str, stages)) or "none"


def _shown(size: float | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"
