"""The blocks of a method's backbones, made one kernel after the other by ``torch.compile``."""

import torch
from torch import nn

from selfsup.engine.distributed import blocks
from selfsup.layers import SyncBatchNorm

BACKEND = "inductor"
MOST_VARIANTS = 256
"""Of a block's code: each width, size of views and precision is one; beyond PyTorch's eight it would stop compiling."""


def compile_blocks(method: nn.Module) -> int:
    """Compile the outermost blocks of every backbone, in place, at their first calls; how many there are.

    Blocks of one kind share what is compiled, and what is around a block stays as it is: sharding, checkpointing,
    the exchange of synchronized batch norm. Names in state dicts do not change.

    Args:
        method: as it is trained, split or not; what wraps it stays outside.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_VARIANTS)
    SyncBatchNorm.forward = torch.compiler.disable(SyncBatchNorm.forward)  # type: ignore[method-assign]
    backbones = [part for name, part in method.named_modules() if name.rpartition(".")[2] == "backbone"]
    found = [block for backbone in backbones for block in blocks(backbone, 1)]
    for block in found:
        block.compile(backend=BACKEND)
    return len(found)
