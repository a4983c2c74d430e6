"""What a backbone costs, without running it."""

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

FLOPS_PER_MULTIPLY_ADD = 2


@torch.no_grad()
def multiply_adds(module: nn.Module, size: int) -> int:
    """Multiply-adds of an image (1, 3, size, size) through convolutions and matrix products.

    The tensors are swapped for empty ones on the meta device, so nothing is computed and a network of ten billion
    parameters takes a second, wherever its parameters live.
    """
    training = {part: part.training for part in module.modules()}
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    counter = FlopCounterMode(display=False)
    module.eval()
    try:
        with counter:
            functional_call(module, empty, (torch.empty(1, 3, size, size, device="meta"),))
    finally:
        for part, was_training in training.items():
            part.training = was_training
    return counter.get_total_flops() // FLOPS_PER_MULTIPLY_ADD
