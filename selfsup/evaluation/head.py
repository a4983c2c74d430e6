"""How often a classifier's own head is right: what a training with labels is watched and reported by."""

import dataclasses
from typing import ClassVar

from selfsup.evaluation.evaluator import predictions_of
from selfsup.evaluation.protocols.fitted import HeadPredictor, check_head
from selfsup.evaluation.representation import Classifier, Representation
from selfsup.evaluation.scores import Predictions, Result, classification_scores
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class Head:
    """The scores of a classifier's own head: nothing is learned.

    The head may know more classes than the task has; those count as wrong answers.
    """

    protocol = "head/1"
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Top-1, top-5 and mean per class on the task's test images.

        Raises:
            ConfigError: if the representation has no head.
            DataError: if the head does not know a class of the test images.
        """
        check_head(None, representation)
        assert isinstance(representation, Classifier)
        test = representation.features(task.parts.test)
        kept: list[Predictions] = []

        def found() -> Result:
            predictor = HeadPredictor(representation, task.parts.test.classes)
            kept.append(predictions_of(predictor(test.features), test))
            return Result(classification_scores(kept[0]))

        result = from_main(found)
        return dataclasses.replace(result, predictions=kept[0]) if kept else result
