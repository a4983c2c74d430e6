"""Memory: how much a device has, and the C allocator, which as it comes costs a training on the CPU as much as the
arithmetic."""

import ctypes
import os

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
TUNED = {
    M_MMAP_MAX: 0,  # nothing gets pages of its own, which would go back to the system with it
    M_TRIM_THRESHOLD: -1,  # as an unsigned number the greatest: the end of the heap does not go back either
    M_TOP_PAD: 256 * 2**20,  # the heap grows by so much at a time; from 128 KB on it makes little difference
}

_decided: list[bool] = []  # by the first call: the allocator is the whole process's


def tune_allocator(wanted: bool = True) -> bool:
    """Let glibc's allocator keep what is freed, for a process that computes on the CPU; the first call decides.

    glibc gives the memory of freed tensors back to the system, and the next step faults in every page anew. Kept, it is
    there for the next step; the process then keeps the greatest size that it has had. Other allocators, macOS's,
    Windows's and musl's, are left alone, and so are processes that this one starts.

    Args:
        wanted: False leaves the allocator of this process alone.

    Returns:
        Whether the allocator of this process is tuned.
    """
    if not _decided:
        _decided.append(wanted and set_allocator(TUNED))
    return _decided[0]


def set_allocator(options: dict[int, int]) -> bool:
    """Set parameters of glibc's ``mallopt``; False where there is no glibc, or it does not take one of them."""
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt if hasattr(libc, "gnu_get_libc_version") else None
    except (OSError, TypeError):  # Windows has no such library
        return False
    return mallopt is not None and all([mallopt(name, value) for name, value in options.items()])


def device_memory(device: torch.device) -> int:
    """Bytes of a device's memory, all of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether PyTorch says that a device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
