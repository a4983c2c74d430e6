"""A recipe under changes: losses, heads, batches, lengths, capacities; SimCLR's pairs of augmentations."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfsup.data.views.study_views import STUDY_GRID, study_transforms
from selfsup.studies.axes.axis import AXES, Axis, Figure
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim, ahead
from selfsup.studies.recipes import Base


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Grid(Axis):
    """Every combination of the values of some factors, each value a change of the recipe.

    Args:
        base: the recipe.
        factors: by name, then by value, changes by dotted path.
        images: that are pretrained on; None for those of the recipe.
        without: combinations that are left out: a cell that has all of the values of one of them.
        expected: pairs of sentences and values: what a paper found, ``dict(words=..., ahead=..., behind=...)``.
        shows: the factor along the figure's horizontal axis; None for the last one.
        kind: of the figure, ``'lines'`` or ``'matrix'``.
        title: of the figure.
    """

    base: Base
    factors: Mapping[str, Mapping[str, Mapping[str, Any]]]
    images: Mapping[str, Any] | None = None
    without: Sequence[Mapping[str, str]] = ()
    expected: Sequence[Mapping[str, Any]] = ()
    shows: str | None = None
    kind: str = "lines"
    title: str = "A recipe under changes"

    def __call__(self, seed: int) -> Sequence[Cell]:
        """The cells in the order of the factors."""
        return list(self._cells(seed))

    def _cells(self, seed: int) -> Iterator[Cell]:
        for values in itertools.product(*self.factors.values()):
            about = dict(zip(self.factors, values, strict=True))
            if any(left_out.items() <= about.items() for left_out in self.without):
                continue
            changes = [self.factors[factor][value] for factor, value in about.items()]
            name = "/".join(f"{factor}={value}" for factor, value in about.items())
            weights = self.pretrain(name, self.base, *changes, images=self.images, seed=seed)
            yield self.evaluate(name, {"weights": weights}, about, seed=seed)

    def claims(self) -> Sequence[Claim]:
        """What papers found."""
        return [ahead(each["words"], each["ahead"], each["behind"], self.score) for each in self.expected]

    def figures(self) -> Sequence[Figure]:
        """The score over one factor, a line for each combination of the others."""
        x = self.shows or list(self.factors)[-1]
        series = tuple(factor for factor in self.factors if factor != x)
        return (
            Figure(
                re.sub(r"\W+", "_", self.title.lower()), self.title, self.kind, x, series, (self.score,),  # type: ignore[arg-type]
                order=tuple(self.factors[x]), published=self.published, source=self.source,
            ),
        )  # fmt: skip


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Pairs(Axis):
    """SimCLR's matrix of augmentations: one branch is transformed by one operator or two, the other only cropped.

    Args:
        base: the recipe, of two views.
        images: that are pretrained on; None for those of the recipe.
        size: side of the views.
        operators: of :func:`~selfsup.data.study_transforms`; the first of a pair is done first.
        pairs: which pairs; None for all of them, single operators on the diagonal.
        strength: of the color jitter.
        scale: of both crops, the common one and that of the operator.
        before: transforms that come first, once for both views.

    Source: Chen et al. 2020, arXiv:2002.05709, section 3.1 and figure 5.
    """

    base: Base
    images: Mapping[str, Any] | None = None
    size: int = 224
    operators: Sequence[str] = STUDY_GRID
    pairs: Sequence[tuple[str, str]] | None = None
    strength: float = 1.0
    scale: tuple[float, float] = (0.08, 1.0)
    before: Sequence[Mapping[str, Any]] = ()

    def __call__(self, seed: int) -> Sequence[Cell]:
        """The pair of the paper first, then the others row by row."""
        return list(self._cells(seed))

    def chosen(self) -> list[tuple[str, str]]:
        """The pairs, crop and color first."""
        every = self.pairs or [(first, second) for first in self.operators for second in self.operators]
        return sorted(every, key=lambda pair: set(pair) != {"crop", "color"})

    def _cells(self, seed: int) -> Iterator[Cell]:
        for first, second in self.chosen():
            operators = study_transforms(self.size, strength=self.strength)
            operators["crop"][0]["scale"] = self.scale
            transforms = operators[first] if first == second else [*operators[first], *operators[second]]
            views = {
                "type": "OneBranchViews",
                "size": self.size,
                "transforms": transforms,
                "scale": self.scale,
                "before": [dict(each) for each in self.before],
            }
            name = f"{first}+{second}"
            weights = self.pretrain(name, self.base, {"train_dataloader.views": views}, images=self.images, seed=seed)
            yield self.evaluate(name, {"weights": weights}, {"first": first, "second": second}, seed=seed)

    def claims(self) -> Sequence[Claim]:
        """Crop and color beat every other pair."""
        own = next((pair for pair in self.chosen() if set(pair) == {"crop", "color"}), None)
        if own is None:
            return ()
        return [
            ahead(f"{' + '.join(own)} beats {_name(pair)}", _factors(own), _factors(pair), self.score)
            for pair in self.chosen()
            if set(pair) != {"crop", "color"}
        ]

    def figures(self) -> Sequence[Figure]:
        """The matrix."""
        return (Figure("pairs", "Pairs of augmentations", "matrix", "second", ("first",), (self.score,)),)


def _factors(pair: tuple[str, str]) -> dict[str, str]:
    return {"first": pair[0], "second": pair[1]}


def _name(pair: tuple[str, str]) -> str:
    return pair[0] if pair[0] == pair[1] else " + ".join(pair)
