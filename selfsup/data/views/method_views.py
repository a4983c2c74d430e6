"""From one image to several views: the papers' pipelines, each only a composition of registered transforms.

The order and the numbers differ between papers, and the differences matter; ``print(SwAVViews().describe())`` shows
them. Pixel values leave as uint8: the device normalizes.
"""

from collections.abc import Sequence
from typing import Literal

from selfsup.data.transforms import (
    ColorJitter,
    GaussianBlur,
    RandomGray,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Solarize,
    Transform,
)
from selfsup.data.transforms.geometry import Interpolation
from selfsup.data.views.multi_view import Component, MultiView
from selfsup.errors import ConfigError
from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SwAVViews(MultiView):
    """SwAV's and SEER's multi-crop: crop, flip, jitter, gray, blur; the same colors at every size.

    Args:
        sizes: sides of the views in pixels, falling.
        counts: views of each size.
        scales: share of the image's area for each size. The paper's pair belongs to multi-crop; without small crops
            it uses (0.08, 1).
        strength: of the color jitter; 1 gives 0.8, 0.8, 0.8, 0.2.
        blur: with blur, as for ImageNet; False for images of a few dozen pixels, as SimCLR does for CIFAR.
        interpolation: of the crops.
        before: transforms that come first in every view.

    Raises:
        ConfigError: if sizes, counts and scales do not go together.

    Source: Caron et al. 2020, arXiv:2006.09882, section 3.2; facebookresearch/swav multicropdataset.py. SEER (Goyal et
    al. 2021, arXiv:2103.01988) takes counts (2, 4), and fine-tunes with one view of these colors: sizes (224,), counts
    (1,), scales ((0.08, 1),).
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
            raise ConfigError.at(
                "", f"sizes, counts and scales must be equally long, got {len(sizes)}, {len(counts)} and {len(scales)}"
            )
        if list(sizes) != sorted(sizes, reverse=True):
            raise ConfigError.at("sizes", "must fall", got=tuple(sizes))
        colors: list[Transform] = [RandomHorizontalFlip(0.5), _jitter(strength, p=0.8), RandomGray(0.2)]
        if blur:
            colors.append(GaussianBlur((0.1, 2.0), 0.5))
        super().__init__(
            [
                dict(
                    count=count,
                    transforms=[RandomResizedCrop(size, scale, interpolation=interpolation), *colors],
                )
                for size, count, scale in zip(sizes, counts, scales, strict=True)
            ],
            before=before,
        )


@TRANSFORMS.register_module()
class SimCLRViews(MultiView):
    """SimCLR's two views: crop, flip, jitter, gray, blur.

    Args:
        size: side of the views in pixels.
        strength: of the color jitter; 1 (ImageNet) gives 0.8, 0.8, 0.8, 0.2; the papers take 0.5 for CIFAR.
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
    """MoCo's two views, in each of its three versions; the flip comes last. SimSiam takes over those of version 2.

    Args:
        size: side of the views in pixels.
        version: 1 (crop, gray, jitter without exception and with wide hues, flip), 2 (crop, weaker jitter, gray, blur,
            flip) or 3 (BYOL's unequal pair in the order of version 2: the first view is always blurred, the second
            seldom, and sometimes solarized; brightness is a factor and the blur is Pillow's).
        scale: share of the image's area; version 3 takes (0.2, 1) for its ResNet-50 and (0.08, 1) for ViTs.
        interpolation: of the crops.
        before: transforms that come first in every view.

    Raises:
        ConfigError: if ``version`` is none of 1, 2 and 3.

    Source: He et al. 2019, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297; facebookresearch/moco main_moco.py.
    Version 3: Chen et al. 2021, arXiv:2104.02057; facebookresearch/moco-v3 main_moco.py and CONFIG.md. SimSiam: Chen
    and He 2020, arXiv:2011.10566; facebookresearch/simsiam main_simsiam.py.
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
        sigma = (0.1, 2.0)
        colors: list[list[Transform]]  # of each view, or of both
        if version == 1:
            colors = [[RandomGray(0.2), ColorJitter(0.4, 0.4, saturation=0.4, hue=0.4, p=1.0)]]
        elif version == 2:
            jitter = ColorJitter(0.4, 0.4, saturation=0.4, hue=0.1, p=0.8)
            colors = [[jitter, RandomGray(0.2), GaussianBlur(sigma, 0.5)]]
        elif version == 3:
            jitter = ColorJitter(0.4, 0.4, saturation=0.2, hue=0.1, p=0.8)
            colors = [
                [jitter, RandomGray(0.2), GaussianBlur(sigma, 1.0)],
                [jitter, RandomGray(0.2), GaussianBlur(sigma, 0.1), Solarize(0.2)],
            ]
        else:
            raise ConfigError.at("version", "must be 1, 2 or 3", got=version)
        crop = RandomResizedCrop(size, scale, interpolation=interpolation)
        super().__init__(
            [dict(count=2 // len(colors), transforms=[crop, *steps, RandomHorizontalFlip(0.5)]) for steps in colors],
            before=before,
        )


@TRANSFORMS.register_module()
class BYOLViews(MultiView):
    """BYOL's two unequal views: the first always blurred, the second seldom blurred and sometimes solarized.

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


def _jitter(
    strength: float, *, p: float, brightness_mode: Literal["multiplicative", "additive"] = "multiplicative"
) -> ColorJitter:
    """SimCLR's color jitter, which SwAV shares."""
    return ColorJitter(
        0.8 * strength,
        0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        p=p,
        brightness_mode=brightness_mode,
    )
