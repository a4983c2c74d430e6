"""Ctrl-C and SIGTERM: finish the step, save, say how to resume."""

import signal
from types import FrameType, TracebackType
from typing import Any

from selfsup.ops.dist import is_main


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user and its state is saved.

    Args:
        step: optimizer updates done; the checkpoint of that step exists.
        number: the signal that asked for it.

    Attributes:
        exit_code: what a shell expects of a program that a signal has ended.
    """

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
        self.exit_code = 128 + number


class InterruptWatch:
    """While entered, the first SIGINT or SIGTERM only raises a flag; a second SIGINT stops at once.

    Attributes:
        asked: whether this process was asked to stop.
        number: the signal that asked it first; SIGINT as long as none has, for another process may be asked instead.
    """

    def __init__(self) -> None:
        self.asked = False
        self.number: int = signal.SIGINT
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "InterruptWatch":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number if self.asked else number
        self.asked = True
        if is_main():
            at_once = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
            print(f"\nfinishing this step, then saving{at_once}", flush=True)
