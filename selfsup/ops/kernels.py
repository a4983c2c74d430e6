"""Which kernels GPUs compute with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def choose_kernels(device: torch.device, *, tf32: bool, benchmark: bool, deterministic: bool) -> None:
    """Set what a process computes with on a GPU; on other devices nothing is changed.

    Args:
        device: of the process.
        tf32: float32 products with the 10 bits of TF32.
        benchmark: let cuDNN try its convolutions at each new size and keep the fastest.
        deterministic: the same result at each repetition, bit by bit; nothing is tried out then.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = benchmark and not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it at its first product
    torch.use_deterministic_algorithms(deterministic)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Float32 is float32 inside, as features that are compared with another device's must be."""
    places: tuple[Any, Any] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed
