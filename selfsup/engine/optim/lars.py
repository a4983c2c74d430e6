"""Layer-wise adaptive rate scaling, in the three forms that the papers' codes use."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from selfsup.errors import ConfigError, nearest
from selfsup.ops.parts import is_split, norms_of_whole, own_part, part_norms
from selfsup.registry import OPTIMIZERS

Variant = Literal["simclr", "byol", "larc"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
LARC_EPSILON = 1e-8  # apex's LARC
BUNCH = 1 << 24  # elements that are updated together; 64 MiB for their temporary


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
    normalization layers. Norms are of whole tensors, also where each process holds a part of them, in one exchange for
    all of them. Tensors are updated in bunches, by one kernel for all of a bunch where there is one; beside the
    momentum buffer one temporary of a bunch's size exists at a time, and no value is read back from the device.

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
        bunches = [(weights, group) for group in self.param_groups for weights in _bunches(group["params"])]
        norms = self._norms_of_split(bunches)
        for number, (weights, group) in enumerate(bunches):
            self._update(weights, group, norms.get(number))
        return loss

    def _norms_of_split(self, bunches: list[tuple[list[Tensor], dict[str, Any]]]) -> dict[int, Tensor]:
        """The norms of what the processes hold parts of, by the bunch's number, in one exchange for all of them."""
        own = {
            number: self._own_norms(weights, self._decayed(weights, group))
            for number, (weights, group) in enumerate(bunches)
            if group["adapt"] and is_split(weights[0])
        }
        if not own:
            return {}
        like = bunches[next(iter(own))][0][0]
        found = norms_of_whole(torch.cat(list(own.values())), like).split([len(norms) for norms in own.values()])
        return dict(zip(own, found, strict=True))

    def _update(self, weights: list[Tensor], group: dict[str, Any], norms: Tensor | None) -> None:
        lr, momentum = group["lr"], group["momentum"]
        parts, steps = [own_part(weight) for weight in weights], self._steps(weights, group, norms)
        if momentum == 0:
            torch._foreach_add_(parts, steps, alpha=-lr)
            return
        inside, outside = (lr, 1.0) if self.variant == "simclr" else (1.0, lr)
        buffers = [own_part(self._buffer(weight)) for weight in weights]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, steps, alpha=inside)
        torch._foreach_add_(parts, buffers, alpha=-outside * momentum if group["nesterov"] else -outside)
        if group["nesterov"]:
            torch._foreach_add_(parts, steps, alpha=-lr)

    def _buffer(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        return state["momentum_buffer"]

    def _decayed(self, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """The gradients with weight decay; of split ones the own parts."""
        gradients = [own_part(weight.grad) for weight in weights]
        if not (decay := group["weight_decay"]):
            return gradients
        return list(torch._foreach_add(gradients, [own_part(weight) for weight in weights], alpha=decay))

    def _own_norms(self, weights: list[Tensor], steps: list[Tensor]) -> Tensor:
        """Norms of the own parts of weights, then of gradients, with the decay that the variant measures."""
        measured = [own_part(weight.grad) for weight in weights] if self.variant == "larc" else steps
        return part_norms([*map(own_part, weights), *measured], torch.promote_types(weights[0].dtype, torch.float32))

    def _steps(self, weights: list[Tensor], group: dict[str, Any], norms: Tensor | None) -> list[Tensor]:
        """The decayed gradients times their ratios; of split ones the own parts, and the norms are given."""
        decay, trust = group["weight_decay"], group["trust_coefficient"]
        steps = self._decayed(weights, group)
        if not group["adapt"]:
            return steps
        is_larc = self.variant == "larc"
        weight_norms, norms = (self._own_norms(weights, steps) if norms is None else norms).chunk(2)
        ratios = trust * weight_norms / (norms + decay * weight_norms + LARC_EPSILON if is_larc else norms)
        # Where larc does not scale there is nothing to decay: weights of zero; or no step at all: gradients of zero.
        unscaled = (norms > 0).to(norms.dtype) if is_larc else torch.ones_like(norms)
        ratios = torch.where((weight_norms > 0) & (norms > 0), ratios, unscaled).to(weights[0].dtype)
        return [step.mul_(ratio) if decay else step * ratio for step, ratio in zip(steps, ratios.unbind(), strict=True)]


def _bunches(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Those with a gradient, some at a time: neighbors of one type and device, together small or a single one."""
    bunch: list[Tensor] = []
    for weight in parameters:
        if weight.grad is None:
            continue
        if bunch and (
            (weight.dtype, weight.device, is_split(weight)) != (bunch[0].dtype, bunch[0].device, is_split(bunch[0]))
            or sum(own_part(each).numel() for each in bunch) + own_part(weight).numel() > BUNCH
        ):
            yield bunch
            bunch = []
        bunch.append(weight)
    if bunch:
        yield bunch
