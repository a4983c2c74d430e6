"""Several views of one image, from any transforms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfsup.data.transforms import Transform
from selfsup.data.views.image_check import is_image, kind_of
from selfsup.errors import ConfigError, DataError, require, under
from selfsup.registry import TRANSFORMS

Component = Transform | dict[str, Any]


@dataclass(frozen=True)
class Pipeline:
    """Transforms that make ``count`` views of an image, each from fresh draws.

    Args:
        count: how many views, >= 1.
        transforms: what is done, in order; none leaves what the pipelines share as it is.
    """

    count: int = 1
    transforms: tuple[Transform, ...] = ()


def _transformed(image: np.ndarray, transform: Transform, rng: np.random.Generator) -> np.ndarray:
    """An image after a transform, which may be anybody's: what it returns is looked at before the next one sees it."""
    changed = transform(image, rng)
    if not is_image(changed):
        raise DataError.at(
            type(transform).__name__,
            f"must return an image, uint8 (height, width, channels), got {kind_of(changed)}",
        )
    return changed


def _built(transforms: Sequence[Component], path: str) -> tuple[Transform, ...]:
    found = []
    for number, transform in enumerate(transforms):
        with under(f"{path}.{number}"):
            found.append(TRANSFORMS.build(transform))
    return tuple(found)


@TRANSFORMS.register_module()
class MultiView:
    """Several views of one image: ``views(image, rng)`` gives a list of uint8 (h, w, 3) arrays.

    Views keep the order of the pipelines, whatever their sizes. A method that treats views differently goes by their
    place: SwAV assigns prototypes to the first two, a teacher of multi-crop sees those. List the largest first.

    Args:
        pipelines: for each kind of view a dict with ``count`` (default 1) and ``transforms`` (a list of transforms or
            their dicts), or a :class:`Pipeline`.
        before: transforms that come first in every view, such as ``FreshBackground`` for images with alpha.
        shared: transforms done once, before the views part ways: all of them start from the same result. With these,
            a pipeline may have no transforms of its own.

    Raises:
        ConfigError: if there is no pipeline, or one has another key, no view, or nothing to do.
        DataError: when called, if the image still has an alpha channel after ``before``, or a transform returns
            anything but a uint8 image.
    """

    def __init__(
        self,
        pipelines: Sequence[dict[str, Any] | Pipeline],
        *,
        before: Sequence[Component] = (),
        shared: Sequence[Component] = (),
    ) -> None:
        require(pipelines, "pipelines", "must hold at least one pipeline, got none")
        self.before: tuple[Transform, ...] = _built(before, "before")
        self.shared: tuple[Transform, ...] = _built(shared, "shared")
        self.pipelines = tuple(
            pipeline if isinstance(pipeline, Pipeline) else self._pipeline(position, pipeline)
            for position, pipeline in enumerate(pipelines)
        )

    def _pipeline(self, position: int, description: dict[str, Any]) -> Pipeline:
        where = f"pipelines.{position}"
        unknown = set(description) - {"count", "transforms"}
        if unknown:
            raise ConfigError.at(where, "takes 'count' and 'transforms'", got=sorted(description))
        count, transforms = description.get("count", 1), description.get("transforms", ())
        if count < 1:
            raise ConfigError.at(f"{where}.count", "must be >= 1", got=count)
        if not transforms and not self.shared:
            raise ConfigError.at(f"{where}.transforms", "must hold at least one transform", got=transforms)
        return Pipeline(count, _built(transforms, f"{where}.transforms"))

    @property
    def num_views(self) -> int:
        """Number of views of one image."""
        return sum(pipeline.count for pipeline in self.pipelines)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """The views, each uint8 (h, w, 3)."""
        for transform in self.shared:
            image = _transformed(image, transform, rng)
        return [
            self._view(image, pipeline.transforms, rng) for pipeline in self.pipelines for _ in range(pipeline.count)
        ]

    def _view(self, image: np.ndarray, transforms: tuple[Transform, ...], rng: np.random.Generator) -> np.ndarray:
        for transform in self.before:
            image = _transformed(image, transform, rng)
        if image.ndim != 3 or image.shape[2] != 3:
            raise DataError.at(
                type(self).__name__,
                "the image must be (height, width, 3)",
                got=image.shape,
                expected="before=[dict(type='FreshBackground')] lays an image with alpha on a background",
            )
        for transform in transforms:
            image = _transformed(image, transform, rng)
        return image

    def describe(self) -> str:
        """A line per transform, under a heading per pipeline."""
        lines = ["once:", *(f"  {transform}" for transform in self.shared)] if self.shared else []
        for pipeline in self.pipelines:
            lines.append(f"{pipeline.count} view{'s' if pipeline.count > 1 else ''}:")
            lines += [f"  {transform}" for transform in (*self.before, *pipeline.transforms)] or ["  as it is"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{type(self).__name__}:\n{self.describe()}"
