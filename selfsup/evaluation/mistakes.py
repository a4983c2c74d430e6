"""Which test images are named wrongly, sorted so that a person finds out why."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfsup.evaluation.scores import Predictions

KINDS = ("label doubtful", "right in the top five", "plainly wrong")
_SURE = 0.5  # confidence from which unanimous protocols put a label in doubt
_SURE_ALONE = 0.9  # and from which one protocol does, which nobody agrees with


@dataclass(frozen=True)
class Mistake:
    """One test image whose label was not predicted.

    Args:
        name: of the image.
        label: the class it has.
        predicted: the class it was given.
        kind: one of :data:`KINDS`.
        confidence: of the prediction, a softmax of the logits, in [0, 1].
        agree: how many protocols give the same wrong class.
        protocols: how many there are.
    """

    name: str
    label: str
    predicted: str
    kind: str
    confidence: float
    agree: int
    protocols: int


def find_mistakes(predictions: Mapping[str, Predictions], *, by: str) -> list[Mistake]:
    """The mistakes of one protocol, sorted by kind, then by how many protocols agree and how sure the one is.

    A label is doubtful where every protocol gives the same other class with a confidence of at least one half and the
    label is not among the five likeliest; a single protocol has to be sure by nine tenths. Such images are often named
    wrongly in the data. The sorting follows what the authors of BiT found when they looked at theirs (Kolesnikov et al.
    2020, arXiv:1912.11370, section 4.4).

    Args:
        predictions: of the same test source, by protocol.
        by: the protocol whose mistakes are listed; it has named images, and confidences or logits.
    """
    own, sure = predictions[by], _SURE if len(predictions) > 1 else _SURE_ALONE
    assert own.names is not None
    given = {name: dict(zip(each.index.tolist(), each.predicted, strict=True)) for name, each in predictions.items()}
    confidence, in_top = own.confidence, own.top(5)
    found = []
    for row in np.flatnonzero(~own.right).tolist():
        index, predicted = int(own.index[row]), int(own.predicted[row])
        agree = sum(each.get(index) == predicted for each in given.values())
        unanimous = agree == len(given) and confidence[row] >= sure
        kind = KINDS[1] if in_top[row] and len(own.class_names) > 5 else KINDS[0] if unanimous else KINDS[2]
        label, shown = own.class_names[int(own.labels[row])], own.class_names[predicted]
        found.append(Mistake(own.names[row], label, shown, kind, float(confidence[row]), agree, len(given)))
    return sorted(found, key=lambda each: (KINDS.index(each.kind), -each.agree, -each.confidence, each.name))


def write_mistakes(mistakes: Sequence[Mistake], path: Path) -> None:
    """A CSV file, a line for each."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "label", "predicted", "kind", "confidence", "protocols_that_agree"))
        for each in mistakes:
            agree = f"{each.agree} of {each.protocols}"
            writer.writerow((each.name, each.label, each.predicted, each.kind, f"{each.confidence:.3f}", agree))
