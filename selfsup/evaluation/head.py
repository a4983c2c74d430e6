"""How often a classifier's own head is right: what a training with labels is watched and reported by."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from selfsup.data import LabelSets
from selfsup.errors import DataError
from selfsup.evaluation.evaluator import predictions_of
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.protocols.average_precision import mean_scores
from selfsup.evaluation.protocols.fitted import HeadPredictor, check_head
from selfsup.evaluation.representation import Classifier, Representation
from selfsup.evaluation.scores import Predictions, Result, classification_scores
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class Head:
    """The scores of a classifier's own head: nothing is learned.

    The head may know more classes than the task has; where images have one class each, those count as wrong answers.

    Where images may have several classes, the scores are means of average precision over the classes, ``map``,
    ``map_11`` and ``map_step``, see :class:`~selfsup.evaluation.SVM`. What does not count in an image, such as the
    classes of Open Images that nobody has verified in it, is left out of the ranking of that class; classes that no
    test image shows are left out of the mean, and the notes name them.
    """

    protocol = "head/1"
    needs: ClassVar[frozenset[str]] = frozenset({"labels", "multi-label"})

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Top-1, top-5 and mean per class, or mean average precision, on the task's test images.

        Raises:
            ConfigError: if the representation has no head.
            DataError: if the head does not know a class of the test images, or none of them shows any class.
        """
        check_head(None, representation)
        assert isinstance(representation, Classifier)
        source = task.parts.test
        test = representation.features(source)
        kept: list[Predictions] = []

        def found() -> Result:
            logits = HeadPredictor(representation, source.classes)(test.features)
            if isinstance(source.labels, LabelSets):
                return _of_several(logits.numpy(), test, source, f"tasks.{task.name}.test")
            kept.append(predictions_of(logits, test))
            return Result(classification_scores(kept[0]))

        result = from_main(found)
        return dataclasses.replace(result, predictions=kept[0]) if kept else result


def _of_several(logits: np.ndarray, test: Features, source: Any, place: str) -> Result:
    """Mean average precision of logits (N, C or more) on images that may have several classes."""
    known = source.labels.matrix(test.index.tolist())
    shown = (known > 0).any(axis=0)
    if not shown.any():
        raise DataError.at(place, "no image has a class")
    groups = None if test.groups is None else test.groups.numpy()
    scores = mean_scores(logits[:, : known.shape[1]][:, shown], known[:, shown], groups)
    lacking = [name for name, there in zip(source.classes, shown, strict=True) if not there]
    more = ", ..." if len(lacking) > 10 else ""
    note = f"n/a: {len(lacking)} classes that no test image shows do not count: {', '.join(lacking[:10])}{more}"
    return Result(scores, notes=(note,) if lacking else ())
