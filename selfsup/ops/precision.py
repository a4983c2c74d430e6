"""Which precision a device computes fast, and where half precision must not reach."""

import platform
import time
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from selfsup.ops.dist import gather_objects

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_FASTER = 1.5  # a measurement alone chooses bf16 only from here on: its rounding should pay
_EMULATED = 0.2  # with AVX512_BF16 the ratio is 2, and other load must not decide; 0.08 where oneDNN emulates bf16
_REPEATS = 3


def fast_precision(device: torch.device) -> Precision:
    """The precision to train in on a device: the first of :func:`fast_precisions`."""
    return fast_precisions(device)[0]


def fast_precisions(device: torch.device) -> tuple[Precision, ...]:
    """What a device computes in hardware, the best first; float32 is always the last.

    - GPUs: bf16 from compute capability 8.0 on, fp16 on all; it needs loss scaling and so comes second.
    - CPUs: bf16 on x86 with AVX512_BF16, which every processor with AMX has too, unless ``ONEDNN_MAX_CPU_ISA`` keeps
      PyTorch from it. Without, PyTorch emulates bf16, twelve times slower than float32. Of other processors no feature
      tells whether PyTorch makes use of it; there it is measured.
    - Others, MPS among them: float32 alone.
    """
    if device.type == "cuda":
        return ("bf16", "fp16", "fp32") if torch.cuda.get_device_capability(device) >= (8, 0) else ("fp16", "fp32")
    if device.type == "cpu":
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        has_bf16 = not x86 or torch.cpu._is_avx512_bf16_supported()
        return ("bf16", "fp32") if has_bf16 and _bf16_gain() >= (_EMULATED if x86 else _FASTER) else ("fp32",)
    return ("fp32",)


def fast_everywhere(device: torch.device) -> Precision:
    """The precision that the devices of all processes compute in hardware, the best by process 0; all call it together.

    Where they differ it is what all of them have in common, so that none holds up the others: fp16 for GPUs with and
    without bf16, float32 as soon as one device has nothing else.
    """
    everyone = gather_objects(fast_precisions(device))
    return next(precision for precision in everyone[0] if all(precision in fast for fast in everyone))


def reason(precision: Precision, device: torch.device) -> str:
    """Why a run computes in what :func:`fast_everywhere` says, for a line of the log."""
    if precision != (own := fast_precision(device)):
        return f"not all processes have devices that compute {own} in hardware"
    name = {"cpu": "processor", "cuda": "GPU"}.get(device.type)
    if name is None:
        return f"the one that is known to be safe on {device.type}"
    if precision == "bf16":
        return f"this {name} computes it in hardware"
    return f"this {name} does not compute bf16 in hardware" + ("; the loss is scaled" if precision == "fp16" else "")


@cache
def _bf16_gain() -> float:
    """How many times faster a convolution, there and back, is in bf16 than in float32; measured once, in about 50 ms.

    The best of several repeats counts, taken in turn and on one thread, so that other load on the machine, for which
    several threads wait 20 ms at a time, does not decide.
    """
    images, kernels = torch.ones(2, 64, 28, 28, device="cpu"), torch.ones(64, 64, 3, 3, device="cpu")
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for repeat in range(_REPEATS + 1):
            for dtype in best:
                start = time.perf_counter()
                _convolve(images.to(dtype), kernels.to(dtype))
                if repeat:  # the first prepares the kernels
                    best[dtype] = min(best[dtype], time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return best[torch.float32] / best[torch.bfloat16]


@torch.enable_grad()
def _convolve(images: Tensor, kernels: Tensor) -> None:
    functional.conv2d(images.requires_grad_(), kernels.requires_grad_(), padding=1).sum().backward()


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that already."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def without_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which the operations on the tensor's device keep their inputs' precision."""
    return torch.autocast(tensor.device.type, enabled=False)
