"""What the parts of a method said they would give, held against what they give; comparing shapes costs nothing.

Parts come from anywhere, and behind one of another shape the next can only stumble, or worse, learn from it. A part
that is traced for a compiler or an export is not looked at: a size that is compared is a constant of the trace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError


@dataclass(frozen=True)
class GivesVectors:
    """A forward hook that rejects an output of another shape than (B, out_dim), or one that nothing is learned from.

    Whole numbers are rejected. In training, where gradients are kept, the output of a part with trained parameters must
    have one: otherwise the others learn on, and its weights stay as they are.

    Args:
        place: of the part in the config, for the error message.
        out_dim: features of each sample.

    Raises:
        ConfigError: when called with such an output.
    """

    place: str
    out_dim: int

    def __call__(self, part: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """See what a forward pass has given."""
        if torch.compiler.is_compiling():
            return
        wanted = (len(inputs[0]), self.out_dim)
        if _shape(output) != wanted:
            raise ConfigError(
                f"{self.place}: {type(part).__name__} must return (B, out_dim) = {wanted}, got {_shape(output)}"
            )
        if not output.is_floating_point():
            raise ConfigError(
                f"{self.place}: {type(part).__name__} must return a floating-point tensor, got {output.dtype}"
            )
        if part.training and torch.is_grad_enabled() and not output.requires_grad and _is_to_learn(part):
            raise ConfigError(
                f"{self.place}: {type(part).__name__} must return features with a gradient in training, got some "
                "without, from which none of its parameters can learn; its forward must neither detach them nor "
                "compute them under torch.no_grad(), or requires_grad must be off for its parameters"
            )


@dataclass(frozen=True)
class GivesOneNumber:
    """A forward hook that rejects an output that is no 0-dim tensor.

    Args:
        place: of the part in the config, for the error message.

    Raises:
        ConfigError: when called with such an output.
    """

    place: str

    def __call__(self, part: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """See what a forward pass has given."""
        if not torch.compiler.is_compiling() and _shape(output) != ():
            raise ConfigError(
                f"{self.place}: {type(part).__name__} must return one number, a tensor of shape (), got "
                f"{_shape(output)}; most losses end in a mean over the batch"
            )


def watched(part: nn.Module, hook: Callable[..., None]) -> nn.Module:
    """The part, held to a promise from now on; once, however many methods are built of it."""
    if hook not in part._forward_hooks.values():
        part.register_forward_hook(hook)
    return part


def check_parts(method: nn.Module, parts: Any) -> None:
    """Reject what a method's ``loss`` returns if the loop cannot train with it.

    Args:
        method: that returned it, for the error message.
        parts: what it returned.

    Raises:
        ConfigError: unless it is a dict of 0-dim tensors, one of them under a name that begins with ``loss``.
    """
    wanted = f"model: {type(method).__name__}.loss must return a dict of 0-dim tensors"
    if not isinstance(parts, dict):
        raise ConfigError(f"{wanted}, got {_shape(parts)}")
    for name, value in parts.items():
        if _shape(value) != ():
            raise ConfigError(f"{wanted}, got {_shape(value)} as {name!r}")
    if not any(name.startswith("loss") for name in parts):
        raise ConfigError(f"{wanted}, one under a name that begins with 'loss', got {sorted(parts)}")


def _is_to_learn(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
