"""SimCLR's study of augmentations: its operators by name, and the views in which one or two of them are tried."""

from collections.abc import Sequence
from typing import Any

from selfsup.data.transforms import RandomResizedCrop
from selfsup.data.transforms.geometry import Interpolation
from selfsup.data.views.multi_view import Component, MultiView, Pipeline
from selfsup.errors import require
from selfsup.registry import TRANSFORMS

STUDY_GRID = ("crop", "cutout", "color", "sobel", "noise", "blur", "rotate")
"""The names in :func:`study_transforms` that the paper's figure 5 crosses with each other; the order is ours."""


def study_transforms(size: int = 224, *, strength: float = 1.0) -> dict[str, list[dict[str, Any]]]:
    """The operators of SimCLR's study, as configs: each a list of transforms, done one after the other.

    An entry on the diagonal of the paper's figure 5 takes one list, any other the two lists joined. Crop comes with
    its flip, and color distortion is the jitter followed by the drop, as in the paper. 'resize' is the crop without
    the flip; 'drop' and 'jitter' are the two halves of 'color', done to every image.

    Args:
        size: side in pixels of the images the operators are applied to; crops are resized to it.
        strength: of the color jitter, as in :class:`SimCLRViews`.

    Returns:
        The lists by name: those of STUDY_GRID first, then the rest of the paper's figure 4. Every call makes new ones.

    Source: Chen et al. 2020, arXiv:2002.05709, figures 4 and 5 and appendix A.
    """
    crop: dict[str, Any] = dict(
        type="RandomResizedCrop", size=size, scale=(0.08, 1.0), interpolation="bicubic", attempts=100
    )
    jitter: dict[str, Any] = dict(
        type="ColorJitter",
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
    )
    return {
        "crop": [crop, dict(type="RandomHorizontalFlip", p=0.5)],
        "cutout": [dict(type="Cutout")],
        "color": [dict(jitter, p=0.8), dict(type="RandomGray", p=0.2)],
        "sobel": [dict(type="Sobel")],
        "noise": [dict(type="GaussianNoise")],
        "blur": [dict(type="GaussianBlur", sigma=(0.1, 2.0), p=0.5, kernel="simclr")],
        "rotate": [dict(type="RandomRotate90")],
        "resize": [dict(crop)],
        "drop": [dict(type="RandomGray", p=1.0)],
        "jitter": [dict(jitter, p=1.0)],
    }


@TRANSFORMS.register_module()
class OneBranchViews(MultiView):
    """The two views of SimCLR's study: one crop, resized, as it is; and the same crop, transformed.

    With the crop drawn once, nothing but the transforms under study makes the views differ; to study cropping, crop
    again, within the view.

    Args:
        size: side of the views in pixels.
        transforms: done to the second view, in order: one operator of the study or two, see
            :func:`study_transforms`.
        scale: share of the image's area in the common crop.
        interpolation: of the common crop.
        before: transforms that come first, once for both views.

    Raises:
        ConfigError: if there are no transforms.

    Source: Chen et al. 2020, arXiv:2002.05709, section 3.1, "asymmetric data transformation setting".
    """

    def __init__(
        self,
        size: int,
        transforms: Sequence[Component],
        *,
        scale: tuple[float, float] = (0.08, 1.0),
        interpolation: Interpolation = "bicubic",
        before: Sequence[Component] = (),
    ) -> None:
        require(transforms, "transforms", "must hold at least one transform", got=transforms)
        crop = RandomResizedCrop(size, scale, interpolation=interpolation, attempts=100)
        built = tuple(TRANSFORMS.build(transform) for transform in transforms)
        super().__init__([Pipeline(1, ()), Pipeline(1, built)], shared=[*before, crop])
