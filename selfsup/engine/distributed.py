"""Weights, gradients and optimizer state split over the processes, for models that fit on none of them.

Each process holds an equal part of the rows of every parameter (PyTorch's ``fully_shard``, FSDP2). The whole weights of
one block at a time are gathered for its forward pass, again for its backward pass, and freed after each; gradients are
averaged and split in one exchange. Training is that of DistributedDataParallel, with these differences:

- Precision is autocast's (``optim_wrapper.precision``), and weights are gathered in float32. With ``sharding.gather``
  blocks are gathered in bf16, which is what autocast would make of them, but for layer norm and what else it leaves
  alone; batch norm and prototypes stay float32, and so does what belongs to no block. Gradients are summed over the
  processes in float32, and within a process, over views of several sizes, in bf16.
- Under gradient accumulation every micro-batch's gradients are exchanged within a group. Between the groups of
  ``sharding.copies`` the sum of all is exchanged once. ``sharding.whole_gradients`` keeps them whole until the last
  micro-batch, for one exchange in all, and takes the memory that sharding saves.
- Convolution weights are stored in PyTorch's standard layout, which ``fully_shard`` requires; with ``channels_last``
  images they are laid out anew where they are used.
- Parameters are changed between forward passes only, as ``Method.before_step`` and ``after_step`` do; a change inside
  ``Method.loss`` reaches whole weights that are thrown away.
- A block that is called for several view sizes exchanges its gradients once for each.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from selfsup.config import dist_timeout, sync_bn_group
from selfsup.config.recipe import Recipe, Sharding
from selfsup.errors import ConfigError, require
from selfsup.layers import convert_sync_bn
from selfsup.necks import Prototypes
from selfsup.ops.dist import broadcast_object, is_main, world_size
from selfsup.ops.parts import own_part, split_like
from selfsup.ops.random_state import random_state, set_random_state

CPU = torch.device("cpu")


def sharding_of(recipe: Recipe) -> Sharding | None:
    """How a run is split over its processes; None if it is not, because nobody asked or there is only one."""
    return recipe.sharding if world_size() > 1 else None


def build_on_main(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a module with weights on process 0, and with shapes alone on the others, so that no memory is needed there.

    Afterwards the random generators of all processes are where those of process 0 are, as if all had built it.

    Args:
        build: builds the module; the same in every process.
    """
    if is_main():
        module = build()
    else:
        with torch.device("meta"):
            module = build()
    set_random_state(broadcast_object(random_state(CPU)), CPU)
    return module


def shard(
    module: nn.Module,
    device: torch.device,
    *,
    min_parameters: int,
    copies: int = 1,
    gather: Literal["fp32", "bf16"] = "fp32",
    offload: bool = False,
) -> nn.Module:
    """Split a module over the processes, in place; all of them call it together.

    Args:
        module: with the weights that count on process 0, see :func:`build_on_main`; no parameter may have two places.
        device: where is computed, and where the parts are kept.
        min_parameters: blocks with fewer parameters are gathered together with what belongs to no block.
        copies: groups of processes, neighbors by number, each of which holds all parts.
        gather: precision in which weights of blocks are gathered and computed with.
        offload: keep the parts in the memory of the processor.

    Returns:
        The module; its parameters are split, its buffers whole.

    Raises:
        ConfigError: if parts of the module share a parameter, or the processes do not divide into so many groups.
    """
    _reject_shared(module)
    processes = world_size()
    if processes % copies or (copies > 1 and processes == copies):
        raise ConfigError.at(
            "sharding.copies",
            f"must divide the {processes} processes into groups of two or more",
            got=copies,
            expected="use as many copies as machines, or leave sharding out where each process is to hold all",
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        MixedPrecisionPolicy,
        OffloadPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    weights = dict(_tensors(module)) if is_main() else {}
    module.to_empty(device="meta")
    shape = {"shard": processes} if copies == 1 else {"replicate": copies, "shard": processes // copies}
    mesh = init_device_mesh(device.type, tuple(shape.values()), mesh_dim_names=tuple(shape))
    kept = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy()
    # Whole weights never outlive a forward pass, so that what changes parameters between steps changes the parts.
    split = partial(fully_shard, mesh=mesh, reshard_after_forward=True, offload_policy=kept)
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for unit in blocks(module, min_parameters):
        if gather == "fp32" or isinstance(unit, Prototypes | _BatchNorm):
            split(unit)
            continue
        if norms := [part for part in unit.modules() if isinstance(part, _BatchNorm)]:
            split(norms)
        split(unit, mp_policy=half)
    split(module)
    for name in getattr(module, "entry_points", ()):
        register_fsdp_forward_method(module, name)
    module.to_empty(device=CPU if offload else device)
    for part in module.modules() if offload else ():
        part._buffers |= {name: buffer.to(device) for name, buffer in part._buffers.items() if buffer is not None}
    _spread(module, weights, device)
    return module


def blocks(module: nn.Module, min_parameters: int) -> list[nn.Module]:
    """What is gathered at a time: the outermost members of ``nn.Sequential`` and ``nn.ModuleList`` that are not such.

    Args:
        module: where to look.
        min_parameters: only members with at least so many.
    """
    found: list[nn.Module] = []
    for child in module.children():
        is_member = isinstance(module, nn.Sequential | nn.ModuleList)
        if is_member and not isinstance(child, nn.Sequential | nn.ModuleList):
            if _count(child) >= max(min_parameters, 1):
                found.append(child)
        else:
            found += blocks(child, min_parameters)
    return found


def describe_shards(module: nn.Module, min_parameters: int, *, copies: int = 1) -> str:
    """One line for the log of a sharded module."""
    sizes = [_count(block) for block in blocks(module, min_parameters)]
    total = sum(parameter.numel() for parameter in module.parameters())
    return (
        f"{total:,} parameters are split over {world_size() // copies} processes and gathered in {len(sizes)} blocks; "
        f"the largest has {max(sizes, default=0):,}, what is in none {total - sum(sizes):,}"
        + (f"; {copies} groups of processes hold a copy each" if copies > 1 else "")
    )


@torch.no_grad()
def _spread(module: nn.Module, weights: dict[str, Tensor], device: torch.device) -> None:
    """Fill a module's parts and buffers from the whole tensors of process 0, one at a time."""
    for name, tensor in _tensors(module):
        if is_main():
            sent = weights.pop(name).to(device).contiguous()
        else:
            sent = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        dist.broadcast(sent, src=0)
        own_part(tensor).copy_(own_part(split_like(sent, tensor)))


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(module.named_parameters(), module.named_buffers())


def _reject_shared(module: nn.Module) -> None:
    first: dict[Tensor, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if first.setdefault(parameter, name) != name:
            raise ConfigError.at(
                "sharding",
                f"{name} and {first[parameter]} are one parameter, which cannot be split",
                expected="leave sharding out",
            )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# The argument has another name since torch 2.14; buffers that are sent around once at the start are alike anyway.
_ARGUMENTS = inspect.signature(DistributedDataParallel).parameters
_BUFFERS_STAY: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _ARGUMENTS else "broadcast_buffers": False
}


def wrap(
    method: nn.Module,
    device: torch.device,
    recipe: Recipe,
    *,
    memory_format: torch.memory_format,
    log: Callable[[str], Any],
) -> nn.Module:
    """Move to the device, lay out channels last, synchronize batch norm; for several processes wrap or split.

    Args:
        method: changed in place; every process has the same, or where it is to be split, the main one has it.
        device: where this process computes.
        recipe: ``sync_bn``, ``sharding`` and ``find_unused_parameters`` are read.
        memory_format: of convolutions, unless they are split.
        log: takes a sentence about how the method is split.

    Raises:
        ConfigError: if the processes cannot be divided into groups of ``sync_bn``, or the method cannot be split.
    """
    if (group := sync_bn_group(recipe, world_size())) is not None:
        method = convert_sync_bn(method, group, timeout=dist_timeout(recipe))
    if sharding := sharding_of(recipe):
        require(
            sharding.gather == "fp32" or recipe.precision == sharding.gather,
            "sharding.gather",
            f"{sharding.gather!r} needs the same optim_wrapper.precision",
            got=recipe.precision,
        )
        method = shard(
            method,
            device,
            min_parameters=sharding.min_parameters,
            copies=sharding.copies,
            gather=sharding.gather,
            offload=sharding.offload,
        )
        log(f"sharding: {describe_shards(method, sharding.min_parameters, copies=sharding.copies)}")
        return method
    method = method.to(device).to(memory_format=memory_format)
    if world_size() == 1:
        if recipe.sharding is not None:
            log("sharding: there is one process, so nothing is split")
        return method
    # Of 1x1 convolutions laid out channels last, whose strides say the same in two ways (pytorch#157862).
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(
        method,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        find_unused_parameters=recipe.find_unused_parameters,
        **_BUFFERS_STAY,
    )
