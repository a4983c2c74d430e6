"""The second encoder of MoCo and BYOL."""

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import require
from selfsup.ops.ema import ema_update


class Teacher(nn.Module):
    """An encoder that no gradient reaches and that follows the weights of another, the student.

    Only parameters follow: batch norm's running statistics are the teacher's own, from its own forward passes, which
    are in training mode while the method is. A submodule of its method, it is saved with it.

    Args:
        backbone: the teacher's own; its parameters are frozen.
        neck: likewise.
    """

    backbone: Any
    neck: Any

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.requires_grad_(False)

    @classmethod
    def copy_of(cls, backbone: nn.Module, neck: nn.Module) -> "Teacher":
        """A teacher that starts with its student's weights and running statistics."""
        return cls(copy.deepcopy(backbone), copy.deepcopy(neck))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Embeddings without gradient, shape (B, D), of images of shape (B, 3, H, W)."""
        return self.neck(self.backbone(images))

    def follow(self, backbone: nn.Module, neck: nn.Module, momentum: float) -> None:
        """Move a step towards the student.

        Args:
            backbone: the student's.
            neck: the student's.
            momentum: the fraction of the teacher that is kept, in [0, 1].
        """
        ema_update(self.parameters(), [*backbone.parameters(), *neck.parameters()], momentum)


@torch.no_grad()
def copy_student(method: nn.Module, taken: Collection[str]) -> list[str]:
    """What a method's ``after_init_from`` does where the teacher starts as a copy of the student.

    ``--init-from`` may give the student alone other weights, as from a file of a backbone; the teacher, which was
    copied when the method was built, is copied again then::

        def after_init_from(self, taken):
            return copy_student(self, taken)

    Args:
        method: has a module called ``teacher`` whose tensors are named as the method's own are: a :class:`Teacher`, or
            a module with a ``backbone`` and a ``neck``.
        taken: names of the method's tensors that the file had; those of the teacher's stay.

    Returns:
        Names of the teacher's tensors that are the student's now: parameters and running statistics.
    """
    state = method.state_dict()  # shares the tensors' memory
    copied = [name for name in state if name.startswith("teacher.") and name not in taken]
    for name in copied:
        state[name].copy_(state[name.removeprefix("teacher.")])
    return copied


def check_momentum(name: str, value: float) -> None:
    """Reject a momentum that is no share.

    Args:
        name: the method's argument.
        value: what it was given.

    Raises:
        ConfigError: if it lies outside [0, 1].
    """
    require(0 <= value <= 1, name, "must be in [0, 1], the fraction of the teacher that is kept", got=value)
