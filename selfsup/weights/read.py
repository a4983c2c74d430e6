"""The one opener of weights: a file, or the folder of a checkpoint that many processes wrote."""

from pathlib import Path
from typing import Any

from selfsup.weights.one_file import is_folder, read_file


def read_weights(path: str | Path, *, mapped: bool = False, stand_ins: bool = True) -> dict[str, Any]:
    """Whatever a file of weights holds, on the CPU: safetensors, ``.npz``, or what ``torch.save`` wrote.

    Which of the three a file is shows its content, whatever it is called.

    Args:
        path: the file, or the folder of a checkpoint that many processes wrote.
        mapped: leave tensors in the file until they are looked at, so that processes which take different parts of
            them need no memory for the rest; safetensors are always read that way.
        stand_ins: whether objects that other training programs are known to save are read as empty ones; otherwise
            they are rejected like any other.

    Raises:
        CheckpointError: if the file is missing, truncated, or could run code when read.
    """
    path = Path(path)
    if is_folder(path):
        from selfsup.weights.sharded import read_folder  # torch.distributed.checkpoint takes a second to import

        return read_folder(path, mapped=mapped)
    return read_file(path, mapped=mapped, stand_ins=stand_ins)
