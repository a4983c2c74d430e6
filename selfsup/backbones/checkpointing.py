"""Activation checkpointing that leaves no trace: gradients and batch-norm statistics stay bitwise the same."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint


def run_blocks(blocks: Iterable[nn.Module], maps: Tensor, *, checkpointed: bool) -> Tensor:
    """Send ``maps`` through ``blocks`` one after the other.

    Args:
        blocks: modules of one input and one output.
        maps: input of the first block.
        checkpointed: keep only each block's input for the backward pass and run the block again there.

    Returns:
        Output of the last block.
    """
    for block in blocks:
        maps = run_checkpointed(block, maps) if checkpointed else block(maps)
    return maps


def run_checkpointed(block: nn.Module, maps: Tensor) -> Tensor:
    """Run ``block`` and forget its activations until the backward pass asks for them.

    A plain checkpoint moves the running statistics of batch norm twice, once for each run of the block, and counts the
    batch twice. Here the second run writes to copies of the buffers, which are thrown away. Autocast, more than one
    call before the backward pass, and synchronized batch norm work as without checkpointing; the latter exchanges its
    statistics a second time.
    """
    if not torch.is_grad_enabled():
        return block(maps)
    return checkpoint(block, maps, use_reentrant=False, context_fn=partial(_contexts, block))


@contextmanager
def calls_checkpointed(blocks: Iterable[nn.Module | tuple[nn.Module, ...]]) -> Iterator[None]:
    """Make every call of one of the blocks a checkpointed one, as :func:`run_checkpointed` does, for the time inside.

    For a network whose code is not ours; its blocks may take and give anything. The blocks are the same afterwards, so
    copies and state dicts know nothing of it.

    Args:
        blocks: none of which holds another; or layers, one for the next and for nobody else, that are one block.
    """
    rows = [block if isinstance(block, tuple) else (block,) for block in blocks] if torch.is_grad_enabled() else []
    calls = {row: partial(_call_checkpointed, nn.ModuleList(row), [layer.forward for layer in row]) for row in rows}
    for (first, *others), call in calls.items():
        # The instance's attribute goes before the method of its class.
        vars(first)["forward"] = call
        for layer in others:
            vars(layer)["forward"] = _done_already
    try:
        yield
    finally:
        for row in calls:
            for layer in row:
                del vars(layer)["forward"]


def _done_already(maps: Any) -> Any:
    return maps


def _call_checkpointed(block: nn.Module, layers: list[Callable[..., Any]], *inputs: Any, **options: Any) -> Any:
    """Hand over every tensor by itself, whose later change in place would otherwise go unnoticed."""
    leaves, structure = tree_flatten((inputs, options))

    def run(*leaves: Any) -> Any:
        inputs, options = tree_unflatten(leaves, structure)  # new lists for each run, as HRNet's blocks write to theirs
        first, *others = layers
        outputs = first(*inputs, **options)
        for layer in others:
            outputs = layer(outputs)
        return outputs

    return checkpoint(run, *leaves, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _buffers_at_rest(block)


@contextmanager
def _buffers_at_rest(block: nn.Module) -> Iterator[None]:
    """Put copies in the place of the buffers.

    Switching ``track_running_stats`` off instead would save other tensors in the second run than in the first, which
    the checkpoint rejects.
    """
    buffers = [
        (part, name, buffer)
        for part in block.modules()
        for name, buffer in part.named_buffers(recurse=False, remove_duplicate=False)
    ]
    for part, name, buffer in buffers:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in buffers:
            setattr(part, name, buffer)
