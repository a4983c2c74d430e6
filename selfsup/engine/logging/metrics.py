"""Named numbers of a run: one JSON object a line, and TensorBoard scalars where that package is installed."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from selfsup.engine.logging.tensorboard import Board
from selfsup.errors import RecordError
from selfsup.ops.dist import is_main
from selfsup.ops.files import WholeAppends, reason, unrecorded, write_whole


class MetricsLog:
    """Appends to ``metrics.jsonl``, on the main process; line by line, so that a killed run loses at most the last one.

    A line that the disk does not take is kept and tried again with the next one; the training loop stops the run for it
    between two steps and saves it with the state, so that the resumed run writes it.

    Args:
        work_dir: the folder of the run.
        resume_step: updates done so far; lines past that point are dropped, because the run will write them again.
        unwritten: lines that an earlier run could not write.
        warn: is told what goes wrong without stopping the run.

    Attributes:
        unwritten: lines that the disk has not taken yet.
        fault: why it did not; None where there are none.
        copies: called with step and values of every line, on the main process.

    Raises:
        RecordError: if the file cannot be written.
    """

    def __init__(
        self,
        work_dir: str | Path,
        *,
        resume_step: int = 0,
        unwritten: Sequence[Mapping[str, Any]] = (),
        warn: Callable[[str], object] = print,
    ) -> None:
        self.path = Path(work_dir) / "metrics.jsonl"
        self.unwritten: list[dict[str, Any]] = []
        self.fault: RecordError | None = None
        self.copies: list[Callable[[int, Mapping[str, float]], object]] = []
        self._warn = warn
        self._file: WholeAppends | None = None
        self._board: Board | None = None
        if not is_main():
            return
        kept = [line for line in read_metrics(self.path) if line["step"] <= resume_step] if resume_step else []
        kept += [dict(line) for line in unwritten if line not in kept]  # unless it was resumed from there before
        try:
            write_whole(self.path, _text(kept))
            self._file = WholeAppends(self.path)
        except OSError as error:
            raise unrecorded(self.path, error) from error
        with contextlib.suppress(ImportError), self._copying():
            self._board = Board(Path(work_dir) / "tensorboard", resume_step=resume_step)

    @contextlib.contextmanager
    def _copying(self) -> Iterator[None]:
        """A full disk stops the copy for TensorBoard, not the run."""
        try:
            yield
        except OSError as error:
            board, self._board = self._board, None
            with contextlib.suppress(OSError):
                if board is not None:
                    board.close()
            self._warn(
                f"{self.path.with_name('tensorboard')}: could not be written ({reason(error, self.path)}); it does not "
                "show the rest of this run; metrics.jsonl has all of it"
            )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record values measured after ``step`` updates; a value that is not finite becomes null."""
        if self._file is None:
            return
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self.unwritten.append({"step": step, **finite})
        try:
            self._file.write(_text(self.unwritten).encode())
        except OSError as error:
            self.fault = unrecorded(self.path, error)
        else:
            self.unwritten, self.fault = [], None
        with self._copying():
            if self._board is not None:
                self._board.write(step, values)
        for copy in self.copies:
            copy(step, values)

    def close(self) -> None:
        """Close both files."""
        for file in (self._board, self._file):
            if file is not None:
                file.close()
        self._file = self._board = None


def _text(lines: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``, if there is one; a last line cut off by a kill or a full disk is left out."""
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
