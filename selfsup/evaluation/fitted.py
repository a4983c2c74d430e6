"""One fitted predictor for several evaluations of the same task."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from selfsup.errors import ConfigError
from selfsup.evaluation.evaluator import Predictor, Probe, predictions_of
from selfsup.evaluation.features import Features
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Predictions, Result
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main
from selfsup.registry import EVALUATORS


def build_probe(probe: Any) -> Probe:
    """A probe, or that of its dict.

    Raises:
        ConfigError: if it is an evaluator that does not learn a predictor.
    """
    built = EVALUATORS.build(probe)
    if not isinstance(built, Probe):
        raise ConfigError.at("probe", "must be a probe, such as dict(type='KNN')", got=type(built).__name__)
    return built


def fitted(
    probe: Probe,
    representation: Representation,
    task: Task,
    tests: Sequence[Features],
    score: Callable[[Predictor, list[Predictions]], Result],
) -> Result:
    """What a probe that has learned from the task's train and val says of test images.

    Args:
        probe: learns in the main process, once.
        representation: of all images.
        task: that is learned.
        tests: features of test images, which every process has.
        score: what comes of the predictor and of its predictions for each of ``tests``; main process alone. The
            predictions of the result stay there.
    """
    for part in (task.parts.train, task.parts.val):
        if part is not None:
            representation.features(part)  # every process takes its share of the images
    kept: list[Predictions | None] = []

    def found() -> Result:
        predictor = probe.predictor(representation, task)
        result = score(predictor, [predictions_of(predictor(test.features), test) for test in tests])
        kept.append(result.predictions)
        return dataclasses.replace(result, predictions=None)

    result = from_main(found)
    return dataclasses.replace(result, predictions=kept[0]) if kept else result
