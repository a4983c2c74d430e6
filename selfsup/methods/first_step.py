"""What the parts of a method give, compared with what they said they would give; looked at in a run's first step."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.errors import ConfigError


@contextmanager
def checked_parts(method: nn.Module) -> Iterator[None]:
    """Check backbone, neck and predictor in the forward passes inside.

    Every submodule with an ``out_dim`` must return a floating-point tensor of shape (B, out_dim), in training with a
    gradient if it has parameters that are trained.

    Args:
        method: whose direct submodules are looked at, and its teacher's.

    Raises:
        ConfigError: at the first output that is something else, with the part's place in the config.
    """
    holders = {"model": method, "model.teacher": getattr(method, "teacher", None)}
    handles = [
        part.register_forward_hook(partial(_check_output, f"{place}.{name}"))
        for place, holder in holders.items()
        if holder is not None
        for name, part in holder.named_children()
        if isinstance(getattr(part, "out_dim", None), int)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_losses(method: nn.Module, losses: Any) -> None:
    """Check what a method's ``loss`` returned.

    Raises:
        ConfigError: unless it is a dict of 0-dim tensors, of which those whose name begins with ``loss`` can be trained
            with.
    """
    wanted = f"{type(method).__name__}.loss must return a dict of 0-dim tensors"
    if not isinstance(losses, dict):
        raise ConfigError.at("model", f"{wanted}, got {_shape(losses)}")
    for name, value in losses.items():
        if _shape(value) != ():
            raise ConfigError.at("model", f"{wanted}, got {_shape(value)} as {name!r}")
    minimized = [name for name in losses if name.startswith("loss")]
    if not minimized:
        raise ConfigError.at("model", f"{wanted}, one under a name that begins with 'loss'", got=sorted(losses))
    if not any(losses[name].requires_grad for name in minimized):
        names = ", ".join(minimized)
        message = f"{type(method).__name__}.loss must return a loss with a gradient, got {names} without"
        raise ConfigError.at("model", message)


def _check_output(place: str, part: Any, inputs: tuple[Any, ...], output: Any) -> None:
    wanted = (len(inputs[0]), part.out_dim)
    name = type(part).__name__
    if _shape(output) != wanted:
        raise ConfigError.at(place, f"{name} must return (B, out_dim) = {wanted}, got {_shape(output)}")
    if not output.is_floating_point():
        raise ConfigError.at(place, f"{name} must return a floating-point tensor", got=output.dtype)
    learns = (
        part.training and torch.is_grad_enabled() and any(parameter.requires_grad for parameter in part.parameters())
    )
    if learns and not output.requires_grad:
        raise ConfigError.at(
            place,
            f"{name} must return features with a gradient in training, got some without",
            expected="its forward must neither detach them nor run under torch.no_grad(), or requires_grad must be off "
            "for its parameters",
        )


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
