"""What is around a method in training: its device, batch norm over processes, the exchange of gradients."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from selfsup.config import sync_bn_group
from selfsup.engine.shard import describe_shards, shard, sharding_of
from selfsup.layers import convert_sync_bn
from selfsup.ops.dist import world_size

# The argument has another name since torch 2.14; buffers that are sent around once at the start are alike anyway.
_ARGUMENTS = inspect.signature(DistributedDataParallel).parameters
_BUFFERS_STAY: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _ARGUMENTS else "broadcast_buffers": False
}


def wrap(
    method: nn.Module,
    device: torch.device,
    config: Mapping[str, Any],
    *,
    memory_format: torch.memory_format,
    log: Callable[[str], Any],
) -> nn.Module:
    """Move to the device, lay out channels last, synchronise batch norm; for several processes wrap or split.

    Args:
        method: changed in place; every process has the same, or where it is to be split, the main one has it.
        device: where this process computes.
        config: ``sync_bn``, ``sharding`` and ``find_unused_parameters`` are read.
        memory_format: of convolutions, unless they are split.
        log: takes a sentence about how the method is split.

    Raises:
        ConfigError: if the processes cannot be divided into groups of ``sync_bn``, or the method cannot be split.
    """
    if (group := sync_bn_group(config, world_size())) is not None:
        method = convert_sync_bn(method, group)
    if sharding := sharding_of(config):
        method = shard(method, device, min_parameters=sharding.min_parameters)
        log(f"sharding: {describe_shards(method, sharding.min_parameters)}")
        return method
    method = method.to(device).to(memory_format=memory_format)
    if world_size() == 1:
        if config.get("sharding") is not None:
            log("sharding: there is one process, so nothing is split")
        return method
    return DistributedDataParallel(
        method,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        find_unused_parameters=config.get("find_unused_parameters", False),
        **_BUFFERS_STAY,
    )
