"""A run's state as a checkpoint, and back; the backbone that it leaves at its end, and the card of that."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.config import Recipe, batch_parts, plain
from selfsup.engine.work_dir import archive_file
from selfsup.evaluation.build import run_contract
from selfsup.methods.base import Method
from selfsup.ops.dist import broadcast_object, gather_objects_on_main, is_main, rank, world_size
from selfsup.ops.parts import class_name, whole_state
from selfsup.ops.random_state import random_state, set_random_state
from selfsup.registry import TRANSFORMS
from selfsup.weights.card import made_by, weights_card
from selfsup.weights.checkpoint import EXPORTED, Checkpoint
from selfsup.weights.digest import fingerprint
from selfsup.weights.write import write_weights


def collect(runner: Any, step: int) -> Checkpoint | None:
    """All that a run needs to resume after ``step`` updates, on the main process; called by every one."""
    ranks = gather_objects_on_main(own_rank_state(runner.method, runner.device))
    weights = whole_state(dict(runner.method.state_dict()))
    optimizer = whole_state(runner.optim_wrapper.state_dict())
    if not is_main():
        return None
    return Checkpoint(model=weights, optim_wrapper=optimizer, ranks=ranks, **described_run(runner, step))


def described_run(runner: Any, step: int) -> dict[str, Any]:
    """The fields of a checkpoint that are small and the same on every process."""
    # OneCycleLR keeps a function, and a file that holds code is never loaded.
    schedules = [
        {name: value for name, value in schedule.state_dict().items() if not callable(value)}
        for schedule in runner.param_schedulers
    ]
    return {
        "step": step,
        "method": class_name(runner.method),
        "schedules": schedules,
        "recipe": runner.recipe.recipe,
        "data": runner.data_state,
        "trained": runner.trained.taken,
        "unwritten": runner.metrics_log.unwritten,
        "started_from": runner.started_from,
        "run": runner.run_id,
        **facts_of(runner),
    }


def facts_of(runner: Any) -> dict[str, Any]:
    """The fields of a checkpoint that a resumed run is compared by."""
    return {
        "config": plain(runner.recipe.to_dict()),
        "images": len(runner.train_images),
        "seed": runner.recipe.seed,
        "batch": list(batch_parts(runner.recipe, world_size())),
        "optimizer": type(runner.optim_wrapper.optimizer).__name__,
        "schedulers": [type(schedule).__name__ for schedule in runner.param_schedulers],
        "precision": getattr(runner.optim_wrapper, "precision", None),
    }


def own_rank_state(method: nn.Module, device: torch.device) -> dict[str, Any]:
    """What this process has of its own: random states, and buffers that differ from those of process 0.

    Queues and unsynchronized running statistics differ between processes; parameters do not. All processes call this
    together.
    """
    buffers = dict(method.named_buffers())
    prints = {name: fingerprint({"": buffer}) for name, buffer in buffers.items()} if world_size() > 1 else {}
    reference = broadcast_object(prints)
    own: dict[str, Tensor] = {
        name: buffers[name].detach().cpu() for name, found in prints.items() if found != reference.get(name)
    }
    return {"random": random_state(device), "buffers": own}


def restore_rank_state(states: Sequence[dict[str, Any]], method: nn.Module, device: torch.device) -> bool:
    """Restore what this process had of its own, unless the run had another number of processes; whether it did so."""
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
    """Write the backbone's weights, and their card beside them; all processes call this.

    They are written as safetensors where that package is installed, else as a state dict; what an earlier end of the
    run has left in the other form is archived: it has lost its card.

    Returns:
        The file: ``backbone.safetensors`` or ``backbone.pth``.

    Raises:
        CheckpointError: if it cannot be written.
    """
    path = Path(work_dir, chosen := backbone_name())
    (other,) = set(EXPORTED) - {chosen}
    weights = whole_state(dict(backbone.state_dict()))
    if is_main():
        write_weights(weights, path, card)
        archive_file(Path(work_dir, other))
    return path


def backbone_name() -> str:
    """What the file of a backbone is called: safetensors where that package is installed."""
    return EXPORTED[0 if importlib.util.find_spec("safetensors") is not None else 1]


def backbone_prefix(method: Method) -> str:
    """What names of the evaluated network's tensors begin with in the method's state dict."""
    found = next(name for name, module in method.named_modules() if module is method.representation)
    return f"{found}."


def run_card(
    recipe: Recipe,
    method: Method,
    *,
    step: int | None,
    started_from: Mapping[str, Any] | None = None,
    taught_by: Sequence[Mapping[str, Any]] = (),
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of what a run has trained.

    Args:
        recipe, method: of the run.
        step: optimizer updates done; None if the file does not say.
        started_from, taught_by: the weights that the run began with, and those of networks that taught it, see
            :func:`~selfsup.weights.card.origin`.
        earlier: the provenance of the file that the weights are from, which knows better where they come from.
    """
    made = made_by(recipe.recipe, class_name(method), started_from, taught_by)
    return weights_card(
        recipe.model["backbone"],
        method.representation,
        input_contract=run_contract(recipe.input_contract, method, TRANSFORMS.build(recipe.train_dataloader.views)),
        **{**made, "step": step, **(earlier or {})},
    )
