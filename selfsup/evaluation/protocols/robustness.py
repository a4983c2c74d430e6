"""What is left of a classifier's accuracy on images that are corrupted."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfsup.data.corruption import STUDY, Corrupted
from selfsup.data.imagenet_c import IMAGENET_C, ImageNetC
from selfsup.data.transforms.base import Transform
from selfsup.errors import ConfigError, DataError, nearest
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.fusion import Fusion
from selfsup.evaluation.protocols.fitted import build_probe, check_head, fitted, needs_of
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.scores import Predictions, Result, Score, bootstrap, mean, proportion
from selfsup.evaluation.task import Task
from selfsup.registry import EVALUATORS, TRANSFORMS

ALEXNET_ERRORS: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Error of AlexNet on ImageNet-C, the mean over severities, as published with hendrycks/robustness."""

SEVERITIES = (1, 2, 3, 4, 5)


@EVALUATORS.register_module()
class Corruptions:
    """Accuracy on corrupted test images of what was learned from clean ones.

    ``'study'`` stands for the corruptions of Cole et al., done to the whole image, ``'imagenet-c'`` for the fifteen of
    ImageNet-C at five severities, done to what the network would see. Random numbers follow from the images' names.

    Scores: ``clean``; for each corruption its name, the accuracy, the mean over severities where there are several, and
    ``drop/NAME``, the share of the clean accuracy that is lost; ``mean`` and ``drop`` over all corruptions. ``mce``,
    the mean over the corruptions of error / AlexNet's error, is there only where the published numbers mean something:
    all fifteen, all severities, ImageNet's 1,000 classes. It is computed with frost that is drawn, and says so.

    Args:
        kinds: ``'study'``, ``'imagenet-c'``, or names out of both, or transforms or their dicts by name.
        severities: of ImageNet-C's, of 1 to 5.
        probe: what learns the classes, a probe or its dict; None for the head of a classifier.
        seed: of the random numbers.

    Raises:
        ConfigError: if a corruption or severity is unknown, or ``probe`` is no probe.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.3; Hendrycks and Dietterich 2019, arXiv:1903.12261.
    """

    protocol = "corruptions/1"

    def __init__(
        self,
        kinds: str | Sequence[str] | Mapping[str, Any] = "study",
        *,
        severities: Sequence[int] = SEVERITIES,
        probe: Any = None,
        seed: int = 0,
    ) -> None:
        if not severities or not set(severities) <= set(SEVERITIES):
            raise ConfigError.at("severities", "must be of 1 to 5", got=tuple(severities))
        self.kinds = kinds
        self.severities = tuple(severities)
        self.probe = build_probe(probe)
        self.seed = seed
        self._corruptions = _corruptions(kinds, self.severities)

    @property
    def needs(self) -> frozenset[str]:
        """Labels, and images to learn from with a probe."""
        return needs_of(self.probe)

    def evaluate(self, representation: Representation, task: Task) -> Result:
        """Scores on the task's test images, corrupted in every way."""
        check_head(self.probe, representation)
        source = task.parts.test
        clean = representation.features(source)
        tests = [clean]
        for corruptions in self._corruptions.values():
            for corruption in corruptions:
                found = corrupted(representation, source, corruption, seed=self.seed)
                if found.index.tolist() != clean.index.tolist():
                    raise DataError.at(f"tasks.{task.name}.test", "an image could be decoded once, and not again")
                tests.append(found)
        wordnet = _is_imagenet(source.classes)

        def score(predictor: Any, found: list[Predictions]) -> Result:
            return self._result(predictor, found, wordnet)

        return fitted(self.probe, representation, task, tests, score)

    def _result(self, predictor: Any, found: list[Predictions], wordnet: bool) -> Result:
        clean, *others = found
        groups, rest = clean.groups, iter(others)
        right = {
            name: np.mean([next(rest).right for _ in corruptions], axis=0)
            for name, corruptions in self._corruptions.items()
        }
        scores = {"clean": proportion(clean.right, groups)}
        for name, values in right.items():
            scores[name] = mean(values, groups)
            scores[f"drop/{name}"] = _drop(clean.right, values, groups)
        over_all = np.mean(list(right.values()), axis=0)
        scores["mean"], scores["drop"] = mean(over_all, groups), _drop(clean.right, over_all, groups)
        notes = list(predictor.notes)
        whole = set(right) == set(IMAGENET_C) and self.severities == SEVERITIES and self.kinds == "imagenet-c"
        if whole and wordnet:
            scores["mce"] = Score(float(np.mean([(1 - v.mean()) / ALEXNET_ERRORS[n] for n, v in right.items()])))
        if "frost" in right:
            notes.append("frost is drawn, not cut out of photographs as in ImageNet-C")
        for name, (corruption, *_) in self._corruptions.items():
            if unverified := getattr(corruption, "unverified", ()):
                given = ", ".join(f"{field}={getattr(corruption, field)!r}" for field in unverified)
                notes.append(f"{name}: {given} could not be read in the paper")
        return Result(scores, clean, predictor.chosen, tuple(notes))


def corrupted(representation: Representation, source: Any, corruption: Transform, *, seed: int = 0) -> Features:
    """Features of corrupted images; those of ImageNet-C are corrupted as the network would see them.

    Args:
        representation: sees images by its input contract.
        source: of clean images.
        corruption: what is done to them.
        seed: of the random numbers.

    Raises:
        DataError: if features are not finite.
    """
    if isinstance(representation, Fusion):
        return representation.join(
            [corrupted(each, source, corruption, seed=seed) for each in representation.representations]
        )
    other: Any = copy.copy(representation)
    other.__dict__.pop("fingerprint", None)
    other.__dict__.update(_kept={}, _together=[other], cache=None)
    view = None
    if isinstance(corruption, ImageNetC):
        contract = representation.input_contract
        view = contract.replace(channel_order="rgb").view
        other.input_contract = contract.replace(resize="none", crop="none")
    found = other.extract(Corrupted(source, corruption, view=view, seed=seed))
    if not np.isfinite(found.features.numpy()).all():
        raise DataError.at(representation.name, f"features of images with {corruption} are not finite")
    return found


def _corruptions(kinds: Any, severities: Sequence[int]) -> dict[str, list[Transform]]:
    """By name; one for each severity where there are severities."""
    if isinstance(kinds, Mapping):
        return {name: [TRANSFORMS.build(given)] for name, given in kinds.items()}
    names = {"study": tuple(STUDY), "imagenet-c": IMAGENET_C}.get(kinds, (kinds,)) if isinstance(kinds, str) else kinds
    found: dict[str, list[Transform]] = {}
    for name in names:
        if name not in STUDY and name not in IMAGENET_C:
            known = (*STUDY, *IMAGENET_C, "study", "imagenet-c")
            raise ConfigError.at("kinds", "no corruption is called so", got=name, expected=nearest(str(name), known))
        found[name] = [STUDY[name]] if name in STUDY else [ImageNetC(name, severity) for severity in severities]
    if not found:
        raise ConfigError.at("kinds", "must name a corruption")
    return found


def _drop(clean: np.ndarray, worse: np.ndarray, groups: np.ndarray | None) -> Score:
    """1 - worse / clean, with the interval of a bootstrap of images or whole groups."""
    units = np.arange(len(clean)) if groups is None else np.unique(groups, return_inverse=True)[1]
    before, after = np.bincount(units, clean), np.bincount(units, worse)
    if not before.any():
        return Score(0.0)

    def drop(weights: np.ndarray) -> float:
        whole = float(weights @ before)
        return 1 - float(weights @ after) / whole if whole else 0.0

    low, high = bootstrap(len(before), drop)
    value = drop(np.ones(len(before)))
    return Score(value, min(low, value), max(high, value), len(before), "images" if groups is None else "groups")


def _is_imagenet(classes: Sequence[str] | None) -> bool:
    return classes is not None and len(classes) == 1000 and all(re.fullmatch(r"n\d{8}", name) for name in classes)
