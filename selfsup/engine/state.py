"""Everything a run needs to go on bitwise: what is global once, what differs between processes for each of them."""

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.ops.dist import broadcast_object, gather_objects_on_main, rank, world_size


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every global random generator of this process, as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """The inverse of :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def gather_rank_states(method: nn.Module, device: torch.device) -> list[dict[str, Any]] | None:
    """What each process has of its own, in process 0, None elsewhere: random states, and buffers that differ from its.

    Queues and unsynchronised running statistics differ between processes; parameters do not.
    """
    buffers = dict(method.named_buffers())
    reference = broadcast_object(
        {name: _digest(buffer) for name, buffer in buffers.items()} if world_size() > 1 else {}
    )
    own: dict[str, Tensor] = {}
    if rank() > 0:
        own = {name: b.detach().cpu() for name, b in buffers.items() if _digest(b) != reference.get(name)}
    return gather_objects_on_main({"random": random_state(device), "buffers": own})


def restore_rank_state(states: list[dict[str, Any]], method: nn.Module, device: torch.device) -> bool:
    """Give this process its own part back.

    Returns:
        False if the run had another number of processes, so that there is no part of its own to give back.
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


def _digest(tensor: Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    return hashlib.sha1(plain.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
