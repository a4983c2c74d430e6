"""Ctrl-C, SIGTERM, SIGUSR1 and a closed terminal: finish the step, save, say how to resume."""

import os
import signal
import socket
import stat
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from selfsup.ops.dist import is_main

LONG_STEP = 10.0  # seconds after which somebody who pressed Ctrl-C wants to know how long it takes
GRACE = 3.0  # seconds that a second Ctrl-C leaves PyTorch to return to Python
HANGUP: int = getattr(signal, "SIGHUP", 0)  # Windows has none
TIME_IS_UP: int = getattr(signal, "SIGUSR1", 0)
"""What Slurm sends some minutes before a job's time is over, if asked to, see tools/slurm_requeue.sh."""


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
    """While entered, the first SIGINT, SIGTERM, SIGUSR1 or SIGHUP only raises a flag; a second SIGINT stops at once.

    Python handles signals between two of its own instructions, and one call of PyTorch's may take a minute. So a thread
    is woken by the signal itself: it says when the step will be done, and ends the process if a second SIGINT has not
    reached Python within three seconds. After SIGHUP nothing is written to the terminal, which is closed; a run under
    ``nohup`` ignores SIGHUP as before.

    Attributes:
        asked: whether this process was asked to stop.
        number: the signal that asked it first; SIGINT as long as none has, for another process may be asked instead.
    """

    def __init__(self) -> None:
        self.asked = False
        self.number: int = signal.SIGINT
        self._before: dict[int, Any] = {}
        self._began: float | None = None
        self._last_step: float | None = None

    def begin_step(self) -> None:
        """A step begins, and the one before it, if any, is over."""
        now = time.monotonic()
        self._last_step = None if self._began is None else now - self._began
        self._began = now

    def __enter__(self) -> "InterruptWatch":
        for number in filter(None, (signal.SIGINT, signal.SIGTERM, TIME_IS_UP, HANGUP)):
            if number != HANGUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        self._bell, self._wire = socket.socketpair()
        self._wire.setblocking(False)
        self._fd_before = signal.set_wakeup_fd(self._wire.fileno(), warn_on_full_buffer=False)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._left.set()
        self._wire.close()
        self._thread.join()
        self._bell.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number if self.asked else number
        self.asked = True

    def _listen(self) -> None:
        """What the thread does: a byte arrives for each signal, none when the watch is over."""
        asked = False
        while numbers := self._bell.recv(16):
            for number in numbers:
                if number not in self._before:
                    continue
                if number == HANGUP:
                    _leave_terminal()
                if not asked:
                    asked = True
                    self._say(number)
                elif number == signal.SIGINT and not self._left.wait(GRACE):
                    if is_main():
                        print("\nstopped at once; the last checkpoint is kept, --resume starts from it", flush=True)
                    os._exit(128 + number)

    def _say(self, number: int) -> None:
        if not is_main():
            return
        at_once = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
        print(f"\nfinishing this step{self._when()}, then saving{at_once}", flush=True)

    def _when(self) -> str:
        so_far = 0.0 if self._began is None else time.monotonic() - self._began
        if self._last_step is None:
            return f", the first, {so_far:.0f} s so far" if so_far >= 1 else ""
        left = max(self._last_step - so_far, 1.0)
        return f" in about {left:.0f} s" if max(self._last_step, so_far) >= LONG_STEP else ""


def _leave_terminal() -> None:
    """Let what is still written to a terminal or pipe that is gone vanish, where it would raise; files stay."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if not stat.S_ISREG(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)
