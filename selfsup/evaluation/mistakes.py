"""Which test images are named wrongly, sorted so that a person finds out why."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsup.evaluation.scores import Predictions

KINDS = ("label doubtful", "right in the top five", "plainly wrong")
_SURE = 0.5  # confidence from which unanimous protocols put a label in doubt


@dataclass(frozen=True)
class Mistake:
    """One test image whose label was not predicted.

    Args:
        index: position in the test source.
        name: of the image.
        label: the class it has.
        predicted: the class it was given.
        kind: one of :data:`KINDS`.
        confidence: of the prediction, a softmax of the logits, in [0, 1].
        agree: how many protocols give the same wrong class.
        protocols: how many there are.
        rank: of the label among the logits, 1 for the greatest.
    """

    index: int
    name: str
    label: str
    predicted: str
    kind: str
    confidence: float
    agree: int
    protocols: int
    rank: int


def find_mistakes(predictions: Mapping[str, Predictions], names: Sequence[str], *, by: str) -> list[Mistake]:
    """The mistakes of one protocol, sorted by kind, then by how many protocols agree and how sure the one is.

    A label is doubtful where every protocol gives the same other class with a confidence of at least one half and the
    label is not among the five likeliest: such images are often named wrongly in the data. The sorting follows what
    the authors of BiT found when they looked at theirs (Kolesnikov et al. 2020, arXiv:1912.11370, section 4.4).

    Args:
        predictions: of the same test source, by protocol.
        names: of the source's images.
        by: the protocol whose mistakes are listed; gives logits.
    """
    own = predictions[by]
    assert own.logits is not None
    others = {name: dict(zip(each.index.tolist(), each.predicted, strict=True)) for name, each in predictions.items()}
    shifted = own.logits - own.logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)
    found = []
    for row in np.flatnonzero(~own.right):
        index, label, predicted = int(own.index[row]), int(own.labels[row]), int(own.predicted[row])
        agree = sum(each.get(index) == predicted for each in others.values())
        logits = own.logits[row]
        rank = 1 + int((logits > logits[label]).sum()) if label < len(logits) else len(logits) + 1
        unanimous = agree == len(others) and confidence[row] >= _SURE
        kind = KINDS[1] if rank <= 5 and len(logits) > 5 else KINDS[0] if unanimous else KINDS[2]
        right, given = (str(number) if own.classes is None else own.classes[number] for number in (label, predicted))
        found.append(Mistake(index, names[index], right, given, kind, float(confidence[row]), agree, len(others), rank))
    return sorted(found, key=lambda each: (KINDS.index(each.kind), -each.agree, -each.confidence, each.name))


def write_mistakes(mistakes: Sequence[Mistake], path: Path) -> None:
    """A CSV file, a line for each."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "label", "predicted", "kind", "confidence", "protocols_that_agree", "rank_of_label"))
        for each in mistakes:
            agree = f"{each.agree} of {each.protocols}"
            writer.writerow(
                (each.name, each.label, each.predicted, each.kind, f"{each.confidence:.3f}", agree, each.rank)
            )
