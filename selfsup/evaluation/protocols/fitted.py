"""One predictor for several evaluations of the same task: what a probe has learned, or a classifier's own head."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from selfsup.errors import ConfigError, DataError, nearest
from selfsup.evaluation.evaluator import Predictor, Probe, predictions_of
from selfsup.evaluation.extraction.features import Features, device_of
from selfsup.evaluation.representation import Classifier, Representation
from selfsup.evaluation.scores import Predictions, Result
from selfsup.evaluation.task import Task
from selfsup.ops.dist import from_main
from selfsup.registry import EVALUATORS


def build_probe(probe: Any) -> Probe | None:
    """A probe, or that of its dict; None stays None.

    Raises:
        ConfigError: if it is an evaluator that does not learn a predictor.
    """
    if probe is None:
        return None
    built = EVALUATORS.build(probe)
    if not isinstance(built, Probe):
        raise ConfigError.at("probe", "must be a probe, such as dict(type='KNN')", got=type(built).__name__)
    return built


class HeadPredictor:
    """A classifier's own head as a predictor.

    Args:
        classifier: has the head.
        classes: in the order of the logits that are wanted; those of the head that are not among them come last.

    Raises:
        DataError: if the head does not know one of the classes.
    """

    chosen: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()

    def __init__(self, classifier: Classifier, classes: Sequence[str]) -> None:
        place = {name: number for number, name in enumerate(classifier.classes)}
        unknown = [name for name in classes if name not in place]
        if unknown:
            some = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
            raise DataError.at(
                "classes",
                f"the head of {classifier.name} does not know {len(unknown)} classes of the test images",
                got=some,
                expected=nearest(unknown[0], place),
            )
        first = [place[name] for name in classes]
        self.order = [*first, *sorted(set(place.values()) - set(first))]
        self.classifier = classifier

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """Logits, float32 (M, C), of features (M, D)."""
        place = device_of(self.classifier.backbone)
        blocks = [self.classifier.head(part.to(place)).float().cpu() for part in features.split(4096)]
        return torch.cat(blocks)[:, self.order]


def needs_of(probe: Probe | None, *others: str) -> frozenset[str]:
    """What an evaluator needs that learns by a probe, or uses a classifier's head."""
    return frozenset({"labels", *others} | (set() if probe is None else {"train"}))


def check_head(probe: Probe | None, representation: Representation) -> None:
    """Reject a representation without a head where no probe learns one.

    Raises:
        ConfigError: naming what to do.
    """
    if probe is None and not isinstance(representation, Classifier):
        raise ConfigError.at(
            "probe",
            f"{representation.name} has no head of its own",
            expected="give one, such as probe=dict(type='KNN')",
        )


def fitted(
    probe: Probe | None,
    representation: Representation,
    task: Task,
    tests: Sequence[Features],
    score: Callable[[Predictor, list[Predictions]], Result],
    *,
    head_classes: Sequence[str] | None = None,
) -> Result:
    """What a probe that has learned from the task's train and val says of test images.

    Args:
        probe: learns in the main process, once; None for the head of a :class:`Classifier`.
        representation: of all images.
        task: that is learned.
        tests: features of test images, which every process has.
        score: what comes of the predictor and of its predictions for each of ``tests``; main process alone. The
            predictions of the result stay there.
        head_classes: order of the head's logits; None for that of the test images' classes.
    """
    check_head(probe, representation)
    if probe is not None:
        for part in (task.parts.train, task.parts.val):
            if part is not None:
                representation.features(part)  # every process takes its share of the images
    answers = [None] * len(tests) if probe is None else probe.answers(representation, task, tests)
    kept: list[Predictions | None] = []

    def result_of_main() -> Result:
        if probe is None:
            assert isinstance(representation, Classifier)
            predictor: Predictor = HeadPredictor(representation, head_classes or task.parts.test.classes)
        else:
            predictor = probe.predictor(representation, task)
        found = [
            predictions_of(predictor(test.features) if answer is None else answer, test)
            for test, answer in zip(tests, answers, strict=True)
        ]
        result = score(predictor, found)
        kept.append(result.predictions)
        return dataclasses.replace(result, predictions=None)

    result = from_main(result_of_main)
    return dataclasses.replace(result, predictions=kept[0]) if kept else result
