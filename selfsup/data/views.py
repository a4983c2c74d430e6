"""From one image to several views: the papers' pipelines, each only a composition of registered transforms.

The order and the numbers differ between papers, and the differences matter; ``print(SwAVViews().describe())`` shows
them. Pixel values leave as uint8: the device normalises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from selfsup.data.transforms import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    RandomGray,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    Solarize,
    Transform,
)
from selfsup.data.transforms.geometry import Interpolation
from selfsup.errors import ConfigError, DataError
from selfsup.registry import TRANSFORMS

Component = Transform | dict[str, Any]


@dataclass(frozen=True)
class Pipeline:
    """Transforms that make ``count`` views of an image, each from fresh draws.

    Args:
        count: how many views, >= 1.
        transforms: what is done, in order.
    """

    count: int
    transforms: tuple[Transform, ...]


@TRANSFORMS.register_module()
class MultiView:
    """Several views of one image: ``views(image, rng)`` gives a list of uint8 (h, w, 3) arrays, in the order listed.

    Args:
        pipelines: for each kind of view a dict with ``count`` (default 1) and ``transforms`` (a list of transforms or
            their dicts), or a :class:`Pipeline`; largest views first.
        before: transforms that come first in every view, such as ``FreshBackground`` for images with alpha.

    Raises:
        ConfigError: if there is no pipeline, or one has another key, no transform or no view.
        DataError: when called, if the image still has an alpha channel after ``before``.
    """

    def __init__(self, pipelines: Sequence[dict[str, Any] | Pipeline], *, before: Sequence[Component] = ()) -> None:
        if not pipelines:
            raise ConfigError(f"{type(self).__name__}.pipelines: must hold at least one pipeline, got none")
        self.before: tuple[Transform, ...] = tuple(TRANSFORMS.build(transform) for transform in before)
        self.pipelines = tuple(
            pipeline if isinstance(pipeline, Pipeline) else self._pipeline(position, pipeline)
            for position, pipeline in enumerate(pipelines)
        )

    def _pipeline(self, position: int, description: dict[str, Any]) -> Pipeline:
        where = f"{type(self).__name__}.pipelines[{position}]"
        unknown = set(description) - {"count", "transforms"}
        if unknown:
            raise ConfigError(f"{where}: takes 'count' and 'transforms', got {sorted(description)}")
        count, transforms = description.get("count", 1), description.get("transforms", ())
        if count < 1:
            raise ConfigError(f"{where}.count: must be >= 1, got {count}")
        if not transforms:
            raise ConfigError(f"{where}.transforms: must hold at least one transform, got {transforms!r}")
        return Pipeline(count, tuple(TRANSFORMS.build(transform) for transform in transforms))

    @property
    def num_views(self) -> int:
        """Number of views of one image."""
        return sum(pipeline.count for pipeline in self.pipelines)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """The views, each uint8 (h, w, 3)."""
        return [
            self._view(image, pipeline.transforms, rng) for pipeline in self.pipelines for _ in range(pipeline.count)
        ]

    def _view(self, image: np.ndarray, transforms: tuple[Transform, ...], rng: np.random.Generator) -> np.ndarray:
        for transform in self.before:
            image = transform(image, rng)
        if image.ndim != 3 or image.shape[2] != 3:
            raise DataError(
                f"{type(self).__name__}: the image must be (height, width, 3), got {image.shape}; "
                "before=[dict(type='FreshBackground')] lays an image with alpha on a background"
            )
        for transform in transforms:
            image = transform(image, rng)
        return image

    def describe(self) -> str:
        """A line per transform, under a heading per pipeline."""
        lines = []
        for pipeline in self.pipelines:
            lines.append(f"{pipeline.count} view{'s' if pipeline.count > 1 else ''}:")
            lines += [f"  {transform}" for transform in (*self.before, *pipeline.transforms)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{type(self).__name__}:\n{self.describe()}"


@TRANSFORMS.register_module()
class SwAVViews(MultiView):
    """SwAV's and SEER's multi-crop: crop, flip, jitter, grey, blur; the same colours at every size.

    Args:
        sizes: sides of the views in pixels, falling.
        counts: views of each size.
        scales: share of the image's area for each size. The paper's pair belongs to multi-crop; without small crops
            it uses (0.08, 1).
        strength: of the colour jitter; 1 gives 0.8, 0.8, 0.8, 0.2.
        blur: with blur, as for ImageNet; False for images of a few dozen pixels, as SimCLR does for CIFAR.
        interpolation: of the crops.
        before: transforms that come first in every view.

    Raises:
        ConfigError: if sizes, counts and scales do not go together.

    Source: Caron et al. 2020, arXiv:2006.09882, section 3.2; facebookresearch/swav multicropdataset.py. SEER (Goyal et
    al. 2021, arXiv:2103.01988) takes counts (2, 4).
    """

    def __init__(
        self,
        sizes: Sequence[int] = (224, 96),
        counts: Sequence[int] = (2, 6),
        *,
        scales: Sequence[tuple[float, float]] = ((0.14, 1.0), (0.05, 0.14)),
        strength: float = 1.0,
        blur: bool = True,
        interpolation: Interpolation = "bilinear",
        before: Sequence[Component] = (),
    ) -> None:
        if not len(sizes) == len(counts) == len(scales):
            raise ConfigError(
                "SwAVViews: sizes, counts and scales must be equally long, "
                f"got {len(sizes)}, {len(counts)} and {len(scales)}"
            )
        if list(sizes) != sorted(sizes, reverse=True):
            raise ConfigError(f"SwAVViews.sizes: must fall, got {tuple(sizes)}")
        colours: list[Transform] = [RandomHorizontalFlip(0.5), _jitter(strength, p=0.8), RandomGray(0.2)]
        if blur:
            colours.append(GaussianBlur((0.1, 2.0), 0.5))
        super().__init__(
            [
                dict(
                    count=count,
                    transforms=[RandomResizedCrop(size, scale, interpolation=interpolation), *colours],
                )
                for size, count, scale in zip(sizes, counts, scales, strict=True)
            ],
            before=before,
        )


@TRANSFORMS.register_module()
class SimCLRViews(MultiView):
    """SimCLR's two views: crop, flip, jitter, grey, blur.

    Args:
        size: side of the views in pixels.
        strength: of the colour jitter; 1 (ImageNet) gives 0.8, 0.8, 0.8, 0.2; the papers take 0.5 for CIFAR.
        blur: with blur, as for ImageNet; False as for CIFAR.
        brightness_mode: 'multiplicative' as in version 2 of the paper and in torchvision, 'additive' as in version 1.
        scale: share of the image's area.
        interpolation: of the crops. TensorFlow's does not antialias, ours does.
        before: transforms that come first in every view.

    Source: Chen et al. 2020, arXiv:2002.05709, appendix A, and arXiv:2006.10029; google-research/simclr data_util.py.
    """

    def __init__(
        self,
        size: int = 224,
        strength: float = 1.0,
        *,
        blur: bool = True,
        brightness_mode: Literal["multiplicative", "additive"] = "multiplicative",
        scale: tuple[float, float] = (0.08, 1.0),
        interpolation: Interpolation = "bicubic",
        before: Sequence[Component] = (),
    ) -> None:
        transforms: list[Transform] = [
            RandomResizedCrop(size, scale, interpolation=interpolation, attempts=100),
            RandomHorizontalFlip(0.5),
            _jitter(strength, p=0.8, brightness_mode=brightness_mode),
            RandomGray(0.2),
        ]
        if blur:
            transforms.append(GaussianBlur((0.1, 2.0), 0.5, kernel="simclr"))
        super().__init__([dict(count=2, transforms=transforms)], before=before)


@TRANSFORMS.register_module()
class MoCoViews(MultiView):
    """MoCo's two views, which SimSiam takes over from version 2; the flip comes last.

    Args:
        size: side of the views in pixels.
        version: 1 (crop, grey, jitter without exception and with wide hues, flip) or 2 (crop, weaker jitter, grey,
            blur, flip).
        scale: share of the image's area.
        interpolation: of the crops.
        before: transforms that come first in every view.

    Raises:
        ConfigError: if ``version`` is neither 1 nor 2.

    Source: He et al. 2019, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297; facebookresearch/moco main_moco.py.
    """

    def __init__(
        self,
        size: int = 224,
        version: int = 2,
        *,
        scale: tuple[float, float] = (0.2, 1.0),
        interpolation: Interpolation = "bilinear",
        before: Sequence[Component] = (),
    ) -> None:
        colours: list[Transform]
        if version == 1:
            colours = [RandomGray(0.2), ColorJitter(0.4, 0.4, saturation=0.4, hue=0.4, p=1.0)]
        elif version == 2:
            colours = [
                ColorJitter(0.4, 0.4, saturation=0.4, hue=0.1, p=0.8),
                RandomGray(0.2),
                GaussianBlur((0.1, 2.0), 0.5),
            ]
        else:
            raise ConfigError(f"MoCoViews.version: must be 1 or 2, got {version!r}")
        crop = RandomResizedCrop(size, scale, interpolation=interpolation)
        super().__init__([dict(count=2, transforms=[crop, *colours, RandomHorizontalFlip(0.5)])], before=before)


@TRANSFORMS.register_module()
class BYOLViews(MultiView):
    """BYOL's two unequal views: the first always blurred, the second seldom blurred and sometimes solarised.

    Args:
        size: side of the views in pixels.
        scale: share of the image's area.
        interpolation: of the crops.
        before: transforms that come first in every view.

    Source: Grill et al. 2020, arXiv:2006.07733, appendix B; deepmind-research byol/utils/augmentations.py.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        scale: tuple[float, float] = (0.08, 1.0),
        interpolation: Interpolation = "bicubic",
        before: Sequence[Component] = (),
    ) -> None:
        shared: list[Transform] = [
            RandomResizedCrop(size, scale, interpolation=interpolation),
            RandomHorizontalFlip(0.5),
            ColorJitter(0.4, 0.4, saturation=0.2, hue=0.1, p=0.8, brightness_mode="additive"),
            RandomGray(0.2),
        ]
        sigma = (0.1, 2.0)
        first = [*shared, GaussianBlur(sigma, 1.0, kernel="byol"), Solarize(0.0)]
        second = [*shared, GaussianBlur(sigma, 0.1, kernel="byol"), Solarize(0.2)]
        super().__init__([dict(transforms=first), dict(transforms=second)], before=before)


@TRANSFORMS.register_module()
class EvaluationView:
    """The one view evaluators use: short side resized, centre cut out; ``view(image)`` gives uint8 (size, size, 3).

    Args:
        resize: short side in pixels before the cut, at least ``size``.
        size: side of the view in pixels.
        interpolation: of the resizing.

    Raises:
        ConfigError: if ``resize`` is smaller than ``size``.
    """

    def __init__(self, resize: int = 256, size: int = 224, *, interpolation: Interpolation = "bilinear") -> None:
        if resize < size:
            raise ConfigError(f"EvaluationView.resize: must be at least size = {size}, got {resize}")
        self.transforms: tuple[Transform, ...] = (Resize(resize, interpolation=interpolation), CenterCrop(size))

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """The view; nothing is drawn from ``rng``, which may be left out."""
        unused = rng if rng is not None else np.random.default_rng(0)
        for transform in self.transforms:
            image = transform(image, unused)
        return image

    def __repr__(self) -> str:
        return f"EvaluationView({', '.join(map(str, self.transforms))})"


def _jitter(
    strength: float, *, p: float, brightness_mode: Literal["multiplicative", "additive"] = "multiplicative"
) -> ColorJitter:
    """SimCLR's colour jitter, which SwAV shares."""
    return ColorJitter(
        0.8 * strength,
        0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        p=p,
        brightness_mode=brightness_mode,
    )
