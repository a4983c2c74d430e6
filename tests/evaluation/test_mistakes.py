import csv
from pathlib import Path

import numpy as np

from selfsup.evaluation.mistakes import KINDS, Mistake, find_mistakes, write_mistakes
from selfsup.evaluation.scores import Predictions

CLASSES = [f"class {number}" for number in range(7)]


def predictions(logits: np.ndarray, labels: list[int]) -> Predictions:
    return Predictions(
        np.arange(len(labels)), np.array(labels), logits.argmax(1), logits, classes=CLASSES, names=["a", "b", "c", "d"]
    )


def sorted_mistakes() -> list[Mistake]:
    """Images of class 0: named rightly; as class 1, surely and by all; as 1 with 0 second; as 1 by one of two."""
    order = np.arange(7, 0, -1, dtype=float)
    logits = np.stack(
        [
            10 * order,
            [-40, 40, 6, 5, 4, 3, 2],
            [39.9, 40, 6, 5, 4, 3, 2],
            [-40, 40, 6, 5, 4, 3, 2],
        ]
    )
    other = logits.copy()
    other[3] = [-40, 4, 40, 5, 4, 3, 2]
    both = {"linear": predictions(logits, [0] * 4), "knn": predictions(other, [0] * 4)}
    return find_mistakes(both, by="linear")


def test_mistakes_are_sorted_by_what_may_be_behind_them() -> None:
    found = {each.name: each for each in sorted_mistakes()}
    assert {name: each.kind for name, each in found.items()} == {"b": KINDS[0], "c": KINDS[1], "d": KINDS[2]}
    assert (found["b"].agree, found["d"].agree) == (2, 1)
    np.testing.assert_allclose(found["c"].confidence, 1 / (1 + np.exp(-0.1)), rtol=1e-9)


def test_the_table_has_a_line_for_each_mistake(tmp_path: Path) -> None:
    write_mistakes(sorted_mistakes(), tmp_path / "mistakes.csv")
    with (tmp_path / "mistakes.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["name"], line["label"], line["predicted"]) for line in lines] == [
        (name, "class 0", "class 1") for name in "bcd"
    ]


def test_one_protocol_alone_has_to_be_surer_to_doubt_a_label() -> None:
    for logit, kind in ((3.0, KINDS[2]), (6.0, KINDS[0])):
        logits = np.array([[-9.0, logit, 0.5, 0.4, 0.3, 0.2, 0.1]] * 4)
        (first, *_) = find_mistakes({"head": predictions(logits, [0] * 4)}, by="head")
        assert first.confidence > 0.5 and first.kind == kind
