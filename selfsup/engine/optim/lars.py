"""Layer-wise adaptive rate scaling, in the three forms that the papers' codes use."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from selfsup.errors import ConfigError, nearest
from selfsup.ops.parts import CHUNK, flat, is_split, norms_of_whole, own_part, part_norms
from selfsup.registry import OPTIMIZERS

Variant = Literal["simclr", "byol", "larc"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
LARC_EPSILON = 1e-8  # apex's LARC
BUNCH = 1 << 24  # elements whose norms are computed together, and that a GPU updates together


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
    all of them. On GPUs tensors are updated in bunches, by one kernel for all of a bunch; on processors a large tensor
    is updated in pieces that stay in the cache from the first operation to the last. Beside the momentum buffer one
    temporary of a bunch's size exists at a time, and no value is read back from the device.

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
            number: self._own_norms([own_part(w) for w in weights], [own_part(w.grad) for w in weights], group)
            for number, (weights, group) in enumerate(bunches)
            if group["adapt"] and is_split(weights[0])
        }
        if not own:
            return {}
        like = bunches[next(iter(own))][0][0]
        found = norms_of_whole(torch.cat(list(own.values())), like).split([len(norms) for norms in own.values()])
        return dict(zip(own, found, strict=True))

    def _update(self, weights: list[Tensor], group: dict[str, Any], norms: Tensor | None) -> None:
        parts = [own_part(weight) for weight in weights]
        gradients = [own_part(weight.grad) for weight in weights]
        ratios = self._ratios(weights, gradients, group, norms) if group["adapt"] else parts
        buffers = [own_part(self._buffer(weight)) for weight in weights] if group["momentum"] else parts
        for piece in _pieces(parts, gradients, buffers, ratios):
            self._move(group, *piece)

    def _move(
        self,
        group: dict[str, Any],
        parts: list[Tensor],
        gradients: list[Tensor],
        buffers: list[Tensor],
        ratios: list[Tensor],
    ) -> None:
        """Update weights by gradients; buffers count with momentum alone, ratios where weights are adapted."""
        lr, momentum = group["lr"], group["momentum"]
        steps = _decayed(gradients, parts, group)
        if group["adapt"]:
            scaled = torch.Tensor.mul_ if group["weight_decay"] else torch.mul  # without decay they are the gradients
            steps = [scaled(step, ratio) for step, ratio in zip(steps, ratios, strict=True)]
        if momentum == 0:
            torch._foreach_add_(parts, steps, alpha=-lr)
            return
        inside, outside = (lr, 1.0) if self.variant == "simclr" else (1.0, lr)
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

    def _own_norms(self, parts: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> Tensor:
        """Norms of the own parts of weights, then of gradients, with the decay that the variant measures."""
        measured = gradients if self.variant == "larc" else _decayed(gradients, parts, group)
        return part_norms([*parts, *measured], torch.promote_types(parts[0].dtype, torch.float32))

    def _ratios(
        self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any], norms: Tensor | None
    ) -> list[Tensor]:
        """What each tensor's step is scaled by; of split ones the norms are given."""
        decay, trust, is_larc = group["weight_decay"], group["trust_coefficient"], self.variant == "larc"
        if norms is None:
            norms = self._own_norms(weights, gradients, group)
        weight_norms, norms = norms.chunk(2)
        ratios = trust * weight_norms / (norms + decay * weight_norms + LARC_EPSILON if is_larc else norms)
        # Where larc does not scale there is nothing to decay: weights of zero; or no step at all: gradients of zero.
        unscaled = (norms > 0).to(norms.dtype) if is_larc else torch.ones_like(norms)
        ratios = torch.where((weight_norms > 0) & (norms > 0), ratios, unscaled).to(weights[0].dtype)
        return list(ratios.unbind())


def _decayed(gradients: list[Tensor], parts: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """The gradients with weight decay."""
    decay = group["weight_decay"]
    return list(torch._foreach_add(gradients, parts, alpha=decay)) if decay else gradients


def _pieces(*columns: list[Tensor]) -> Iterator[tuple[list[Tensor], ...]]:
    """What is updated at a time of parts, gradients, buffers and ratios: on processors large tensors chunk by chunk."""
    together = []
    for *tensors, ratio in zip(*columns, strict=True):
        if tensors[0].device.type == "cpu" and tensors[0].numel() > CHUNK and _laid_out_alike(tensors):
            for chunks in zip(*(flat(each).split(CHUNK) for each in tensors), strict=True):
                yield *([chunk] for chunk in chunks), [ratio]
        else:
            together.append((*tensors, ratio))
    if together:
        yield tuple(map(list, zip(*together, strict=True)))


def _laid_out_alike(tensors: list[Tensor]) -> bool:
    """Whether all are without gaps and in one order."""
    orders = (torch.contiguous_format, torch.channels_last)
    return any(all(each.is_contiguous(memory_format=order) for each in tensors) for order in orders)


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
