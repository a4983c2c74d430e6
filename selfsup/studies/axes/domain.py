"""Other images: Cole et al. 2022, section 4.2."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfsup.studies.axes.axis import AXES, Axis, Figure
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim, ahead
from selfsup.studies.recipes import Base, images_of


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Domain(Axis):
    """Pretraining source x evaluation task; pooled sources of equal total size; fused representations.

    Args:
        base: the recipe.
        sources: pretraining images by domain.
        tasks: by domain; those that are named as a source are in-domain.
        count: images of every pretraining, pooled ones too.
        pooled: which sources are pooled, each giving an equal part of ``count``.
        supervised: a recipe with labels, whose features are fused with self-supervised ones; None for none.
        fused: pairs of domains whose self-supervised representations are fused, the task's own first; on
            that task, or on all of them where the first is none.
        compared: pairs of sources of which the first is expected to be ahead on every task, such as curated images
            and uncurated ones.

    Source: Cole et al. 2022, arXiv:2105.05837, section 4.2, tables 1 to 3.
    """

    task: Mapping[str, Any] = field(default_factory=dict)
    base: Base
    sources: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, Any]]
    count: int | None = None
    pooled: Sequence[Sequence[str]] = ()
    supervised: Mapping[str, Base] = field(default_factory=dict)
    fused: Sequence[tuple[str, str]] = ()
    compared: Sequence[tuple[str, str]] = ()

    def __call__(self, seed: int) -> Sequence[Cell]:
        """The matrix first."""
        return list(self._cells(seed))

    def _cells(self, seed: int) -> Iterator[Cell]:
        alone = {
            name: self.pretrain(name, self.base, images=images, count=self.count, seed=seed)
            for name, images in self.sources.items()
        }
        for source, task in itertools.product(self.sources, self.tasks):
            yield self._evaluation(source, {source: alone[source]}, task, seed)
        for names in self.pooled:
            mixed = self.pretrain("+".join(names), self.base, images=self._pool(names), seed=seed)
            for task in self.tasks:
                yield self._evaluation(_pooled(names), {"pooled": mixed}, task, seed)
        labelled = {
            name: self.pretrain(f"{name}, supervised", base, images=self.sources[name], count=self.count, seed=seed)
            for name, base in self.supervised.items()
        }
        for name, task in itertools.product(labelled, self.tasks):
            yield self._evaluation(f"{name}, supervised", {name: labelled[name]}, task, seed)
        for own, other in self.fused:
            for task in (own,) if own in self.tasks else self.tasks:
                parts = {own: alone[own], other: alone[other]}
                yield self._evaluation(f"{own} & {other}", parts, task, seed)
                if other in labelled:
                    parts = {own: alone[own], f"{other}, supervised": labelled[other]}
                    yield self._evaluation(f"{own} & {other}, supervised", parts, task, seed)

    def _evaluation(self, source: str, weights: Mapping[str, Cell], task: str, seed: int) -> Cell:
        factors = {"source": source, "task": task}
        return self.evaluate(f"{source} on {task}", weights, factors, task=self.tasks[task], task_name=task, seed=seed)

    def _pool(self, names: Sequence[str]) -> dict[str, Any]:
        share = None if self.count is None else self.count // len(names)
        return {"type": "Pooled", "datasets": [images_of(self.sources[name], share) for name in names]}

    def claims(self) -> Sequence[Claim]:
        """The diagonal is best; pooling does not beat in-domain images; fusing helps."""
        found = [
            ahead(
                f"on {task}: pretraining on {first} images beats {other}",
                {"source": first, "task": task},
                {"source": other, "task": task},
                self.score,
            )
            for task, (first, other) in itertools.product(self.tasks, self.compared)
        ]
        for task in self.tasks:
            if task not in self.sources:
                continue
            own = {"source": task, "task": task}
            for other in self.sources:
                if other != task:
                    words = f"on {task}: pretraining on {task} beats pretraining on {other}"
                    found.append(ahead(words, own, {"source": other, "task": task}, self.score))
            for names in self.pooled:
                words = f"on {task}: pretraining on {task} alone beats as many images of {' and '.join(names)} pooled"
                found.append(ahead(words, own, {"source": _pooled(names), "task": task}, self.score))
            for first, other in self.fused:
                if first == task:
                    fused = {"source": f"{first} & {other}", "task": task}
                    words = f"on {task}: features of {first} and {other} side by side beat those of {first}"
                    found.append(ahead(words, fused, own, self.score))
                    if other in self.supervised:
                        taught = {"source": f"{first} & {other}, supervised", "task": task}
                        words = (
                            f"on {task}: fusing with supervised features of {other} beats fusing with self-supervised"
                        )
                        found.append(ahead(words, taught, fused, self.score))
        return found

    def figures(self) -> Sequence[Figure]:
        """The matrix of sources and tasks."""
        return (
            Figure(
                "domain", "Where images come from", "matrix", "task", ("source",), (self.score,),
                published=self.published, source=self.source,
            ),
        )  # fmt: skip


def _pooled(names: Sequence[str]) -> str:
    return f"{' + '.join(names)}, pooled"
