"""Ctrl-C and SIGTERM: finish the step, save, say how to go on."""

import signal
from types import FrameType, TracebackType
from typing import Any

import torch

from selfsup.ops.dist import all_reduce_sum, is_main, local_device, world_size


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user and its state is saved.

    Args:
        step: optimiser updates done; the checkpoint of that step exists.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


class InterruptWatch:
    """While entered, the first SIGINT or SIGTERM only raises a flag; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "InterruptWatch":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Whether any process was asked to stop; every process gets the same answer."""
        if world_size() == 1:
            return self._asked
        votes = torch.tensor([float(self._asked)], device=local_device())
        return bool(all_reduce_sum(votes).item())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        if is_main():
            print("\nfinishing this step, then saving; press Ctrl-C again to stop at once", flush=True)
