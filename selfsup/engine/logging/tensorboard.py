"""Scalars for TensorBoard: a copy of the metrics log.

PyTorch's ``SummaryWriter`` is not used: its thread ends with a traceback on a full disk, and it writes only every two
minutes.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfsup.ops.files import WholeAppends


class Board:
    """Appends to an event file of its own in a folder; TensorBoard drops what earlier files hold past ``resume_step``.

    Raises:
        ImportError: if the package ``tensorboard`` is not installed.
        OSError: if the file cannot be written, also by the methods.
    """

    def __init__(self, folder: Path, *, resume_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = WholeAppends(folder / name)
        self._records = RecordWriter(self._file)
        self._append(file_version="brain.Event:2")
        if resume_step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._append(step=resume_step + 1, session_log=start)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Show values measured after ``step`` updates."""
        scalars = [self._summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()]
        self._append(step=step, summary=self._summary(value=scalars))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
