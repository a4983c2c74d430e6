"""What an evaluator is: an algorithm alone, representation and task in, scores with intervals out."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from selfsup.errors import ConfigError, nearest
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Predictions, Result, Score, classification_scores
from selfsup.evaluation.task import Task, check_learnable
from selfsup.ops.dist import from_main, in_shares, world_size


@runtime_checkable
class Evaluator(Protocol):
    """An algorithm that scores a representation on a task.

    Attributes:
        protocol: name and version, such as ``'knn/1'``: the number rises whenever its scores would change.
        needs: of ``'labels'``, ``'train'``, ``'hierarchy'``, ``'multi-label'``, ``'targets'`` (boxes); a task without
            them is skipped.
    """

    protocol: str
    needs: frozenset[str]

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores, and what goes with them."""
        ...


class Predictor(Protocol):
    """What a probe has learned.

    Attributes:
        chosen: hyper-parameters that were chosen, and how.
        notes: what a reader should know, such as ``'did not converge'``.
    """

    chosen: Mapping[str, Any]
    notes: tuple[str, ...]

    def __call__(self, features: Tensor) -> Tensor:
        """Features (M, D) to logits, float (M, C), or to labels, int64 (M,)."""
        ...


class Probe:
    """An evaluator that learns from labelled features and predicts others.

    A subclass says ``protocol`` and :meth:`fit`. Top-1, top-5 (where it gives logits of more than five classes) and
    mean per class come from here.
    """

    protocol = ""
    needs = frozenset({"labels", "train"})
    shared = False  # whether learning costs nothing, so that every process does it and answers its share of the images

    def fit(self, train: Features, val: Features | None) -> Predictor:
        """Learn; called in the main process alone.

        Args:
            train: features with labels.
            val: likewise, to choose hyper-parameters in; what is returned has learned from both.
        """
        raise NotImplementedError

    def predictor(self, representation: Representation, task: Task) -> Predictor:
        """What the probe learns from the task's train and val; learned once for all test sources."""
        parts = task.parts

        def learned() -> Predictor:
            return self.fit(*(part and representation.features(part) for part in (parts.train, parts.val)))

        return representation.remember(("predictor", id(self), id(parts.train)), (self, parts.train), learned)

    def answers(self, representation: Representation, task: Task, tests: Sequence[Features]) -> list[Tensor | None]:
        """What all processes together predict for test images; None where the main process does it alone.

        Every process calls this; the others than the main one are told nothing.
        """
        if not self.shared or world_size() == 1:
            return [None] * len(tests)
        predictor = self.predictor(representation, task)

        def answer(test: Features) -> Tensor | None:
            parts = in_shares(lambda share: predictor(test.features[share]), len(test))
            return None if parts is None else torch.cat(parts)

        return [answer(test) for test in tests]

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores on the task's test images; unless ``shared`` the others wait for the main process.

        Raises:
            DataError: if the training images have no labels, or one class.
        """
        check_learnable(task)
        for part in (task.parts.train, task.parts.val):
            if part is not None:
                representation.features(part)  # every process takes its share of the images
        test = representation.features(task.parts.test)
        (answer,) = self.answers(representation, task, [test])
        predictions: list[Predictions] = []  # stay in the main process

        def found() -> Result:
            result = self._result(representation, task, test, answer)
            predictions.append(result.predictions)  # type: ignore[arg-type]
            return dataclasses.replace(result, predictions=None)

        result = from_main(found)
        return dataclasses.replace(result, predictions=predictions[0]) if predictions else result

    def _result(self, representation: Representation, task: Task, test: Features, answer: Tensor | None) -> Result:
        predictor = self.predictor(representation, task)
        predictions = predictions_of(predictor(test.features) if answer is None else answer, test)
        notes = (*predictor.notes, *task.parts.notes)
        return Result(classification_scores(predictions), predictions, predictor.chosen, notes)


def predictions_of(found: Tensor, test: Features) -> Predictions:
    """What a predictor gave for test images."""
    assert test.labels is not None
    logits = found if found.is_floating_point() else None
    return Predictions(
        index=test.index.numpy(),
        labels=test.labels.numpy(),
        predicted=(found if logits is None else found.argmax(dim=1)).numpy(),
        logits=None if logits is None else logits.numpy(),
        groups=None if test.groups is None else test.groups.numpy(),
        classes=test.classes,
    )


@dataclass(frozen=True)
class Finding:
    """One evaluator on one task.

    Args:
        evaluator: its name in the config.
        task: what was evaluated.
        result: what it found.
    """

    evaluator: str
    task: Task
    result: Result


def fitting(
    tasks: Mapping[str, Task],
    evaluators: Mapping[str, Any],
    *,
    only: Mapping[str, str] | None = None,
    skipped: Callable[[str], object] = print,
) -> Iterator[tuple[str, Task]]:
    """Every evaluator, by its name, with every task that it fits.

    Args:
        tasks: by name.
        evaluators: by name.
        only: for evaluators that are meant for one task, its name.
        skipped: told, in a line each, which evaluator fits which task not, and why.

    Raises:
        ConfigError: if an evaluator is meant for a task that there is not.
    """
    for name, wanted in (only or {}).items():
        if wanted not in tasks:
            raise ConfigError.at(
                f"evaluators.{name}.task", f"no task is called {wanted!r}", expected=nearest(wanted, tasks)
            )
    for name, evaluator in evaluators.items():
        for wanted, whole in tasks.items():
            if (only or {}).get(name, wanted) != wanted:
                continue
            for task in whole.tests():
                if reason := task.fits(evaluator.needs):
                    skipped(f"evaluators.{name} is left out on task {task.name}: {reason}")
                else:
                    yield name, task


def evaluate_task(representation: Representation, task: Task, name: str, evaluator: Any) -> Result:
    """One evaluator on one task.

    Raises:
        ConfigError: if the evaluator, which may be anybody's, returns no scores.
        DataError: if no score would mean anything.
    """
    result = evaluator.evaluate(representation, task)
    scores = getattr(result, "scores", None)
    if not isinstance(scores, Mapping) or not all(isinstance(score, Score) for score in scores.values()):
        raise ConfigError.at(f"evaluators.{name}", "must return a Result whose scores are Scores by name", got=result)
    return result if task.note is None else dataclasses.replace(result, notes=(*result.notes, task.note))


def evaluate_tasks(
    representation: Representation, tasks: Mapping[str, Task], evaluators: Mapping[str, Any], **options: Any
) -> list[Finding]:
    """Every evaluator on every task that it fits; the options are those of :func:`fitting`."""
    return [
        Finding(name, task, evaluate_task(representation, task, name, evaluators[name]))
        for name, task in fitting(tasks, evaluators, **options)
    ]


def metrics_of(findings: list[Finding], *, tasks: int) -> dict[str, float]:
    """Values by ``evaluator/score``, or ``task/evaluator/score`` where there are several tasks."""
    return {
        f"{finding.task.name + '/' if tasks > 1 else ''}{finding.evaluator}/{name}": score.value
        for finding in findings
        for name, score in finding.result.scores.items()
    }


def labelled(features: Features) -> tuple[Tensor, Tensor]:
    """Features and labels."""
    assert features.labels is not None
    return features.features, features.labels


def class_count(*parts: Features | None) -> int:
    """How many classes the labels of some features tell apart."""
    there = [part for part in parts if part is not None and part.labels is not None]
    named = max((len(part.classes) for part in there if part.classes is not None), default=0)
    return max(named, *(int(torch.as_tensor(part.labels).max()) + 1 for part in there))
