"""Larger networks with fewer labels: Goyal et al. 2021 (SEER), section 4."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfsup.studies.axes.axis import AXES, Axis, Figure, by_size, shown
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim, ahead
from selfsup.studies.recipes import Base, classifier_of, recipe_of
from selfsup.studies.works import Weights

OWN = "pretrained"


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Capacity(Axis):
    """Networks x (scratch | pretrained) x shares of the labels.

    Args:
        base: the recipe of pretraining; classifiers have its optimizer and crops.
        networks: by name, the smallest first, changes of the recipe by dotted path.
        images: that are pretrained on; None for those of the recipe.
        labels: shares of the labelled images as fractions, or numbers of them, nested; 1.0 for all.
        ways: of ``'linear'``, ``'fine-tune'`` and ``'scratch'``.
        labelled: the training images with labels; None for the task's.
        num_classes: C, for classifiers.
        classifier: arguments of :func:`~selfsup.studies.recipes.classifier_of`.
        weights: instead of pretraining, weights that are there, by what they are called and by network: work dirs,
            files with cards or names of timm's. The first is expected to be ahead of the others.

    Source: Goyal et al. 2021, arXiv:2103.01988, section 4.
    """

    base: Base
    networks: Mapping[str, Mapping[str, Any]]
    images: Mapping[str, Any] | None = None
    labels: Sequence[float] = (0.01, 0.1, 1.0)
    ways: Sequence[str] = ("linear", "fine-tune", "scratch")
    labelled: Mapping[str, Any] | None = None
    num_classes: int = 2
    classifier: Mapping[str, Any] = field(default_factory=lambda: {"steps": 200})
    weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __call__(self, seed: int) -> Sequence[Cell]:
        """Network by network, the fewest labels first."""
        return list(self._cells(seed))

    def _cells(self, seed: int) -> Iterator[Cell]:
        for (network, changes), labels in itertools.product(self.networks.items(), sorted(self.labels, key=by_size)):
            here = {"network": network, "labels": shown(labels)}
            name = f"{self.task_name}/{network}/{shown(labels)} labels"
            for start, weights in self._starts(network, seed).items():
                about = here | {"start": start}
                if "linear" in self.ways:
                    yield self.evaluate(
                        f"{name}/{start}/linear",
                        {start: weights},
                        about | {"way": "linear"},
                        task=self.with_labels(labels),
                        seed=seed,
                    )
                if "fine-tune" in self.ways:
                    yield self.train(
                        f"{name}/{start}/fine-tune",
                        self._classifier(changes, labels, seed),
                        about | {"way": "fine-tune"},
                        weights=weights,
                        seed=seed,
                    )
            if "scratch" in self.ways:
                yield self.train(
                    f"{name}/scratch",
                    self._classifier(changes, labels, seed),
                    here | {"start": "none", "way": "scratch"},
                    weights=None,
                    seed=seed,
                )

    def _starts(self, network: str, seed: int) -> dict[str, Cell]:
        """The weights that a network is evaluated with."""
        if self.weights:
            return {
                start: Cell(f"weights/{start}/{network}", Weights(specs[network]))
                for start, specs in self.weights.items()
                if network in specs
            }
        return {OWN: self.pretrain(network, self.base, self.networks[network], images=self.images, seed=seed)}

    def _classifier(self, changes: Mapping[str, Any], labels: float, seed: int) -> dict[str, Any]:
        recipe = recipe_of(self.base, changes, images=self.images, seed=seed)
        images = self.to_learn_from(self.labelled)
        return classifier_of(recipe, images=images, count=labels, num_classes=self.num_classes, **self.classifier)

    def claims(self) -> Sequence[Claim]:
        """Pretraining pays most where labels are few; larger networks gain, and there most of all."""
        found = []
        sizes = [shown(each) for each in sorted(self.labels, key=by_size)]
        small, large = (list(self.networks)[place] for place in (0, -1))
        ways = [(way, self.score if way == "linear" else self.own_score) for way in self.ways if way != "scratch"]
        starts = {start: set(specs) for start, specs in self.weights.items()} or {OWN: set(self.networks)}
        for start, (way, score) in itertools.product(starts, ways):
            here = {"start": start, "way": way}
            for network, labels in itertools.product(starts[start], sizes) if "scratch" in self.ways else ():
                words = f"{network}, {labels} labels: {start}, {way} beats scratch"
                about = {"network": network, "labels": labels}
                found.append(ahead(words, here | about, about | {"way": "scratch"}, score, self.own_score))
            if small != large and {small, large} <= starts[start]:
                for labels in sizes:
                    words = f"{start}, {way}, {labels} labels: {large} beats {small}"
                    about = here | {"labels": labels}
                    found.append(ahead(words, about | {"network": large}, about | {"network": small}, score))
                if len(sizes) > 1:
                    few, many = sizes[0], sizes[-1]
                    words = f"{start}, {way}: {large} gains more over {small} with {few} labels than with {many}"
                    terms = [
                        (sign * weight, here | {"labels": labels, "network": network})
                        for sign, labels in ((1.0, few), (-1.0, many))
                        for weight, network in ((1.0, large), (-1.0, small))
                    ]
                    found.append(Claim(words, terms, score))
        for (first, other), (way, score) in itertools.product(itertools.pairwise(starts), ways):
            for network, labels in itertools.product(self.networks, sizes):
                if network in starts[first] & starts[other]:
                    about = {"way": way, "network": network, "labels": labels}
                    words = f"{network}, {way}, {labels} labels: {first} beats {other}"
                    found.append(ahead(words, about | {"start": first}, about | {"start": other}, score))
        return found

    def figures(self) -> Sequence[Figure]:
        """Accuracy over labels, a line for each network and start."""
        return (
            Figure(
                f"capacity_{self.task_name}", "Capacity and labels", "lines", "labels", ("network", "start", "way"),
                (self.score, self.own_score), order=tuple(map(shown, sorted(self.labels, key=by_size))),
                published=self.published, source=self.source,
            ),
        )  # fmt: skip
