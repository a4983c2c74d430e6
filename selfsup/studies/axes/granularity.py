"""Finer classes: Cole et al. 2022, section 4.4."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfsup.data.hierarchy import FINEST
from selfsup.studies.axes.axis import AXES, Axis, Figure
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim, ahead
from selfsup.studies.recipes import Base


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class GranularityAxis(Axis):
    """Accuracy at every level of a hierarchy, self-supervised against supervised.

    Args:
        methods: recipes by name, the self-supervised one first.
        images: that are pretrained on; None for those of the recipes.
        levels: of the task's hierarchy, the coarsest first, without the classes themselves.
        breakdown: a level whose taxa are scored one by one too; None for none.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.4, figure 5.
    """

    methods: Mapping[str, Base]
    levels: Sequence[str]
    images: Mapping[str, Any] | None = None
    breakdown: str | None = None
    score: str = f"granularity/{FINEST}"

    def __call__(self, seed: int) -> Sequence[Cell]:
        """A pretraining and an evaluation a method."""
        granularity = {"type": "Granularity", "breakdown": self.breakdown}
        return [
            self.evaluate(
                method,
                {method: self.pretrain(method, base, images=self.images, seed=seed)},
                {"method": method},
                seed=seed,
                granularity=granularity,
            )
            for method, base in self.methods.items()
        ]

    def claims(self) -> Sequence[Claim]:
        """Accuracy falls towards the classes, faster without labels."""
        levels = [f"granularity/{level}" for level in (*self.levels, FINEST)]
        found = []
        for (method, _), (coarse, fine) in itertools.product(self.methods.items(), itertools.pairwise(levels)):
            here = {"method": method}
            words = f"{method}: {_level(coarse)} is easier than {_level(fine)}"
            found.append(ahead(words, here, here, coarse, fine))
        first, *others = self.methods
        for other in others:
            terms = [
                (1.0, first, levels[0]),
                (-1.0, first, levels[-1]),
                (-1.0, other, levels[0]),
                (1.0, other, levels[-1]),
            ]
            words = f"from {_level(levels[0])} to {_level(levels[-1])} {first} falls further than {other}"
            contrast = [(weight, {"method": method}) for weight, method, _ in terms]
            found.append(Claim(words, contrast, [score for _, _, score in terms]))
            for level in levels:
                words = f"{other} is ahead of {first} at {_level(level)}"
                found.append(ahead(words, {"method": other}, {"method": first}, level))
        return found

    def figures(self) -> Sequence[Figure]:
        """Accuracy by level, a line a method."""
        scores = tuple(f"granularity/{level}" for level in (*self.levels, FINEST))
        return (
            Figure(
                "granularity", "Finer classes", "lines", "score", ("method",), scores,
                published=self.published, source=self.source,
            ),
        )  # fmt: skip


def _level(score: str) -> str:
    return score.partition("/")[2]
