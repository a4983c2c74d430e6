"""Processes: who am I, reduce and gather with or without gradient, fail together.

Every function works without a process group too, as if there were one process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from selfsup.errors import SelfsupError

_Result = TypeVar("_Result")


def is_started() -> bool:
    """Whether there is a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, 0 without a process group."""
    return dist.get_rank() if is_started() else 0


def world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if is_started() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def all_reduce_sum(tensor: Tensor, *, group: dist.ProcessGroup | None = None) -> Tensor:
    """The sum over the processes, as a new tensor without gradient; on one process the values themselves."""
    return _all_reduce(tensor, dist.ReduceOp.SUM, group)


def all_reduce_max(tensor: Tensor) -> Tensor:
    """The elementwise maximum over the processes, as a new tensor without gradient."""
    return _all_reduce(tensor, dist.ReduceOp.MAX, None)


@torch.no_grad()
def gather(tensor: Tensor, *, group: dist.ProcessGroup | None = None) -> Tensor:
    """The rows of every process, ordered by rank.

    Args:
        tensor: shape (B, ...), the same shape in every process.
        group: the processes; None for all.

    Returns:
        Shape (number of processes * B, ...), without gradient.
    """
    return _gather(tensor.detach(), group)


@torch.no_grad()
def broadcast(tensor: Tensor) -> Tensor:
    """What process 0 passed, as a new tensor without gradient.

    Args:
        tensor: the same shape and type in every process.
    """
    result = tensor.detach().clone(memory_format=torch.contiguous_format)
    if world_size() > 1:
        dist.broadcast(result, src=0)
    return result


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """The rows of every process, ordered by rank, with gradient.

    The backward pass sums the gradient over the processes and returns the own slice, so that with losses over local
    anchors the average that DistributedDataParallel takes is the gradient of one process with the whole batch.

    Args:
        tensor: shape (B, ...), the same shape in every process.

    Returns:
        Shape (world size * B, ...).
    """
    return _Gather.apply(tensor) if world_size() > 1 else tensor


def gather_objects(value: Any) -> list[Any]:
    """What every process passed, ordered by rank; values are pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_objects_on_main(value: Any) -> list[Any] | None:
    """What every process passed, ordered by rank, in process 0; None in the others, which need no memory for it."""
    if world_size() == 1:
        return [value]
    values: list[Any] | None = [None] * world_size() if is_main() else None
    dist.gather_object(value, values, dst=0)
    return values


def broadcast_object(value: Any) -> Any:
    """What process 0 passed; the value is pickled."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def from_main(compute: Callable[[], _Result]) -> _Result:
    """What ``compute`` returns on process 0, on every process; nobody else computes. The result is pickled.

    Raises:
        Exception: whatever it raises there, on all processes at once, so that none waits for what will not come:
            an error of the user's as its own kind, any other as a RuntimeError on the processes that did not compute.
    """
    result, own, fault = None, None, None
    if is_main():
        try:
            result = compute()
        except Exception as error:
            own, fault = error, (type(error) if isinstance(error, SelfsupError) else None, _told(error))
    result, fault = broadcast_object((result, fault))
    if own is not None:
        raise own
    if fault is not None:
        kind, message = fault
        raise (kind or RuntimeError)(f"process 0: {message}")
    return result


def in_shares(compute: Callable[[slice], _Result], count: int) -> list[_Result] | None:
    """What ``compute`` returns for each process's share of ``count`` things, in order, in process 0; None elsewhere.

    Args:
        compute: of a slice that is not empty.
        count: of all things, which the processes share in contiguous parts.

    Raises:
        Exception: as :func:`raise_together`.
    """
    size = -(-count // world_size())
    share = slice(min(rank() * size, count), min((rank() + 1) * size, count))
    found, fault = None, None
    try:
        found = compute(share) if share.stop > share.start else None
    except Exception as error:
        fault = error
    raise_together(fault)
    every = gather_objects_on_main(found)
    return None if every is None else [each for each in every if each is not None]


def raise_together(fault: Exception | None) -> None:
    """Raise an error of any process on all of them at once, so that none waits for what will not come.

    Args:
        fault: of this process; None if all went well.

    Raises:
        Exception: the own one; of another process an error of the user's as its own kind, any other as a RuntimeError.
    """
    kind = type(fault) if isinstance(fault, SelfsupError) else None
    faults = gather_objects(None if fault is None else (kind, _told(fault)))
    if fault is not None:
        raise fault
    for number, (other, words) in enumerate(each or (None, None) for each in faults):
        if words is not None:
            raise (other or RuntimeError)(f"process {number}: {words}")


@contextmanager
def together() -> Iterator[None]:
    """An error of the user's inside, on any process, is raised on every one; all of them enter together.

    What is done inside must not need the other processes.
    """
    own: SelfsupError | None = None
    try:
        yield
    except SelfsupError as error:
        own = error
    raise_together(own)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SelfsupError) else f"{type(error).__name__}: {error}"


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _gather(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient).chunk(world_size())[rank()]


def _all_reduce(tensor: Tensor, operation: Any, group: dist.ProcessGroup | None) -> Tensor:
    result = tensor.detach().clone(memory_format=torch.contiguous_format)
    if is_started() and dist.get_world_size(group) > 1:
        dist.all_reduce(result, operation, group=group)
    return result


def _gather(tensor: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    processes = dist.get_world_size(group) if is_started() else 1
    if processes == 1:
        return tensor.clone()
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(processes)]
    dist.all_gather(parts, tensor.contiguous(), group=group)
    return torch.cat(parts)
