"""One view of an image, for training with labels."""

from collections.abc import Sequence

from selfsup.data.transforms import ColorJitter, RandomHorizontalFlip, RandomResizedCrop, Transform
from selfsup.data.transforms.geometry import Interpolation
from selfsup.data.views.multi_view import Component, MultiView
from selfsup.errors import require
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
