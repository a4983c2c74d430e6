"""What a transfer leaves for people: which classes are taken for which, and the images that are named wrongly."""

import csv
from pathlib import Path

import numpy as np

from selfsup.evaluation.mistakes import KINDS, find_mistakes, write_mistakes
from selfsup.evaluation.scores import Predictions
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.transfer import Transferred

SHOWN = 8  # mistakes of each kind in the picture


def confusion(predictions: Predictions) -> np.ndarray:
    """How many images of each class (rows) are given each class (columns), int64 (C, C)."""
    count = len(predictions.class_names)
    pairs = predictions.labels * count + predictions.predicted
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def write_report(out: Transferred, data: Labelled) -> list[Path]:
    """Confusion matrix and mistakes on the test images, as tables and pictures.

    Returns:
        The files; none without test images. Pictures need the extra ``selfsup[report]`` and are left out without it.
    """
    if out.predictions is None:
        return []
    predictions, folder = out.predictions, out.work_dir
    counts, classes = confusion(predictions), predictions.class_names
    table = folder / "confusion.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["is \\ given", *classes])
        writer.writerows([name, *row] for name, row in zip(classes, counts.tolist(), strict=True))
    mistakes = find_mistakes({"head": predictions}, by="head")
    listed = folder / "mistakes.csv"
    write_mistakes(mistakes, listed)
    from selfsup.plots import CAN_DRAW

    if not CAN_DRAW:
        return [table, listed]
    from selfsup.plots import draw_confusion, draw_mistakes

    written = [table, draw_confusion(counts, classes, folder / "confusion.png"), listed]
    if mistakes:
        test = data.task().parts.test
        assert predictions.names is not None
        place = dict(zip(predictions.names, predictions.index.tolist(), strict=True))
        rows = {
            kind: [
                (test.image(place[each.name])[..., :3], each.label, each.predicted)
                for each in [each for each in mistakes if each.kind == kind][:SHOWN]
            ]
            for kind in KINDS
        }
        written.append(draw_mistakes(rows, folder / "mistakes.png", title="Mistakes, the surest first"))
    return written
