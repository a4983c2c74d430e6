"""One JSON line for each evaluation: what was evaluated, on what, how, and what came out."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import selfsup
from selfsup.evaluation.extraction.fingerprint import common_folder
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Predictions, Result, Score
from selfsup.evaluation.task import Task
from selfsup.ops.files import settle, unrecorded
from selfsup.ops.locks import held


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of ``results.jsonl``.

    Args:
        representation: ``name``, ``fingerprint``, ``layer``, ``flips`` where mirrored images count too, and where known
            ``method`` and ``step``; of a fusion ``fused``, its parts, and their ``scaling``.
        task: ``name``, ``fingerprint`` of each part, images and classes of each, classes missing from train and test.
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
    if getattr(representation, "flips", False):
        known["flips"] = True
    if isinstance(parts := getattr(representation, "representations", None), Sequence):
        known["fused"] = [{"name": each.name, "input_contract": each.input_contract.to_dict()} for each in parts]
        known["scaling"] = getattr(representation, "scaling", None)
    parameters = parameters_of(evaluator)
    if "hierarchy" in evaluator.needs:
        parameters["hierarchy"] = _digest(task.tree.levels, sorted(task.tree.lineages.items()))
    return Row(
        representation={**about, **known},
        task=described(task),
        evaluator=name,
        protocol=evaluator.protocol,
        parameters=parameters,
        input_contract=representation.input_contract.to_dict(),
        precision=representation.settle(task.parts.test),
        versions={"selfsup": selfsup.__version__, "torch": torch.__version__, "numpy": np.__version__},
    )


def parameters_of(evaluator: Any) -> dict[str, Any]:
    """The arguments of an evaluator, which it keeps as attributes of the same names; those of its probe within."""
    known = {name: value for name, value in sorted(vars(evaluator).items()) if not name.startswith("_")}
    return {name: _parameter(value) for name, value in known.items()}


def _parameter(value: Any) -> Any:
    if hasattr(value, "protocol") and hasattr(value, "evaluate"):
        return {"protocol": value.protocol, **parameters_of(value)}
    return list(value) if isinstance(value, tuple) else value


def described(task: Task) -> dict[str, Any]:
    """What a row says of a task."""
    parts = {name: getattr(task.parts, name) for name in ("train", "val", "test")}
    return {
        "name": task.name,
        "metric": task.metric,
        "fingerprint": task.fingerprints,
        "images": {name: len(part) for name, part in parts.items() if part is not None},
        "classes": None if task.parts.test.classes is None else len(task.parts.test.classes),
        "missing_classes": list(task.parts.missing),
        "untested_classes": list(task.parts.untested),
    }


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


def predictions_file(rows: Path, row: Row) -> Path:
    """Where the predictions of a row lie, beside the file of rows: ``predictions/IDENTITY.npz``."""
    return rows.parent / "predictions" / f"{row.identity}.npz"


def write_predictions(rows: Path, row: Row, predictions: Predictions, source: Any = None) -> Path:
    """Store what was predicted for each test image beside the file of rows.

    Args:
        rows: the file of rows.
        row: that the predictions belong to.
        predictions: of its test images.
        source: of the test images, for their names, which count from their common folder on; None if the predictions
            have names.

    Returns:
        The file: ``names``, ``index``, ``labels``, ``predicted``, ``top5`` (int64 (N, 5), the best first, -1 where
        there are fewer), ``confidence`` (the greatest softmax of the logits; NaN without logits), and ``groups`` and
        ``classes`` where known.

    Raises:
        RecordError: if it cannot be written.
    """
    names = predictions.names
    if source is not None:
        every = [source.name(index) for index in range(len(source))]
        start = common_folder(every)
        names = [every[index][start:] for index in predictions.index.tolist()]
    assert names is not None
    top = np.full((len(names), 5), -1, np.int64)
    ranked = predictions.best(5)
    top[:, : ranked.shape[1]] = ranked
    arrays: dict[str, Any] = {
        "names": np.array(names, dtype=np.str_),
        "index": predictions.index,
        "labels": predictions.labels,
        "predicted": predictions.predicted,
        "top5": top,
        "confidence": predictions.confidence.astype(np.float32),
    }
    known = {"groups": predictions.groups, "classes": predictions.classes}
    arrays |= {name: np.asarray(value) for name, value in known.items() if value is not None}
    path = predictions_file(rows, row)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        settle(partial, path)
    except OSError as error:
        raise unrecorded(path, error) from error
    return path


def read_predictions(rows: Path, row: Row) -> Predictions | None:
    """The predictions that :func:`write_predictions` stored for a row; None if there are none."""
    path = predictions_file(rows, row)
    if not path.is_file():
        return None
    with np.load(path) as found:
        held_here = {name: found[name] for name in found.files}
    classes = held_here.get("classes")
    return Predictions(
        index=held_here["index"],
        labels=held_here["labels"],
        predicted=held_here["predicted"],
        groups=held_here.get("groups"),
        classes=None if classes is None else classes.tolist(),
        names=held_here["names"].tolist(),
        ranked=held_here["top5"],
        sure=held_here["confidence"],
    )


def _digest(*values: Any) -> str:
    return hashlib.blake2b(json.dumps(values, default=_plain).encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | torch.Tensor | tuple | set | frozenset):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **dataclasses.asdict(value)}
    return str(value)
