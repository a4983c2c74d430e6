"""Undoing a step whose update is left out: what it has changed of the method without the optimizer."""

import torch
from torch import Tensor

from selfsup.methods.base import Method
from selfsup.ops.parts import own_part


class BeforeStep:
    """Copies of a method's buffers and of the parameters that ``before_step`` changes, as they are now.

    Running statistics, queues and a teacher in them; of split tensors the part that this process holds.

    Args:
        method: about to begin a step.
    """

    def __init__(self, method: Method) -> None:
        self._method = method
        self._copies = {name: tensor.clone() for name, tensor in _changing(method).items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Let the method hold these values again."""
        for name, tensor in _changing(self._method).items():
            tensor.copy_(self._copies[name])


def _changing(method: Method) -> dict[str, Tensor]:
    changing = dict(method.named_buffers())
    for part in method.moved_before_step:
        changing |= {f"{part}.{name}": each for name, each in method.get_submodule(part).named_parameters()}
    return {name: own_part(tensor).detach() for name, tensor in changing.items()}
