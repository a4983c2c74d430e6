"""Inference as fast as the device allows, where its features agree with float32."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from selfsup.ops.dist import broadcast_object, gather_objects, rank, world_size
from selfsup.ops.precision import DTYPES, Precision, fast_everywhere

LARGEST_COPY = 2**31
"""Bytes of weights up to which a network is copied to have its batch norm folded."""
COSINE = 0.999  # of each image's features with those in float32
COSINE_ABOUT_MEAN = 0.99  # once the mean of the images is taken away: without labels, all of what tells images apart
FOLDED_ERROR = 1e-3  # of the folded network in float32, relative to the largest feature

COMPARED = 2  # images that a folded network is compared on: in eval mode each is computed on its own

Run = Callable[[nn.Module, slice], Sequence[Tensor]]
"""A network and which of some real images, to their features, a tensor for each layer."""
ALL = slice(None)


class Inference:
    """How a network is run: itself or its folded copy, and in which precision.

    Args:
        network: what computes.
        precision: of its matrix products and convolutions.
        said: one line on why it is not the fast one; empty if it is.
    """

    def __init__(self, network: nn.Module, precision: Precision, said: str = "") -> None:
        self.network, self.precision, self.said = network, precision, said

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context that the network is run in."""
        enabled = self.precision != "fp32"
        return torch.autocast(device.type, dtype=DTYPES[self.precision] if enabled else None, enabled=enabled)


@torch.no_grad()
def prepared(network: nn.Module, run: Run, precision: Precision | None, device: torch.device) -> Inference:
    """The fastest way to run a frozen network that gives its features; all processes call it together.

    Batch norm is folded into the convolution before it where that leaves the features as they are. The network itself
    is not changed.

    Args:
        network: in eval mode.
        run: tells what the network, or a copy of it, makes of some real images, or of the first of them.
        precision: which to compute in; None for the fast one of all devices, if the features agree with float32.
        device: where.
    """
    plain = Inference(network, "fp32")
    fast = precision or fast_everywhere(device)
    if fast == "fp32" and not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return plain
    with plain.autocast(device):
        reference = run(network, ALL)
        folded = _folded(network, run, reference)
    best = Inference(network if folded is None else folded, fast)
    if precision is None and fast != "fp32":
        with best.autocast(device):
            lowest = min(_agreement(*pair) for pair in zip(run(best.network, ALL), reference, strict=True))
        if min(gather_objects(lowest)) < 0:
            return Inference(best.network, "fp32", f"features in {fast} differ too much from float32, which is used")
    return best


def _agreement(fast: Tensor, reference: Tensor) -> float:
    """How far the lowest cosine of features (B, D) is above what it has to be; negative if it is not."""
    fast, reference = fast.double().cpu(), reference.double().cpu()
    lowest = cosine_similarity(fast, reference).min().item() - COSINE
    if len(fast) > 2:
        about_mean = cosine_similarity(fast - fast.mean(dim=0), reference - reference.mean(dim=0))
        lowest = min(lowest, about_mean.min().item() - COSINE_ABOUT_MEAN)
    return lowest if lowest == lowest else -1.0  # not a number


def _folded(network: nn.Module, run: Run, reference: Sequence[Tensor]) -> nn.Module | None:
    """A copy whose batch norms are part of the convolutions before them; None where that is not possible."""
    if sum(tensor.nbytes for tensor in network.parameters()) > LARGEST_COPY:
        return None
    try:
        copied = copy.deepcopy(network).requires_grad_(False)
        pairs = _pairs(copied, run)
        for name, (conv, bn) in pairs.items():
            _fold(conv, bn)
            copied.set_submodule(name, _rest(bn))
        copied = copied.to(memory_format=torch.channels_last)
        found = run(copied, slice(COMPARED)) if pairs else ()
    except Exception:  # whatever a stranger's network does when it is taken apart, the network itself remains
        return None
    same = all(
        (a - b[:COMPARED]).abs().max() <= FOLDED_ERROR * b[:COMPARED].abs().max()
        for a, b in zip(found, reference, strict=bool(found))
    )
    return copied if same and pairs else None


def _pairs(network: nn.Module, run: Run) -> dict[str, tuple[nn.Conv2d, Any]]:
    """Batch norms by name, with the convolution that each of them alone is given the output of."""
    made: dict[int, tuple[Tensor, int, nn.Conv2d]] = {}
    calls: dict[nn.Module, int] = {}
    takes: dict[nn.Module, nn.Conv2d] = {}

    def after_conv(conv: Any, _: Any, output: Tensor) -> None:
        calls[conv] = calls.get(conv, 0) + 1
        made[id(output)] = output, output._version, conv  # kept, so that its id stays its own

    def before_bn(bn: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[bn] = calls.get(bn, 0) + 1
        output, version, conv = made.get(id(inputs[0]), (None, 0, None))
        if conv is not None and output is not None and output._version == version:
            takes[bn] = conv

    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and type(module).forward is nn.Conv2d.forward:
            handles.append(module.register_forward_hook(after_conv))
        elif isinstance(module, _BatchNorm) and module.running_mean is not None and not module.training:
            handles.append(module.register_forward_pre_hook(before_bn))
    try:
        run(network, slice(1))
    finally:
        for handle in handles:
            handle.remove()
    names = {module: name for name, module in network.named_modules()}
    return {names[bn]: (conv, bn) for bn, conv in takes.items() if calls[bn] == calls[conv] == 1}


def _fold(conv: nn.Conv2d, bn: Any) -> None:
    statistics = bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
    conv.requires_grad_(False)


def _rest(bn: Any) -> nn.Module:
    """What a batch norm does beside normalizing: timm's may end with an activation."""
    rest = [part for part in (getattr(bn, "drop", None), getattr(bn, "act", None)) if isinstance(part, nn.Module)]
    return nn.Sequential(*rest) if rest else nn.Identity()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """In eval mode, with the running statistics of process 0, which are the ones that a checkpoint holds.

    Running statistics drift apart between processes until DistributedDataParallel's next broadcast. Flags and
    statistics are as before afterwards.
    """
    flags = {part: part.training for part in module.modules()}
    own = {n: b for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var"))}
    before: dict[str, Tensor] = {}
    module.eval()
    try:
        if world_size() > 1 and own:
            main = broadcast_object({name: buffer.cpu() for name, buffer in own.items()} if rank() == 0 else None)
            before = {name: buffer.clone() for name, buffer in own.items()}
            for name, buffer in own.items():
                buffer.copy_(main[name])
        yield
    finally:
        for name, value in before.items():
            own[name].copy_(value)
        for part, training in flags.items():
            part.training = training
