"""One view of an image: for training with labels, and for evaluators."""

from collections.abc import Sequence

import numpy as np

from selfsup.data.transforms import (
    CenterCrop,
    ColorJitter,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    Transform,
)
from selfsup.data.transforms.geometry import Interpolation
from selfsup.data.views.multi_view import Component, MultiView
from selfsup.errors import ConfigError, require
from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SupervisedViews(MultiView):
    """The one view that supervised training takes: crop, flip, jitter.

    Args:
        size: side of the view in pixels.
        jitter: strength of brightness, contrast, saturation and hue alike, in [0, 0.5]; 0 leaves the jitter out.
        scale: share of the image's area.
        interpolation: of the crop.
        before: transforms that come first.

    Raises:
        ConfigError: if ``jitter`` is out of range.

    Source: facebookresearch/vissl configs/config/pretrain/supervised/supervised_8gpu_resnet.yaml.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        jitter: float = 0.4,
        scale: tuple[float, float] = (0.08, 1.0),
        interpolation: Interpolation = "bilinear",
        before: Sequence[Component] = (),
    ) -> None:
        require(0 <= jitter <= 0.5, "jitter", "must be in [0, 0.5]", got=jitter)
        transforms: list[Transform] = [
            RandomResizedCrop(size, scale, interpolation=interpolation),
            RandomHorizontalFlip(0.5),
        ]
        if jitter:
            transforms.append(ColorJitter(jitter, jitter, saturation=jitter, hue=jitter, p=1.0))
        super().__init__([dict(transforms=transforms)], before=before)


@TRANSFORMS.register_module()
class BiTViews(MultiView):
    """The one view BiT pre-trains on: "Inception crop" and flip.

    The windows are drawn by torchvision's rule like all of ours, see :class:`RandomResizedCrop`, from big_vision's
    range of areas and ratios. big_vision resizes without antialiasing, ours antialiases.

    Args:
        size: side of the view in pixels.
        scale: share of the image's area.
        interpolation: of the crop.
        before: transforms that come first.

    Source: Kolesnikov et al. 2020, arXiv:1912.11370, section 3.3; google-research/big_vision
    big_vision/configs/bit_i21k.py and big_vision/pp/ops_image.py.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        scale: tuple[float, float] = (0.05, 1.0),
        interpolation: Interpolation = "bilinear",
        before: Sequence[Component] = (),
    ) -> None:
        ratio = (0.75, 1.33)  # big_vision's ratio_max, not 4/3
        crop = RandomResizedCrop(size, scale, ratio=ratio, interpolation=interpolation, attempts=100)
        super().__init__([dict(transforms=[crop, RandomHorizontalFlip(0.5)])], before=before)


@TRANSFORMS.register_module()
class EvaluationView:
    """The one view evaluators use: short side resized, center cut out; ``view(image)`` gives uint8 (size, size, 3).

    Args:
        resize: short side in pixels before the cut, at least ``size``.
        size: side of the view in pixels.
        interpolation: of the resizing.

    Raises:
        ConfigError: if ``resize`` is smaller than ``size``.
    """

    def __init__(self, resize: int = 256, size: int = 224, *, interpolation: Interpolation = "bilinear") -> None:
        if resize < size:
            raise ConfigError.at("resize", f"must be at least size = {size}", got=resize)
        self.transforms: tuple[Transform, ...] = (Resize(resize, interpolation=interpolation), CenterCrop(size))

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """The view; nothing is drawn from ``rng``, which may be left out."""
        unused = rng if rng is not None else np.random.default_rng(0)
        for transform in self.transforms:
            image = transform(image, unused)
        return image

    def __repr__(self) -> str:
        return f"EvaluationView({', '.join(map(str, self.transforms))})"
