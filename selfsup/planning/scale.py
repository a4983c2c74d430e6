"""What a config takes on many processes, before any of them is paid for: memory, exchanges, checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from selfsup.config.batch import effective_batch
from selfsup.config.recipe import Recipe
from selfsup.config.signatures import signature_of
from selfsup.errors import ConfigError
from selfsup.ops.cost import multiply_adds
from selfsup.ops.precision import Precision
from selfsup.planning.describe import count_parameters, view_sizes
from selfsup.planning.memory import Trace, backbone_activations, footprints, step_trace
from selfsup.planning.sizes import shown_size
from selfsup.planning.trial import build_on_meta
from selfsup.planning.ways import ROOM, Sizes, Way, gathered_blocks
from selfsup.registry import BACKBONES

PER_MACHINE = 8
"""Processes of a machine, unless a plan says otherwise."""
ALL_STAGES = (1, 2, 3, 4)


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
    sizes = Sizes.of(method, recipe)
    if sizes.optimizer is None:
        notes.append("the state of this optimizer is not known, nor what depends on it")
    own = _stages(recipe)
    choices = [own] if own is None else list(dict.fromkeys([own, (), ALL_STAGES]))
    batch = recipe.train_dataloader.batch_size
    ways, exchanged = [], dict[int, int]()
    splits = _splits(recipe, processes, per_machine)
    for stages in choices:
        step = footprints(partial(_run, recipe, stages, views, precision))
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
    step = footprints(partial(_run, recipe, stages, views, precision))
    split = _own_split(recipe, processes)
    sizes = Sizes.of(build_on_meta(recipe), recipe)
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


def _splits(recipe: Recipe, processes: int, per_machine: int) -> list[int]:
    """Over how many processes the method may be split, the config's own first: not, a machine's, all."""
    own = _own_split(recipe, processes)
    machine = [per_machine] if 1 < per_machine < processes and processes % per_machine == 0 else []
    return list(dict.fromkeys([own, 1, *machine, processes]))


def _own_split(recipe: Recipe, processes: int) -> int:
    return 1 if recipe.sharding is None or processes == 1 else processes // recipe.sharding.copies


def _run(
    recipe: Recipe, stages: tuple[int, ...] | None, views: Sequence[tuple[int, int]], precision: Precision, batch: int
) -> Trace:
    method = build_on_meta(recipe if stages is None else _with_stages(recipe, stages))
    method.channels_last = recipe.channels_last  # type: ignore[assignment]
    return step_trace(method, views, batch, precision, watched=gathered_blocks(method, recipe))


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


def _advice(ways: Sequence[Way], recipe: Recipe, memory: float, processes: int) -> list[str]:
    if not ways or ways[0].total is None:
        return ["whether it fits: unknown"]
    first = ways[0]
    assert first.total is not None and first.largest_batch is not None
    room = f"{shown_size(ROOM * memory)} of {shown_size(memory)}, the rest being for what no plan knows"
    if first.total <= ROOM * memory:
        return [
            f"fits as it is: {shown_size(first.total)} of {room}; up to {first.largest_batch} images per process would"
        ]
    notes = [f"does not fit as it is: {shown_size(first.total)}, and there are {room}"]
    for way in ways[1:]:
        if way.total is not None and way.total <= ROOM * memory:
            notes.append(f"fits with {_described(way, processes)}: {shown_size(way.total)}")
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
