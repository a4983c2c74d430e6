"""Tensors of which each process holds a part: their norms, their whole, and back.

A split tensor is a ``DTensor`` whose rows are spread over all processes, or over each of several groups that hold the
same, as sharding leaves parameters, gradients and optimizer state. Every function takes ordinary tensors too, and does
then what it does on one process. With split ones all processes must call it together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from selfsup.ops.dist import gather, is_main


def is_split(tensor: Tensor) -> bool:
    """Whether this process holds only a part of the tensor."""
    return hasattr(tensor, "full_tensor")  # asked for by name: importing DTensor takes half a second


def own_part(tensor: Any) -> Tensor:
    """The rows that this process holds, perhaps none; it shares their memory."""
    return tensor.to_local() if is_split(tensor) else tensor


def computed_on(tensor: Any) -> torch.device:
    """The device that a parameter is computed with on; split ones may be kept elsewhere."""
    if not is_split(tensor):
        return tensor.device
    kind = tensor.device_mesh.device_type
    return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)


def whole(tensor: Any) -> Tensor:
    """All rows, in every process."""
    return tensor.full_tensor() if is_split(tensor) else tensor


def split_like(tensor: Tensor, like: Any) -> Tensor:
    """A copy of those rows of a whole tensor that this process holds of another; the processes do not communicate.

    Args:
        tensor: the same in every process.
        like: of the same shape; if it is not split, the whole tensor itself comes back.

    Returns:
        Split, contiguous, on the device of ``like``, of the type of ``tensor``.
    """
    if not is_split(like):
        return tensor
    from torch.distributed.tensor import DTensor

    mesh = like.device_mesh
    own = mesh.get_local_rank(-1)  # of several dimensions the last is the one that rows are spread over
    parts = tensor.detach().chunk(mesh.size(-1))  # fewer where there are fewer rows than processes
    rows = parts[own] if own < len(parts) else tensor.detach()[:0]
    rows = rows.to(like.device).clone(memory_format=torch.contiguous_format)
    return DTensor.from_local(
        rows, mesh, like.placements, run_check=False, shape=like.shape, stride=tuple(like.stride())
    )


def holders(tensor: Any) -> dist.ProcessGroup:
    """The processes that hold the parts of a split tensor, one each."""
    mesh = tensor.device_mesh
    group: dist.ProcessGroup = mesh.get_group(mesh.ndim - 1)
    return group


CHUNK = 1 << 17
"""Elements of a large tensor that a processor works on at a time: with a few tensors' worth they stay in its cache."""


def flat(tensor: Tensor) -> Tensor:
    """All elements in the order in which they lie in memory; a view where there are no gaps between them."""
    if not tensor.is_contiguous() and tensor.ndim == 4:
        tensor = tensor.permute(0, 2, 3, 1)  # channels last
    return tensor.reshape(-1)


def part_norms(parts: Sequence[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Euclidean norm of each of several ordinary tensors, at least one, computed in ``dtype``; shape (N,)."""
    if parts[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(list(parts), 2, dtype=dtype))
    return torch.stack([_norm_on_cpu(part, dtype or part.dtype) for part in parts])


def _norm_on_cpu(part: Tensor, dtype: torch.dtype) -> Tensor:
    """The norm by chunks: PyTorch's own adds up so many squares in float32 that 33 million of them lack 0.2 %."""
    if part.numel() <= CHUNK:
        return torch.linalg.vector_norm(part, dtype=dtype)
    chunks = (chunk.to(dtype) for chunk in flat(part).split(CHUNK))
    return torch.stack([torch.dot(chunk, chunk) for chunk in chunks]).sum(dtype=torch.float64).sqrt().to(dtype)


def norms_of_whole(norms: Tensor, like: Any) -> Tensor:
    """Euclidean norms of whole tensors from those of the own parts, in one exchange; the same in every process.

    Args:
        norms: of any number of tensors' parts, shape (N,).
        like: one of the tensors, all of which are split alike; if it is not split, the norms come back as they are.
    """
    return torch.linalg.vector_norm(gather(norms.unsqueeze(0), group=holders(like)), dim=0) if is_split(like) else norms


def total_norm(tensors: Sequence[Tensor], order: float = 2.0) -> Tensor:
    """Norm of all elements of several tensors, a tensor without dimensions, the same in every process.

    Args:
        tensors: at least one; all split, or none.
        order: 2 for the Euclidean norm, ``inf`` for the largest absolute value.
    """
    if not is_split(tensors[0]):
        return _norm_of_all(tensors, order)
    parts = [part for part in map(own_part, tensors) if part.numel()]  # without elements there is no largest one
    own = _norm_of_all(parts, order).to(tensors[0].device, tensors[0].dtype)
    return torch.linalg.vector_norm(gather(own.reshape(1), group=holders(tensors[0])), order)


def _norm_of_all(parts: Sequence[Tensor], order: float) -> Tensor:
    if order == 2 and parts and parts[0].device.type == "cpu":
        return torch.linalg.vector_norm(part_norms(parts))
    return get_total_norm(parts, order)


def all_finite(tensor: Tensor) -> bool:
    """Whether no element is infinite or not a number, in any process."""
    finite = torch.isfinite(own_part(tensor)).all()
    return bool(gather(finite.float().reshape(1)).all() if is_split(tensor) else finite)


def is_sharded(module: nn.Module) -> bool:
    """Whether a module has parameters that are split over the processes."""
    return any(map(is_split, module.parameters()))


def class_of(module: nn.Module) -> type:
    """A module's class, which sharding replaces by one of its own."""
    if not is_sharded(module):
        return type(module)
    from torch.distributed.fsdp import FSDPModule

    return next(kind for kind in type(module).__mro__ if not issubclass(kind, FSDPModule))


def class_name(module: nn.Module) -> str:
    """The name of a module's class, see :func:`class_of`."""
    return class_of(module).__name__


def whole_state(state: Any) -> Any:
    """A state dict with every split tensor made whole, in the memory of the CPU of process 0; None elsewhere.

    Args:
        state: dicts, lists, tensors and plain values; without split tensors it comes back as it is.
    """
    if isinstance(state, dict):
        return {key: whole_state(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(whole_state, state))
    if isinstance(state, Tensor) and is_split(state):
        gathered = whole(state.detach())
        return gathered.cpu() if is_main() else None
    return state


def split_state(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state dict of whole tensors, split as the module's own is; those of its own tensors in it stay as they are."""
    own = module.state_dict()
    return {name: tensor if is_split(tensor) else split_like(tensor, own[name]) for name, tensor in state.items()}
