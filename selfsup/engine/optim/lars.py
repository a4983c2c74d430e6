"""Layer-wise adaptive rate scaling, in the three forms that the papers' codes use."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from selfsup.errors import ConfigError, nearest
from selfsup.ops.parts import whole_norm
from selfsup.registry import OPTIMIZERS

Variant = Literal["simclr", "byol", "larc"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
LARC_EPSILON = 1e-8  # apex's LARC


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """Momentum SGD whose step for each tensor is in proportion to the tensor's norm.

    With gradient g, weights w, weight decay d and trust coefficient c, each tensor's step is scaled by

    - ``simclr``: c |w| / |g + d w|, with the learning rate inside the momentum buffer;
    - ``byol``: the same ratio, with the learning rate outside the buffer (also VISSL's LARS);
    - ``larc``: c |w| / (|g| + d |w| + 1e-8), with the learning rate outside: apex's LARC (``clip=False``) around SGD,
      which is what SwAV and SEER train with, on every parameter.

    Tensors whose weights or gradients are all zero are not scaled; ``larc`` does not decay them either. A parameter
    group with ``adapt=False`` takes plain momentum SGD: SimCLR and BYOL do that, without weight decay, for biases and
    normalization layers. Norms are of whole tensors, also where each process holds a part of them. Beside the momentum
    buffer one temporary of one tensor's size exists at a time, and no value is read back from the device.

    Args:
        params: parameters, or groups of them; a group may set any argument below but ``variant``, and ``adapt``.
        lr: learning rate, >= 0.
        momentum: the fraction of the buffer that is kept, in [0, 1).
        weight_decay: L2 coefficient, >= 0.
        trust_coefficient: c above, > 0.
        variant: ``'simclr'``, ``'byol'`` or ``'larc'``.
        nesterov: step along the gradient after the buffer's next move.

    Raises:
        ConfigError: if an argument is out of its range.

    Source: You et al. 2017, arXiv:1708.03888, algorithm 1; the reference codes of SimCLR, BYOL and SwAV.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        variant: Variant = "simclr",
        nesterov: bool = False,
    ) -> None:
        if variant not in VARIANTS:
            raise ConfigError.at("variant", f"no variant is called {variant!r}", expected=nearest(variant, VARIANTS))
        for name, value, right, described in (
            ("lr", lr, lr >= 0, ">= 0"),
            ("momentum", momentum, 0 <= momentum < 1, "in [0, 1)"),
            ("weight_decay", weight_decay, weight_decay >= 0, ">= 0"),
            ("trust_coefficient", trust_coefficient, trust_coefficient > 0, "> 0"),
        ):
            if not right:
                raise ConfigError.at(name, f"must be {described}", got=value)
        if nesterov and momentum == 0:
            raise ConfigError.at("nesterov", "needs momentum > 0, got 0")
        self.variant = variant
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "nesterov": nesterov,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; the others keep their weights and their momentum.

        Args:
            closure: computes the loss and its gradients.

        Returns:
            What ``closure`` returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        step, ratio = self._step_and_ratio(weight, gradient, group)
        inside, outside = (lr, 1.0) if self.variant == "simclr" else (1.0, lr)
        if momentum == 0:
            weight.addcmul_(step, ratio, value=-lr)
            return
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer = state["momentum_buffer"].mul_(momentum).addcmul_(step, ratio, value=inside)
        if group["nesterov"]:
            weight.add_(buffer, alpha=-outside * momentum).addcmul_(step, ratio, value=-lr)
        else:
            weight.add_(buffer, alpha=-outside)

    def _step_and_ratio(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The decayed gradient and the factor on it, a tensor without dimensions."""
        decay, trust = group["weight_decay"], group["trust_coefficient"]
        if not group["adapt"]:
            return _decayed(weight, gradient, decay), torch.ones((), dtype=weight.dtype, device=weight.device)
        exact = torch.promote_types(weight.dtype, torch.float32)
        weight_norm = whole_norm(weight, dtype=exact)
        if self.variant == "larc":
            gradient_norm = whole_norm(gradient, dtype=exact)
            scaled = (weight_norm > 0) & (gradient_norm > 0)
            ratio = trust * weight_norm / (gradient_norm + decay * weight_norm + LARC_EPSILON)
            # Scaled tensors alone are decayed, and those with weights of zero have nothing to decay.
            step = _decayed(weight, gradient, decay, where=gradient_norm > 0)
        else:
            step = _decayed(weight, gradient, decay)
            step_norm = whole_norm(step, dtype=exact)
            scaled = (weight_norm > 0) & (step_norm > 0)
            ratio = trust * weight_norm / step_norm
        return step, torch.where(scaled, ratio, torch.ones_like(ratio)).to(weight.dtype)


def _decayed(weight: Tensor, gradient: Tensor, decay: float, *, where: Tensor | None = None) -> Tensor:
    if decay == 0:
        return gradient
    if where is None:
        return gradient.add(weight, alpha=decay)
    return torch.addcmul(gradient, weight, where.to(weight.dtype), value=decay)
