"""A limit on the size of files, as a full disk that a test may have: the system rejects what goes past it."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

NUMBERS = {f"number {index}".ljust(130, "."): 0.0 for index in range(3000)}
"""430 kB in a line of the metrics, a little more for TensorBoard: more than the checkpoint of a tiny run."""


def limit(size: int) -> None:
    """From now on no file grows past so many bytes; -1 for no limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit fails instead of ending the process
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if size < 0 else size, most))


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file grows past so many bytes inside."""
    limit(size)
    try:
        yield
    finally:
        limit(-1)


class FillsUp(Hook):
    """Leaves so much room in a file of the work dir before a step, having made the metrics longer than anything else.

    Args:
        step: before which.
        name: of the file, a pattern.
        room: bytes; None for what is not even enough for a checkpoint.
    """

    priority = "HIGHEST"

    def __init__(self, step: int, name: str, room: int | None) -> None:
        self.step, self.name, self.room = step, name, room

    def before_train(self, runner: Any) -> None:
        if self.room is not None:
            runner.metrics_log.write(0, NUMBERS)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.step and runner.rank == 0:
            (path,) = Path(runner.work_dir).glob(self.name)
            limit(100 if self.room is None else path.stat().st_size + self.room)


class LastWords(Hook):
    """Has more to record after the last step than there is room for."""

    def after_train(self, runner: Any) -> None:
        runner.metrics_log.write(runner.iter, {f"last word {number}": 0.0 for number in range(100)})
