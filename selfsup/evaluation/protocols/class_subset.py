"""Classifiers on test images of fewer or other classes than they know, such as ObjectNet."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.errors import ConfigError, DataError, nearest
from selfsup.evaluation.protocols.fitted import build_probe, check_head, fitted, needs_of
from selfsup.evaluation.representation import Classifier, Representation
from selfsup.evaluation.scores import Predictions, Result, proportion
from selfsup.evaluation.task import Task, classes_in
from selfsup.registry import EVALUATORS


@EVALUATORS.register_module()
class ClassSubset:
    """Accuracy of a classifier of many classes on test images of some of them, such as ImageNet's on ObjectNet's.

    Each class of the test images stands for one class of the classifier or more; an image is right if one of those has
    the greatest logit. Test images whose class stands for none are left out. For ImageNet-A, -R and -Sketch, whose
    folders are ImageNet's, and for a single source of another domain no mapping is needed.

    Scores: ``top1`` and, of a classifier of more than five classes, ``top5``.

    Args:
        mapping: classes of the classifier by test class: names or numbers, one or several; a dict, or the path of its
            JSON file, or of the folder ``mappings`` of ObjectNet, https://objectnet.dev; ``'number'`` where the test
            classes are numbers of the classifier's, as those of ImageNet-V2's folders; None for equal names.
        restrict: whether only classes that the test images stand for compete, as is usual for ImageNet-A and -R; all do
            in the evaluation of ObjectNet.
        probe: what learns the many classes from the task's train, a probe or its dict; None for the head of a
            classifier.

    Raises:
        ConfigError: if ``probe`` is no probe.
        DataError: if the mapping's file is broken.

    Source: Barbu et al. 2019 (ObjectNet); Kolesnikov et al. 2020, arXiv:1912.11370, table 6; Hendrycks et al. 2021,
    arXiv:1907.07174 (ImageNet-A).
    """

    protocol = "class-subset/2"

    def __init__(
        self, mapping: str | Path | Mapping[str, Any] | None = None, *, restrict: bool = False, probe: Any = None
    ) -> None:
        self.mapping = mapping if mapping is None or mapping == "number" else read_mapping(mapping)
        self.restrict = restrict
        self.probe = build_probe(probe)

    @property
    def needs(self) -> frozenset[str]:
        """Labels, and images to learn from with a probe."""
        return needs_of(self.probe)

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores on the task's test images of known classes.

        Raises:
            DataError: if no test image has a known class.
        """
        check_head(self.probe, representation)
        source, classes = task.parts.test, list(task.parts.test.classes)
        if self.probe is None:
            assert isinstance(representation, Classifier)
            known = list(representation.classes)
            learned = set(range(len(known)))
        else:
            known = classes  # those of train come first, then those that test has beyond
            learned = set(classes_in(task.parts.train.labels)) | set(classes_in(task.parts.val.labels))
        chosen = [[number for number in numbers if number in learned] for numbers in self._chosen(classes, known)]
        of_source = np.asarray(source.labels)
        there = np.array([bool(chosen[label]) for label in of_source.tolist()])
        if not there.any():
            raise DataError.at(
                f"tasks.{task.name}.test",
                "no image has a class that the classifier knows",
                got=classes[int(of_source[0])],
                expected="give a mapping",
            )
        names = list(dict.fromkeys([*classes, *known]))
        place = {name: number for number, name in enumerate(names)}
        owner = np.array([place[name] for name in known])
        for number, numbers in reversed(list(enumerate(chosen))):
            owner[numbers] = number
        notes = [f"{int((~there).sum())} images have classes that stand for none"] if not there.all() else []

        def score(predictor: Any, found: list[Predictions]) -> Result:
            (whole,) = found
            if whole.logits is None:
                raise ConfigError.at("probe", "must give logits", got=type(self.probe).__name__)
            some = whole.chosen(np.flatnonzero(there[whole.index]))
            best, before = _of_subset(some.logits, some.labels, chosen, restrict=self.restrict)  # type: ignore[arg-type]
            predicted = np.where(before == 0, some.labels, owner[best])
            predictions = dataclasses.replace(some, predicted=predicted, logits=None, classes=names)
            scores = {"top1": proportion(predictions.right, some.groups)}
            if len(learned) > 5:
                scores["top5"] = proportion(before < 5, some.groups)
            return Result(scores, predictions, predictor.chosen, (*predictor.notes, *notes))

        test = representation.features(source)
        return fitted(self.probe, representation, task, [test], score, head_classes=known)

    def _chosen(self, classes: list[str], known: list[str]) -> list[list[int]]:
        """For each test class the numbers of the classifier's classes that it stands for."""
        place = {name: number for number, name in enumerate(known)}
        if self.mapping is None:
            return [[place[name]] if name in place else [] for name in classes]
        if self.mapping == "number":
            numbers = [int(name) if name.isdecimal() else -1 for name in classes]
            return [[number] if 0 <= number < len(known) else [] for number in numbers]
        assert isinstance(self.mapping, Mapping)
        found: list[list[int]] = []
        for name in classes:
            numbers = []
            for each in self.mapping.get(name, ()):
                number = each if isinstance(each, int) else place.get(each, -1)
                if not 0 <= number < len(known):
                    raise DataError.at(
                        "mapping",
                        f"{name} stands for a class that is unknown",
                        got=each,
                        expected=nearest(str(each), known),
                    )
                numbers.append(number)
            found.append(numbers)
        return found


def _of_subset(
    logits: np.ndarray, labels: np.ndarray, chosen: Sequence[Sequence[int]], *, restrict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The class with the greatest logit of those that compete, and how many come before all that the label stands for.

    Of equal logits the smaller number comes first; whatever has -inf comes last.

    Args:
        logits: (N, C).
        labels: int64 (N,), each of which stands for a class.
        chosen: the classes that each label stands for.
        restrict: whether only those of labels that occur compete.
    """
    competing = np.full(logits.shape[1], not restrict)
    competing[[number for label in np.unique(labels).tolist() for number in chosen[label]]] = True
    logits = np.where(competing, logits, -np.inf)
    before = np.zeros(len(labels), np.int64)
    for label in np.unique(labels).tolist():
        some, numbers = logits[labels == label], np.sort(chosen[label])
        first = numbers[some[:, numbers].argmax(axis=1)][:, None]
        best = np.take_along_axis(some, first, axis=1)
        earlier = (some > best) | ((some == best) & (np.arange(some.shape[1]) < first)) | (best == -np.inf)
        before[labels == label] = earlier.sum(axis=1)
    return logits.argmax(axis=1), before


def read_mapping(given: str | Path | Mapping[str, Any]) -> dict[str, list[Any]]:
    """Classes of a classifier by test class.

    Args:
        given: a dict; the path of its JSON file; or the folder ``mappings`` of ObjectNet, whose classes are then the
            names of its folders of images, and whose values are numbers of ImageNet's classes in the order of their
            WordNet ids, as torchvision's and timm's classifiers have them.

    Raises:
        DataError: if a file is missing or of another form.
    """
    if not isinstance(given, Mapping):
        path = Path(given).expanduser()
        if path.is_dir():
            return _objectnet(path)
        given = _json(path)
    found: dict[str, list[Any]] = {}
    for name, value in given.items():
        values = [value] if isinstance(value, str | int) else value
        if not isinstance(values, Sequence) or not all(isinstance(each, str | int) for each in values):
            raise DataError.at("mapping", f"{name} must stand for names or numbers of classes", got=value)
        found[str(name)] = list(values)
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError.at("mapping", "there is no such file", got=str(path)) from error
    except ValueError as error:
        raise DataError.at("mapping", f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError.at("mapping", f"{path.name} must hold a dict", got=type(found).__name__)
    return found


def _objectnet(folder: Path) -> dict[str, list[Any]]:
    """The four files of ObjectNet: folder to label, label to names of ImageNet, those by line, line by number."""
    labels, names = _json(folder / "folder_to_objectnet_label.json"), _json(folder / "objectnet_to_imagenet_1k.json")
    numbers = {int(line): int(number) for number, line in _json(folder / "pytorch_to_imagenet_2012_id.json").items()}
    lines = folder / "imagenet_to_label_2012_v2"
    if not lines.is_file():
        raise DataError.at("mapping", "there is no such file", got=str(lines))
    place = {line.strip(): number for number, line in enumerate(lines.read_text(encoding="utf-8").splitlines())}
    of_label = {label: name for name, label in labels.items()}
    found: dict[str, list[Any]] = {}
    for label, several in names.items():
        whole = [each.strip() for each in several.split("; ")]
        unknown = [each for each in whole if each not in place]
        if label not in of_label or unknown:
            raise DataError.at("mapping", f"{folder.name} does not agree about {label!r}", got=(unknown or [label])[0])
        found[of_label[label]] = [numbers[place[each]] for each in whole]
    return found
