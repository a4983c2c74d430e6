"""Several evaluators on one backbone, each image shown once."""

import inspect
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from torch import nn

from selfsup.data.preprocess import Preprocess
from selfsup.data.selection import Subset, draw
from selfsup.data.sources.source import single_labels
from selfsup.errors import ConfigError, at_place
from selfsup.evaluation.base import Evaluator, FeatureEvaluator
from selfsup.evaluation.features import logger
from selfsup.evaluation.split import stratified_split
from selfsup.registry import DATASETS, EVALUATORS

_MOST_LABELS = 1 << 21  # sorted in a second and 100 MB; all of ImageNet-1k, and two images of each of a million classes


@EVALUATORS.register_module()
class Suite:
    """Named evaluators whose scores come back as ``name/score``.

    Evaluators that look at the same images in the same way share one pass of the backbone. A dict that names no
    ``train`` or ``test`` gets a fixed part of ``images``: at most ``max_images`` of them, split by class into a part to
    learn from and a part to be judged on, so that a run can be watched on nothing but its own images.

    Args:
        evaluators: evaluators or their dicts, by name.
        images: data set for evaluators that bring none of their own; None if all do.
        preprocess: what normalizes, where an evaluator does not say.
        size: side of the square shown in pixels, where an evaluator does not say; None for the evaluator's default.
        resize: length the shorter side is resized to, where an evaluator does not say; likewise.
        max_images: how many of ``images`` are used, both parts together, > 1.
        test_share: share of those in the part to be judged on, in (0, 1).
        seed: of the choice and the split.
        own: the two parts of a split of ``images``, one to learn from and one to predict; without any, evaluators that
            need labels and bring no images are left out. None to choose both among ``images``.

    Attributes:
        evaluators: what was built, by name.
        uses_own: whether an evaluator predicts labels of the ``images``.
        skipped: why an evaluator was left out, by name; the one reason is that ``images`` have no labels.

    Raises:
        ConfigError: if an evaluator's dict does not fit it, or brings no images and there are none to give, or if
            ``max_images`` or ``test_share`` is out of range.
    """

    def __init__(
        self,
        evaluators: Mapping[str, Any],
        *,
        images: Any = None,
        preprocess: Preprocess | dict | None = None,
        size: int | None = None,
        resize: int | None = None,
        max_images: int = 4000,
        test_share: float = 0.25,
        seed: int = 0,
        own: tuple[Any, ...] | None = None,
    ) -> None:
        preprocess = Preprocess(**preprocess) if isinstance(preprocess, dict) else preprocess
        context: dict[str, Any] = {"preprocess": preprocess, "size": size, "resize": resize}
        if max_images < 2:
            raise ConfigError(f"Suite.max_images: must be > 1, got {max_images}")
        if not 0 < test_share < 1:
            raise ConfigError(f"Suite.test_share: must be inside (0, 1), got {test_share}")
        own_labels = images is not None and single_labels(images) is not None
        self.evaluators: dict[str, Evaluator] = {}
        self.skipped: dict[str, str] = {}
        self._said: set[str] = set()
        self.uses_own = False
        if own:
            context |= {"train": own[0], "test": own[1]}
        built: dict[str, Any] = {}
        for name, config in evaluators.items():
            if not isinstance(config, dict):
                self.evaluators[name] = config
                continue
            kind = EVALUATORS.find(config["type"]) if isinstance(config.get("type"), str) else config.get("type")
            missing = _parameters(kind) & {"train", "test"} - set(config)
            needs_labels = getattr(kind, "needs_labels", True)
            if missing and images is not None and needs_labels and (not own_labels or own == ()):
                self.skipped[name] = "no labelled images are held out"
                continue
            if missing and images is not None and "test" not in context:
                train, test = held_out_parts(images, max_images=max_images, test_share=test_share, seed=seed)
                context |= {"train": train, "test": test}
            if own_labels and needs_labels and "test" in missing:
                self.uses_own = True
            known = {key: value for key, value in context.items() if value is not None and key in _parameters(kind)}
            arguments = {**known, **config}
            for part in arguments.keys() & {"train", "test"}:
                if isinstance(arguments[part], dict):
                    as_text = repr(arguments[part])
                    built[as_text] = built.get(as_text) or DATASETS.build(arguments[part])
                    arguments[part] = built[as_text]
            with at_place(f"evaluators.{name}", config):
                self.evaluators[name] = EVALUATORS.build(arguments)

    def evaluate(self, backbone: nn.Module, *, log: Callable[[str], None] = logger.warning) -> dict[str, float]:
        """Scores of a backbone by every evaluator, as ``name/score``.

        Args:
            backbone: what is judged.
            log: told which images cannot be decoded; not again in another evaluation of the same images.

        Raises:
            ConfigError: if an evaluator returns anything but numbers by name.
        """

        def once(said: str) -> None:
            if said not in self._said:
                self._said.add(said)
                log(said)

        scores: dict[str, float] = {}
        shared = {
            source: None
            for evaluator in self.evaluators.values()
            if isinstance(evaluator, FeatureEvaluator)
            for source in evaluator.sources
        }
        features = {source: source.extract(backbone, log=once) for source in shared}
        for name, evaluator in self.evaluators.items():
            if isinstance(evaluator, FeatureEvaluator):
                found = evaluator.score(*(features[source] for source in evaluator.sources))
            else:
                found = evaluator.evaluate(backbone)
            scores |= _scores(name, evaluator, found)
        return scores


def _scores(name: str, evaluator: Any, found: Any) -> dict[str, float]:
    """What an evaluator, which may be anybody's, has found, under the evaluator's name."""
    wanted = f"evaluators.{name}: {type(evaluator).__name__} must return a dict of numbers"
    if not isinstance(found, Mapping):
        raise ConfigError(f"{wanted}, got {type(found).__name__}")
    for key, value in found.items():
        if not isinstance(value, Real):
            raise ConfigError(f"{wanted}, got {type(value).__name__} as {key!r}")
    return {f"{name}/{key}": value for key, value in found.items()}


def held_out_parts(images: Any, *, max_images: int, test_share: float, seed: int) -> tuple[Subset, Subset]:
    """A fixed part of a data set to learn from and another to be judged on, with equal shares of each class.

    The labels of more than two million images are not all looked at: the parts come from two million drawn at random.

    Args:
        images: data set, with labels or without.
        max_images: of both parts together.
        test_share: share of the second part, in (0, 1).
        seed: which images.
    """
    labels = single_labels(images)
    chosen = draw(len(images), max_images if labels is None else max(max_images, _MOST_LABELS), seed=seed)
    groups = np.zeros(len(chosen), np.int64) if labels is None else np.asarray(labels[chosen])
    chosen, groups = chosen[groups >= 0], groups[groups >= 0]  # -1 has no label
    if len(chosen) > max_images:
        _, kept = stratified_split(groups, test_share=max_images / len(chosen), seed=seed)
        kept = kept[draw(len(kept), max_images, seed=seed)]  # one image of each class may be too many
        chosen, groups = chosen[kept], groups[kept]
    train, test = stratified_split(groups, test_share=test_share, seed=seed)
    if not len(test):  # every image is the only one of its class
        train, test = stratified_split(np.zeros_like(groups), test_share=test_share, seed=seed)
    return Subset(images, indices=chosen[train]), Subset(images, indices=chosen[test])


def _parameters(kind: Any) -> set[str]:
    return set(inspect.signature(kind).parameters) if callable(kind) else set()
