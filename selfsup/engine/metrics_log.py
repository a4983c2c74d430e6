"""Named numbers of a run: one JSON object a line, and TensorBoard scalars where that package is installed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends to ``metrics.jsonl`` in the work dir; line by line, so that a killed run loses at most the last one.

    Args:
        work_dir: the folder of the run.
        resume_step: updates done so far; lines written by an earlier run past that point are dropped, because the
            resumed run will write them again.
        enabled: False on every process but the main one.
    """

    def __init__(self, work_dir: str | Path, *, resume_step: int = 0, enabled: bool = True) -> None:
        self.path = Path(work_dir) / "metrics.jsonl"
        self._file: Any = None
        self._board: Any = None
        if not enabled:
            return
        kept = [line for line in read_metrics(self.path) if line["step"] < resume_step]
        partial = self.path.with_name("metrics.jsonl.partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(Path(work_dir) / "tensorboard"), purge_step=resume_step or None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record values measured after ``step`` updates; a value that is not finite becomes null."""
        if self._file is None:
            return
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both files."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._board is not None:
            self._board.close()
            self._board = None


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last line cut off by a kill is left out.

    Args:
        path: the file; none gives an empty list.
    """
    path = Path(path)
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
