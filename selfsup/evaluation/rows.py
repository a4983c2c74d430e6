"""One JSON line for each evaluation: what was evaluated, on what, how, and what came out."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import selfsup
from selfsup.errors import DecodeError
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Result, Score
from selfsup.evaluation.task import Task
from selfsup.ops.locks import held

SAMPLED = 200
"""Images of a part whose content is part of its fingerprint."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of ``results.jsonl``.

    Args:
        representation: ``name``, ``fingerprint``, ``layer``, and where known ``method`` and ``step``.
        task: ``name``, ``fingerprint`` of each part, images and classes of each, classes missing from train.
        evaluator: its name in the config.
        protocol: name and version.
        parameters: of the protocol.
        chosen: hyper-parameters that were chosen, and how.
        scores: by name.
        notes: what a reader should know.
        input_contract: how images were shown.
        precision: of the features.
        versions: of the libraries.
        seconds: that it took.
    """

    representation: Mapping[str, Any]
    task: Mapping[str, Any]
    evaluator: str
    protocol: str
    parameters: Mapping[str, Any]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    input_contract: Mapping[str, Any]
    precision: str = "fp32"
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def identity(self) -> str:
        """A digest of what can change the scores; device, workers, paths and names are no part of it."""
        decisive = {
            "representation": self.representation["fingerprint"],
            "task": self.task["fingerprint"],
            "metric": self.task["metric"],
            "protocol": self.protocol,
            "parameters": self.parameters,
            "input_contract": self.input_contract,
            "precision": self.precision,
        }
        text = json.dumps(decisive, sort_keys=True, default=_plain)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def with_result(self, result: Result, seconds: float) -> "Row":
        """The row once it is computed."""
        return dataclasses.replace(
            self, scores=result.scores, chosen=dict(result.chosen), notes=result.notes, seconds=round(seconds, 3)
        )

    def to_json(self) -> str:
        """One line, without its end."""
        return json.dumps({"identity": self.identity, **dataclasses.asdict(self)}, default=_plain)

    @classmethod
    def from_json(cls, line: str) -> "Row":
        """The inverse of :meth:`to_json`."""
        found = json.loads(line)
        found.pop("identity", None)
        scores = {name: Score(**score) for name, score in found.pop("scores").items()}
        return cls(**{**found, "scores": scores, "notes": tuple(found["notes"])})


def row_of(representation: Representation, task: Task, name: str, evaluator: Any, **known: Any) -> Row:
    """The row of an evaluation that is still to be done.

    Args:
        representation: what is evaluated.
        task: on what.
        name: of the evaluator in the config.
        evaluator: what evaluates it.
        known: more about the representation, such as ``method`` and ``step``.
    """
    about = {"name": representation.name, "fingerprint": representation.fingerprint, "layer": representation.layer}
    return Row(
        representation={**about, **known},
        task=described(task),
        evaluator=name,
        protocol=evaluator.protocol,
        parameters=parameters_of(evaluator),
        input_contract=representation.input_contract.to_dict(),
        precision=representation.settle(task.parts.test),
        versions={"selfsup": selfsup.__version__, "torch": torch.__version__, "numpy": np.__version__},
    )


def parameters_of(evaluator: Any) -> dict[str, Any]:
    """The arguments of an evaluator, which it keeps as attributes of the same names."""
    known = {name: value for name, value in sorted(vars(evaluator).items()) if not name.startswith("_")}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}


def described(task: Task) -> dict[str, Any]:
    """What a row says of a task."""
    parts = {name: getattr(task.parts, name) for name in ("train", "val", "test")}
    return {
        "name": task.name,
        "metric": task.metric,
        "fingerprint": {name: fingerprint(part) for name, part in parts.items() if part is not None},
        "images": {name: len(part) for name, part in parts.items() if part is not None},
        "classes": None if task.parts.test.classes is None else len(task.parts.test.classes),
        "missing_classes": list(task.parts.missing),
    }


def fingerprint(source: Any) -> str:
    """A digest of a source's images: names, labels by class name, sizes of files, content of a few hundred.

    Args:
        source: see :class:`~selfsup.data.ImageSource`; names that are paths count from their common folder on.
    """
    names = [source.name(index) for index in range(len(source))]
    start = _common_folder(names)
    digest = hashlib.blake2b(digest_size=16)
    labels = getattr(source, "labels", None)
    classes = getattr(source, "classes", None)
    for index, name in enumerate(names):
        label: Any = None
        if labels is not None:
            label = labels.row(index).tolist() if hasattr(labels, "row") else int(labels[index])
        shown = classes[label] if classes is not None and isinstance(label, int) and label >= 0 else label
        digest.update(f"{name[start:]}\t{shown}\n".encode("utf-8", "backslashreplace"))
    path = getattr(source, "file", None)
    for index in np.linspace(0, len(names) - 1, min(SAMPLED, len(names))).astype(int).tolist():
        file = path(index) if callable(path) else None
        if file is not None and Path(file).is_file():
            digest.update(Path(file).read_bytes())
        else:
            with contextlib.suppress(DecodeError):  # its name is part of the digest
                digest.update(source.image(index).tobytes())
    return digest.hexdigest()


def append_row(path: Path, row: Row) -> None:
    """Add a row to a file of rows; several processes and machines may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(path.with_name(path.name + ".lock")), path.open("ab") as file:
        file.write(row.to_json().encode() + b"\n")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, oldest first; an empty list if there is none. A line cut off by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(Row.from_json(line))
        except ValueError:
            continue
    return rows


def _common_folder(names: list[str]) -> int:
    """How many characters of names that are paths lead to the folder all of them lie in."""
    if not names:
        return 0
    first, last = min(names), max(names)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first.rfind("/", 0, same) + 1


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | torch.Tensor | tuple | set | frozenset):
        return list(value)
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
