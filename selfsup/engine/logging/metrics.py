"""Named numbers of a run: one JSON object a line, and TensorBoard scalars where that package is installed."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.engine.logging.tensorboard import Board
from selfsup.errors import RecordError
from selfsup.ops.files import WholeAppends, reason, unrecorded, write_whole


class MetricsLog:
    """Appends to ``metrics.jsonl`` in the work dir; line by line, so that a killed run loses at most the last one.

    A line that the disk does not take is kept and tried again with the next one; the training loop stops the run for it
    between two steps and saves it with the state, so that the resumed run writes it.

    Args:
        work_dir: the folder of the run.
        resume_step: updates done so far; lines written by an earlier run past that point are dropped, because the
            resumed run will write them again. A run that starts at 0 writes all of them.
        unwritten: lines that an earlier run could not write.
        enabled: False on every process but the main one.
        warn: is told what goes wrong without stopping the run.

    Attributes:
        unwritten: lines that the disk has not taken yet.
        fault: why it did not; None where there are none.

    Raises:
        RecordError: if the file cannot be written.
    """

    def __init__(
        self,
        work_dir: str | Path,
        *,
        resume_step: int = 0,
        unwritten: Sequence[Mapping[str, Any]] = (),
        enabled: bool = True,
        warn: Callable[[str], object] = print,
    ) -> None:
        self.path = Path(work_dir) / "metrics.jsonl"
        self.unwritten: list[dict[str, Any]] = []
        self.fault: RecordError | None = None
        self._warn = warn
        self._file: WholeAppends | None = None
        self._board: Board | None = None
        if not enabled:
            return
        kept = [line for line in read_metrics(self.path) if line["step"] <= resume_step] if resume_step else []
        kept += [dict(line) for line in unwritten if line not in kept]  # unless it was resumed from there before
        try:
            write_whole(self.path, _text(kept))
            self._file = WholeAppends(self.path)
        except OSError as error:
            raise unrecorded(self.path, error) from error
        self._board = Board(Path(work_dir) / "tensorboard", resume_step=resume_step, warn=warn)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record values measured after ``step`` updates; a value that is not finite becomes null."""
        if self._file is None or self._board is None:
            return
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self.unwritten.append({"step": step, **finite})
        try:
            self._file.write(_text(self.unwritten).encode())
        except OSError as error:
            self.fault = unrecorded(self.path, error)
        else:
            self.unwritten, self.fault = [], None
        self._board.write(step, values)

    def close(self) -> None:
        """Close both files."""
        for file in (self._file, self._board):
            try:
                if file is not None:
                    file.close()
            except OSError as error:
                self._warn(f"{self.path.parent}: the last numbers may be missing ({reason(error, self.path)})")
        self._file = self._board = None


def _text(lines: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line cut off by a kill or a full disk is left out.

    Args:
        path: the file; none gives an empty list.
    """
    path = Path(path)
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
