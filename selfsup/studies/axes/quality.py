"""Worse images: Cole et al. 2022, section 4.3."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from selfsup.studies.axes.axis import AXES, Axis, Figure
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim, ahead
from selfsup.studies.recipes import Base, images_of, recipe_of

CLEAN = "clean"


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Quality(Axis):
    """The pretraining images alone are corrupted; the evaluation is on clean ones.

    Args:
        methods: recipes by name, self-supervised and supervised.
        images: that are pretrained on.
        corruptions: transforms by name, the one that is expected to cost most first.
        where: ``'images'`` corrupts each image once; ``'views'`` every time it is drawn, before it is cropped, for
            images whose background is drawn then.
        count: of the images; None for all.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.3, figure 4.
    """

    methods: Mapping[str, Base]
    images: Mapping[str, Any]
    corruptions: Mapping[str, Mapping[str, Any]]
    where: Literal["images", "views"] = "images"
    count: float | None = None

    def __call__(self, seed: int) -> Sequence[Cell]:
        """Clean images first."""
        return list(self._cells(seed))

    def _cells(self, seed: int) -> Iterator[Cell]:
        for corruption in (CLEAN, *self.corruptions):
            for method, base in self.methods.items():
                images, changes = images_of(self.images, self.count), {}
                if corruption != CLEAN and self.where == "images":
                    images = {"type": "Corrupted", "source": images, "corruption": dict(self.corruptions[corruption])}
                elif corruption != CLEAN:
                    before = recipe_of(base)["train_dataloader"]["views"].get("before", ())
                    changes = {"train_dataloader.views.before": [*before, dict(self.corruptions[corruption])]}
                name = f"{method}/{corruption}"
                weights = self.pretrain(name, base, changes, images=images, seed=seed)
                factors = {"method": method, "corruption": corruption}
                yield self.evaluate(name, {method: weights}, factors, seed=seed)

    def claims(self) -> Sequence[Claim]:
        """What each corruption costs each method; the first method suffers more than the others."""
        found = []
        first, *others = self.methods
        for corruption in self.corruptions:
            for method in self.methods:
                clean, worse = ({"method": method, "corruption": each} for each in (CLEAN, corruption))
                words = f"{method}: pretraining on clean images beats {corruption}"
                found.append(ahead(words, clean, worse, self.score))
            for other in others:
                terms = [
                    (sign * weight, {"method": method, "corruption": each})
                    for sign, method in ((1.0, first), (-1.0, other))
                    for weight, each in ((1.0, CLEAN), (-1.0, corruption))
                ]
                found.append(Claim(f"{corruption} costs {first} more than {other}", terms, self.score))
        harder, *mild = self.corruptions
        for milder in mild:
            for method in self.methods:
                here = {"method": method}
                words = f"{method}: {harder} costs more than {milder}"
                found.append(ahead(words, here | {"corruption": milder}, here | {"corruption": harder}, self.score))
        return found

    def figures(self) -> Sequence[Figure]:
        """Accuracy by corruption, a line a method."""
        return (
            Figure(
                "quality", "Worse pretraining images, clean evaluation", "lines", "corruption", ("method",),
                (self.score,), published=self.published, source=self.source,
            ),
        )  # fmt: skip
