"""Where half precision must not reach."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that already."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def without_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which the operations on the tensor's device keep their inputs' precision."""
    return torch.autocast(tensor.device.type, enabled=False)
