"""How images must be shown to a network: size, resizing, normalization."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from selfsup.data.transforms.geometry import Interpolation, resize
from selfsup.errors import CheckpointError, ConfigError, DataError
from selfsup.ops.images import on_background

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputContract:
    """How images must be shown to a network; the defaults are ImageNet's, None stands for unknown.

    Args:
        size: side in pixels of the square that the network sees.
        resize: ``'shorter:N'`` brings the shorter side to N pixels, ``'square'`` the whole image to ``size`` x
            ``size`` whatever its shape, ``'none'`` leaves the image as large as it is.
        crop: ``'center'`` cuts the central square out, ``'none'`` shows the image as ``resize`` leaves it.
        interpolation: of the resizing.
        antialias: whether shrinking averages; torchvision without antialiasing and TensorFlow do not.
        mean: per channel, subtracted from pixels in ``value_range``.
        std: per channel, divided by afterwards.
        value_range: what pixels 0 and 255 become before ``mean`` and ``std``.
        channel_order: ``'rgb'`` or ``'bgr'``.
        background: RGB in [0, 255], on which images with an alpha channel are laid.
    """

    size: int | None = 224
    resize: str | None = "shorter:256"
    crop: Literal["center", "none"] | None = "center"
    interpolation: Interpolation | None = "bilinear"
    antialias: bool | None = True
    mean: tuple[float, ...] | None = IMAGENET_MEAN
    std: tuple[float, ...] | None = IMAGENET_STD
    value_range: tuple[float, float] | None = (0.0, 1.0)
    channel_order: Literal["rgb", "bgr"] | None = "rgb"
    background: tuple[int, int, int] = (127, 127, 127)

    def __post_init__(self) -> None:
        for name in ("mean", "std", "value_range", "background"):
            value = getattr(self, name)
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(value))
        if self.resize not in (None, "square", "none") and not self._shorter_side:
            raise ConfigError.at("resize", "must be 'shorter:N', 'square' or 'none'", got=self.resize)
        if self.size is not None and self.size < 1:
            raise ConfigError.at("size", "must be > 0", got=self.size)
        if self.std is not None and min(self.std) <= 0:
            raise ConfigError.at("std", "must be > 0", got=self.std)
        if self.mean is not None and self.std is not None and self.value_range is not None:
            low, high = self.value_range
            if not low <= min(self.mean) <= max(self.mean) <= high:
                raise ConfigError.at("mean", f"must be in the unit of value_range, {low:g} to {high:g}", got=self.mean)
            if not (high - low) / 500 <= min(self.std) <= max(self.std) <= high - low:
                raise ConfigError.at("std", f"must be in the unit of value_range, {low:g} to {high:g}", got=self.std)

    @classmethod
    def for_side(cls, side: int, **stated: Any) -> "InputContract":
        """The usual way to show images to a network that was trained on views of a side.

        Args:
            side: of the views in pixels; images are shown so, cut out of 256/224 of it.
            stated: fields that are known better.
        """
        size = stated.get("size") or side
        return cls(**{"size": size, "resize": f"shorter:{round(size * 256 / 224)}", **stated})

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields that are None: they must be given before images can be shown."""
        return tuple(field.name for field in dataclasses.fields(self) if getattr(self, field.name) is None)

    def replace(self, **changes: Any) -> "InputContract":
        """The same contract with other fields."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as cards and rows hold it."""
        values = {name: getattr(self, name) for name in _FIELDS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, stated: Mapping[str, Any]) -> "InputContract":
        """The inverse of :meth:`to_dict`; cards of version 0.1 called it ``preprocess`` and knew less."""
        if "channels" not in stated:
            return cls(**{key: value for key, value in stated.items() if key in _FIELDS})
        size, resize = stated.get("size"), stated.get("resize")
        known = stated.get("mean") is not None
        return cls(
            size=size,
            resize=None if resize is None else f"shorter:{resize}",
            interpolation=stated.get("interpolation"),
            mean=stated.get("mean"),
            std=stated.get("std"),
            value_range=(0.0, 1.0) if known else None,
            channel_order="rgb" if known else None,
        )

    @classmethod
    def of_card(cls, card: Mapping[str, Any], place: str) -> "InputContract":
        """What the card of some weights says under ``preprocess``.

        Args:
            card: see :func:`~selfsup.weights.card.read_card`.
            place: what a message calls it.

        Raises:
            CheckpointError: if it says nothing.
        """
        if not isinstance(stated := card.get("preprocess"), Mapping):
            raise CheckpointError.at(
                f"{place}: preprocess",
                "the card does not say how images are shown",
                expected="write size, resize, crop, interpolation, mean and std there, as the weights were trained",
            )
        return cls.from_dict(stated)

    def check_known(self, place: str) -> None:
        """Reject a contract with unknown fields.

        Raises:
            ConfigError: naming them.
        """
        if self.unknown:
            raise ConfigError.at(
                place, f"how images are shown to these weights is not known, give {', '.join(self.unknown)}"
            )

    def view(self, image: np.ndarray) -> np.ndarray:
        """An image as the network sees it, before normalization.

        Args:
            image: uint8, (H, W, 3) RGB or (H, W, 4) RGBA.

        Returns:
            uint8, (size, size, 3); of another shape with ``resize`` and ``crop`` ``'none'``.
        """
        image = self._resized(on_background(image, self.background))
        if self.crop == "center":
            image = _center(image, self.size or 0)
        return image[..., ::-1] if self.channel_order == "bgr" else image

    def normalize(self, images: Tensor) -> Tensor:
        """Views to what the network reads.

        Args:
            images: uint8, (B, 3, H, W).

        Returns:
            float32 of the same shape and memory format.
        """
        assert self.mean is not None and self.std is not None and self.value_range is not None
        low, high = self.value_range
        scale = (high - low) / 255
        mean, std = (torch.tensor(each, device=images.device).view(1, -1, 1, 1) for each in (self.mean, self.std))
        return images.float().sub_((mean - low) / scale).div_(std / scale)

    @cached_property
    def _shorter_side(self) -> int:
        kind, _, number = (self.resize or "").partition(":")
        return int(number) if kind == "shorter" and number.isdecimal() else 0

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if self.resize == "none":
            return image
        if self.resize == "square":
            assert self.size is not None
            height, width = self.size, self.size
        elif height < width:
            height, width = self._shorter_side, int(self._shorter_side * width / height)
        else:
            height, width = int(self._shorter_side * height / width), self._shorter_side
        assert self.interpolation is not None
        if self.antialias:
            return resize(image, height, width, interpolation=self.interpolation)
        return cv2.resize(image, (width, height), interpolation=_WITHOUT_ANTIALIASING[self.interpolation])


_FIELDS = tuple(field.name for field in dataclasses.fields(InputContract))
_WITHOUT_ANTIALIASING = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def _center(image: np.ndarray, size: int) -> np.ndarray:
    """The central square, (size, size, C)."""
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise DataError.at(
            "size", f"an image of {width} x {height} is too small for {size}", expected="resize='shorter:N'"
        )
    top, left = round((height - size) / 2), round((width - size) / 2)
    return image[top : top + size, left : left + size]
