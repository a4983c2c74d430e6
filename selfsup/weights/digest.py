"""Digests that tell weights apart: of a file, of a network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from selfsup.errors import CheckpointError
from selfsup.ops.parts import whole
from selfsup.weights.one_file import MANIFEST, is_folder

BLOCK = 2**24  # numbers that are copied to the CPU at once


def fingerprint(weights: nn.Module | Mapping[str, Tensor]) -> str:
    """A hash of names, shapes, types and bytes of all tensors, whatever their order and device: 32 hexadecimal digits.

    Args:
        weights: a network, or its state dict; if it is split over processes, all of them call this together.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        tensor = whole(state[name].detach())
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        for block in tensor.reshape(-1).split(BLOCK):
            digest.update(block.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def digest_of(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits; of a checkpoint's folder that of its manifest, which has all others.

    Raises:
        CheckpointError: if it cannot be read.
    """
    file = file / MANIFEST if is_folder(file) else file
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError.at(str(file), f"cannot be read ({error.strerror})") from error
