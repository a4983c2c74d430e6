"""How fine the classes are that a representation still tells apart."""

import dataclasses
from typing import Any

import numpy as np

from selfsup.data.hierarchy import FINEST, Hierarchy
from selfsup.evaluation.protocols.fitted import build_probe, fitted
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Difference, Predictions, Result, Score, paired_by, proportion
from selfsup.evaluation.task import Task
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class Granularity:
    """Accuracy at every level of a hierarchy of classes.

    A probe learns the finest classes; its predicted class, the argmax, is mapped to its ancestor at each level. Nothing
    is learned again, and no probabilities are summed, so that accuracy can only rise towards the root.

    Scores: one for each level by its name, the finest being ``'class'``; with ``breakdown`` also ``LEVEL/TAXON``, the
    accuracy on the finest classes among the images of each taxon.

    Args:
        probe: what learns the classes, a probe or its dict.
        breakdown: a level, or ``'class'``.

    Raises:
        ConfigError: if ``probe`` is no probe.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.4.
    """

    protocol = "granularity/1"
    needs = frozenset({"labels", "train", "hierarchy"})

    def __init__(self, probe: Any = None, *, breakdown: str | None = None) -> None:
        self.probe = build_probe({"type": "LinearProbe"} if probe is None else probe)
        self.breakdown = breakdown

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores on the task's test images."""
        tree, classes = task.tree, task.parts.test.classes
        if self.breakdown is not None:
            tree.taxa(self.breakdown, classes)  # an unknown level is named before anything is computed
        test = representation.features(task.parts.test)

        def score(predictor: Any, found: list[Predictions]) -> Result:
            (predictions,) = found
            scores = accuracy_by_level(predictions, tree)
            if self.breakdown is not None:
                taxa = accuracy_by_taxon(predictions, tree, self.breakdown)
                scores |= {f"{self.breakdown}/{name}": each for name, each in taxa.items()}
            return Result(scores, predictions, predictor.chosen, predictor.notes)

        return fitted(self.probe, representation, task, [test], score)


def relabeled(predictions: Predictions, hierarchy: Hierarchy, level: str) -> Predictions:
    """Predictions of classes as predictions of their ancestors at a level.

    Raises:
        ConfigError: if there is no such level.
    """
    numbers = hierarchy.numbers(level, predictions.class_names)
    names = list(dict.fromkeys(hierarchy.taxa(level, predictions.class_names)))
    return dataclasses.replace(
        predictions,
        labels=numbers[predictions.labels],
        predicted=numbers[predictions.predicted],
        logits=None,
        ranked=None,
        classes=names,
    )


def accuracy_by_level(predictions: Predictions, hierarchy: Hierarchy) -> dict[str, Score]:
    """The accuracy at each level, the coarsest first."""
    return {
        level: proportion(relabeled(predictions, hierarchy, level).right, predictions.groups)
        for level in (*hierarchy.levels, FINEST)
    }


def accuracy_by_taxon(predictions: Predictions, hierarchy: Hierarchy, level: str = FINEST) -> dict[str, Score]:
    """The accuracy on the finest classes among the images of each taxon of a level; of taxa that have images."""
    taxa = np.array(hierarchy.taxa(level, predictions.class_names), dtype=object)[predictions.labels]
    found = {}
    for name in dict.fromkeys(taxa.tolist()):
        chosen = taxa == name
        groups = None if predictions.groups is None else predictions.groups[chosen]
        found[name] = proportion(predictions.right[chosen], groups)
    return found


def gains(a: Predictions, b: Predictions, hierarchy: Hierarchy, level: str = FINEST) -> dict[str, Difference]:
    """How far ``b`` is ahead of ``a`` on the images of each taxon of a level, the greatest gain first.

    Raises:
        ConfigError: if there is no such level.
        DataError: as :func:`~selfsup.evaluation.scores.paired`.
    """
    return paired_by(a, b, hierarchy.taxa(level, a.class_names))
