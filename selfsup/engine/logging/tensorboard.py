"""Scalars for TensorBoard: a copy of the metrics log.

PyTorch's ``SummaryWriter`` is not used: its thread ends with a traceback on a full disk, and it writes only every two
minutes.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selfsup.ops.files import WholeAppends, reason


class Board:
    """Appends to an event file of its own; nothing where the package ``tensorboard`` is not installed.

    Args:
        folder: of the event files.
        resume_step: updates done so far; TensorBoard drops what earlier files hold of later ones.
        warn: is told, once, if the file cannot be written.
    """

    def __init__(self, folder: Path, *, resume_step: int, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file: WholeAppends | None = None
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            return
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        try:
            folder.mkdir(exist_ok=True)
            self._file = WholeAppends(self._path)
        except OSError as error:
            self._stop(error)
            return
        self._records = RecordWriter(self._file)
        self._append(file_version="brain.Event:2")
        if resume_step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._append(step=resume_step + 1, session_log=start)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Show values measured after ``step`` updates."""
        if self._file is not None:
            scalars = [self._summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()]
            self._append(step=step, summary=self._summary(value=scalars))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _append(self, **content: Any) -> None:
        if self._file is None:
            return
        try:
            self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        except OSError as error:
            with contextlib.suppress(OSError):
                self.close()
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        self._warn(
            f"{self._path}: could not be written ({reason(error, self._path)}); TensorBoard does not show the rest "
            "of this run; metrics.jsonl has all of it"
        )
