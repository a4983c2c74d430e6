"""How much of a device's peak a step comes to."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.ops.cost import FLOPS_PER_MULTIPLY_ADD, multiply_adds
from selfsup.ops.parts import is_sharded
from selfsup.ops.precision import DTYPES, Precision
from selfsup.registry import BACKBONES

_HALF, _FLOAT = ("bf16", "fp16"), ("fp32",)
STATED: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("H200", _HALF, 989e12),
    ("H100 PCIe", _HALF, 756e12),
    ("H100", _HALF, 989e12),
    ("A100", _HALF, 312e12),
    ("A100", _FLOAT, 19.5e12),
    ("L40S", _HALF, 362e12),
    ("L4", _HALF, 121e12),
    ("A10", _HALF, 125e12),
    ("V100", ("fp16",), 125e12),
    ("V100", _FLOAT, 15.7e12),
    ("T4", ("fp16",), 65e12),
    ("T4", _FLOAT, 8.1e12),
)
"""Dense floating-point operations a second, by what is part of a GPU's name; NVIDIA's data sheets."""
_SIDE = 2048  # of the matrices that are multiplied
_SECONDS = 0.3
_BACKWARD = 2  # gradients of weights and of inputs, each as much as the forward pass


def stated_peak(device: torch.device, precision: Precision, *, tf32: bool) -> float | None:
    """What the maker states; None for devices that are not in the table, and for float32 products in TF32."""
    if device.type != "cuda" or (tf32 and precision == "fp32"):
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ")
    for name, precisions, peak in STATED:
        if precision in precisions and f" {name} " in f" {words} ":
            return peak
    return None


def measured_peak(device: torch.device, precision: Precision) -> float:
    """Floating-point operations a second of a large matrix product, the fastest of some."""
    one, other = (torch.ones(_SIDE, _SIDE, device=device, dtype=DTYPES[precision]) for _ in range(2))
    start, best = time.perf_counter(), float("inf")
    while time.perf_counter() - start < _SECONDS or best == float("inf"):
        begun = time.perf_counter()
        torch.mm(one, other)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return FLOPS_PER_MULTIPLY_ADD * _SIDE**3 / best


class Work:
    """What a step computes in its backbones, seen in the first one.

    Args:
        method: whose modules called ``backbone`` are watched until :meth:`share` is asked first.
        model: the section that built it.
        peak: of the device, in floating-point operations a second.
    """

    def __init__(self, method: nn.Module, model: Mapping[str, Any], peak: float) -> None:
        self._model, self._peak, self._operations = model, peak, 0.0
        self._calls: Counter[tuple[nn.Module, tuple[int, ...], bool]] | None = Counter()
        watched = [part for name, part in method.named_modules() if name.rpartition(".")[2] == "backbone"]
        self._handles = [part.register_forward_hook(self._note) for part in watched]

    def _note(self, part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self._calls is not None and inputs and isinstance(images := inputs[0], Tensor) and images.dim() == 4:
            trained = isinstance(output, Tensor) and output.requires_grad
            self._calls[part, tuple(images.shape[2:]), trained] += len(images)

    def share(self, seconds: float) -> float | None:
        """The share of the peak that a step of so many seconds comes to; None where the work is not known."""
        if self._calls is not None:
            for handle in self._handles:
                handle.remove()
            calls, self._calls = self._calls, None
            self._operations = sum(self._operations_of(*call) * count for call, count in calls.items())
        share = self._operations / seconds / self._peak
        return share if share > 0 else None

    def _operations_of(self, part: nn.Module, size: tuple[int, ...], trained: bool) -> float:
        """Of one image; not a number where it is not known."""
        if size[0] != size[1]:
            return float("nan")
        if is_sharded(part):  # which computes with what it gathers
            if "teacher" in self._model or not isinstance(self._model.get("backbone"), dict):
                return float("nan")
            with torch.device("meta"):
                part = BACKBONES.build(self._model["backbone"])
        return FLOPS_PER_MULTIPLY_ADD * multiply_adds(part, size[0]) * (1 + _BACKWARD * trained)
