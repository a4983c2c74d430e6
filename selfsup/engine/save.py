"""A run's state as a checkpoint, and back; the backbone that it leaves at its end."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch import Tensor, nn

from selfsup.config import Recipe, batch_parts
from selfsup.engine.work_dir import archive_file
from selfsup.methods.base import Method
from selfsup.ops.dist import broadcast_object, gather_objects_on_main, is_main, rank, world_size
from selfsup.ops.parts import class_name, whole_state
from selfsup.ops.random_state import random_state, set_random_state
from selfsup.weights.checkpoint import EXPORTED, Checkpoint
from selfsup.weights.digest import fingerprint
from selfsup.weights.write import write_weights


@dataclass(frozen=True)
class Stateful:
    """The parts of a run that change in training.

    Args:
        method: what is trained, without what wraps it.
        optim_wrapper: its optimizer.
        schedules: of the optimizer's options.
        device: where the run trains.
    """

    method: Method
    optim_wrapper: Any
    schedules: list[_ParamScheduler]
    device: torch.device


def identity_of(parts: Stateful, recipe: Recipe, *, num_images: int) -> dict[str, Any]:
    """What a run is compared by with the checkpoint that it is to resume from."""
    return {
        "images": num_images,
        "seed": recipe.seed,
        "batch": list(batch_parts(recipe, world_size())),
        "optimizer": type(parts.optim_wrapper.optimizer).__name__,
        "schedulers": [type(schedule).__name__ for schedule in parts.schedules],
        "precision": getattr(parts.optim_wrapper, "precision", None),
    }


def collect(parts: Stateful, *, step: int, **facts: Any) -> Checkpoint | None:
    """All that a run needs to resume after ``step`` updates, on the main process; called by every one.

    Args:
        parts: whose state is saved.
        step: updates done.
        facts: other fields of the checkpoint.
    """
    ranks = gather_rank_states(parts.method, parts.device)
    weights = whole_state(dict(parts.method.state_dict()))
    optimizer = whole_state(parts.optim_wrapper.state_dict())
    if not is_main():
        return None
    return Checkpoint(
        step=step,
        method=class_name(parts.method),
        model=weights,
        optim_wrapper=optimizer,
        schedules=[_values_of(schedule) for schedule in parts.schedules],
        ranks=ranks,
        **facts,
    )


def _values_of(schedule: _ParamScheduler) -> dict[str, Any]:
    """A schedule's state without functions: OneCycleLR keeps one, and a file that holds code is never loaded."""
    return {name: value for name, value in schedule.state_dict().items() if not callable(value)}


def gather_rank_states(method: nn.Module, device: torch.device) -> list[dict[str, Any]] | None:
    """What each process has of its own, in process 0, None elsewhere: random states, and buffers that differ from its.

    Queues and unsynchronized running statistics differ between processes; parameters do not.
    """
    buffers = dict(method.named_buffers())
    reference = broadcast_object(
        {name: fingerprint({"": buffer}) for name, buffer in buffers.items()} if world_size() > 1 else {}
    )
    own: dict[str, Tensor] = {}
    if rank() > 0:
        own = {name: b.detach().cpu() for name, b in buffers.items() if fingerprint({"": b}) != reference.get(name)}
    return gather_objects_on_main({"random": random_state(device), "buffers": own})


def restore_rank_state(states: list[dict[str, Any]], method: nn.Module, device: torch.device) -> bool:
    """Restore what this process had of its own.

    Returns:
        False if the run had another number of processes, so that nothing was this one's own.
    """
    if len(states) != world_size():
        return False
    own = states[rank()]
    buffers = dict(method.named_buffers())
    with torch.no_grad():
        for name, value in own["buffers"].items():
            buffers[name].copy_(value)
    set_random_state(own["random"], device)
    return True


def export_backbone(backbone: nn.Module, work_dir: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the backbone's weights alone, as safetensors where that package is installed, else as a state dict.

    What an earlier end of the run has left in the other of the two forms is archived: it has lost its card.

    The main process writes; where the weights are split over the processes, all must call this.

    Args:
        backbone: whose weights.
        work_dir: the folder to write into.
        card: what the weights belong to, written beside them, see :mod:`selfsup.weights.card`.

    Returns:
        The file: ``backbone.safetensors`` or ``backbone.pth``.

    Raises:
        CheckpointError: if it cannot be written.
    """
    chosen, other = EXPORTED if importlib.util.find_spec("safetensors") is not None else reversed(EXPORTED)
    path = Path(work_dir, chosen)
    weights = whole_state(dict(backbone.state_dict()))
    if is_main():
        write_weights(weights, path, card)
        archive_file(Path(work_dir, other))
    return path
