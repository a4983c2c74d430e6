"""How many images, and how many labels: Cole et al. 2022, section 4.1."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfsup.studies.axes.axis import AXES, Axis, Figure, by_size, shown
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim, ahead
from selfsup.studies.recipes import Base, classifier_of, images_of, recipe_of


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Quantity(Axis):
    """Nested subsets of the images x numbers of labels x linear, fine-tuned and from scratch.

    Args:
        methods: recipes by name.
        images: that are pretrained on, whole.
        counts: numbers of pretraining images, or shares of them as fractions; subsets are nested, and the same ones
            for all methods and seeds.
        labels: numbers of labels, likewise; None for all.
        ways: of ``'linear'``, ``'fine-tune'`` and ``'scratch'``.
        labelled: the training images with labels; None for the task's.
        num_classes: C, for classifiers.
        classifier: arguments of :func:`~selfsup.studies.recipes.classifier_of`, or a recipe with ``config``.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.1, figures 2 and 3.
    """

    methods: Mapping[str, Base]
    images: Mapping[str, Any]
    counts: Sequence[float]
    labels: Sequence[int | None] = (None,)
    ways: Sequence[str] = ("linear", "fine-tune", "scratch")
    labelled: Mapping[str, Any] | None = None
    num_classes: int = 2
    classifier: Mapping[str, Any] | None = None

    def __call__(self, seed: int) -> Sequence[Cell]:
        """The most images first, then the fewest: what lies between tells least."""
        return list(self._cells(seed))

    def _cells(self, seed: int) -> Iterator[Cell]:
        order = sorted(self.counts, key=by_size)
        for count in dict.fromkeys([order[-1], order[0], *order]):
            for (method, base), labels in itertools.product(self.methods.items(), self.labels):
                about = {"method": method, "images": shown(count), "labels": shown(labels)}
                where = f"{self.task_name}/{method}/{shown(count)} images"
                name = f"{where}/{shown(labels)} labels"
                weights = self.pretrain(where, base, images=self.images, count=count, seed=seed)
                if "linear" in self.ways:
                    task = self.with_labels(labels)
                    yield self.evaluate(
                        f"{name}/linear", {method: weights}, about | {"way": "linear"}, task=task, seed=seed
                    )
                    factors = about | {"images": "0", "way": "linear"}
                    words = f"{self.task_name}/{method}/{shown(labels)} labels"
                    yield self.untrained(words, base, factors, images=self.images, task=task, seed=seed)
                if "fine-tune" in self.ways:
                    recipe = self._classifier(base, labels, seed)
                    yield self.train(
                        f"{name}/fine-tune", recipe, about | {"way": "fine-tune"}, weights=weights, seed=seed
                    )
                if "scratch" in self.ways and method == next(iter(self.methods)):
                    recipe = self._classifier(base, labels, seed)
                    factors = {"method": "none", "images": "0", "labels": shown(labels), "way": "scratch"}
                    yield self.train(
                        f"{self.task_name}/{shown(labels)} labels/scratch", recipe, factors, weights=None, seed=seed
                    )

    def _classifier(self, base: Base, labels: int | None, seed: int) -> dict[str, Any]:
        images = self.to_learn_from(self.labelled)
        given = dict(self.classifier or {"steps": 200})
        if "config" in given:
            return recipe_of(given, images=images_of(images, labels), seed=seed)
        pretraining = recipe_of(base, images=self.images, seed=seed)
        return classifier_of(pretraining, images=images, count=labels, num_classes=self.num_classes, **given)

    def claims(self) -> Sequence[Claim]:
        """More images help, with diminishing returns; pretraining beats training from scratch."""
        found = []
        order = sorted(self.counts, key=by_size)
        most = shown(order[-1])
        for method, labels in itertools.product(self.methods, map(shown, self.labels)):
            about = {"method": method, "labels": labels}
            for way, score in (("linear", self.score), ("fine-tune", self.own_score)):
                if way not in self.ways:
                    continue
                for less, more in itertools.pairwise(map(shown, order)):
                    here = about | {"way": way}
                    words = f"{method}, {way}, {labels} labels: {more} pretraining images give more than {less}"
                    found.append(ahead(words, here | {"images": more}, here | {"images": less}, score))
                if len(order) > 2:
                    low, middle = shown(order[0]), shown(order[len(order) // 2])
                    here = about | {"way": way}
                    terms = [
                        (2.0, here | {"images": middle}),
                        (-1.0, here | {"images": low}),
                        (-1.0, here | {"images": most}),
                    ]
                    words = (
                        f"{method}, {way}, {labels} labels: going from {low} to {middle} images gains more than "
                        f"going from {middle} to {most} (diminishing returns)"
                    )
                    found.append(Claim(words, terms, score))
                if way == "linear":
                    here = about | {"way": way}
                    words = (
                        f"{method}, linear, {labels} labels: pretraining on {most} images beats the untrained network"
                    )
                    found.append(ahead(words, here | {"images": most}, here | {"images": "0"}, score))
                if "scratch" in self.ways:
                    words = (
                        f"{method}, {way}, {labels} labels: pretraining on {most} images beats training from scratch"
                    )
                    first = about | {"images": most, "way": way}
                    found.append(ahead(words, first, {"way": "scratch", "labels": labels}, score, self.own_score))
        return found

    def figures(self) -> Sequence[Figure]:
        """Accuracy over pretraining images, and over labels."""
        scores = (self.score, self.own_score)
        images = Figure(
            f"quantity_{self.task_name}",
            "More pretraining images",
            "lines",
            "images",
            ("method", "way", "labels"),
            scores,
            order=("0", *map(shown, sorted(self.counts, key=by_size))),
            published=self.published,
            source=self.source,
        )
        labels = Figure(
            f"labels_{self.task_name}",
            "More labels",
            "lines",
            "labels",
            ("method", "way", "images"),
            scores,
            order=tuple(map(shown, sorted(self.labels, key=lambda count: count or float("inf")))),
        )
        return (images, labels) if len(self.labels) > 1 else (images,)
