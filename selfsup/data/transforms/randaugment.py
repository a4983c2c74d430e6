"""RandAugment: a few operations, drawn from fourteen, at one strength."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from selfsup.errors import require
from selfsup.registry import TRANSFORMS

LEVELS = 30
OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
_SIGNED = frozenset(OPERATIONS[1:10])
_CENTER = {"shear_x": [0, 0], "shear_y": [0, 0]}


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class RandAugment:
    """Some operations one after the other, each drawn from all fourteen, with a random sign where it has one.

    Args:
        operations: how many, >= 0.
        magnitude: of 30.
        fill: of what comes into the image from outside, in [0, 255].

    Raises:
        ConfigError: if a number is out of its range.

    Source: Cubuk et al. 2020, arXiv:1909.13719, with the operations' ranges of torchvision.transforms.RandAugment.
    """

    operations: int = 2
    magnitude: int = 9
    _: KW_ONLY
    fill: int = 0

    def __post_init__(self) -> None:
        require(self.operations >= 0, "operations", "must be >= 0", got=self.operations)
        require(0 <= self.magnitude <= LEVELS, "magnitude", f"must be in [0, {LEVELS}]", got=self.magnitude)
        require(0 <= self.fill <= 255, "fill", "must be in [0, 255]", got=self.fill)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The changed image, (H, W, 3)."""
        for _ in range(self.operations):
            name = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
            sign = -1.0 if name in _SIGNED and rng.random() < 0.5 else 1.0
            image = apply(image, name, sign * strength(name, self.magnitude, *image.shape[:2]), fill=self.fill)
        return image


def strength(name: str, magnitude: int, height: int, width: int) -> float:
    """What a magnitude of 0 to 30 means to an operation: an angle in degrees, pixels, a factor or a threshold."""
    share = magnitude / LEVELS
    ranges = {
        "shear_x": 0.3,
        "shear_y": 0.3,
        "translate_x": 150 / 331 * width,
        "translate_y": 150 / 331 * height,
        "rotate": 30.0,
        "brightness": 0.9,
        "color": 0.9,
        "contrast": 0.9,
        "sharpness": 0.9,
    }
    if name == "posterize":
        return 8 - round(magnitude / (LEVELS / 4))
    if name == "solarize":
        return 255.0 * (1 - share)
    return ranges.get(name, 0.0) * share


def apply(image: np.ndarray, name: str, amount: float, *, fill: int = 0) -> np.ndarray:
    """One operation on an image, uint8 (H, W, 3)."""
    if name == "identity":
        return image
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)
    if name in ("shear_x", "shear_y", "translate_x", "translate_y"):
        degrees = float(np.degrees(np.arctan(amount)))
        shear = [degrees if name == "shear_x" else 0.0, degrees if name == "shear_y" else 0.0]
        shift = [int(amount) if name == "translate_x" else 0, int(amount) if name == "translate_y" else 0]
        moved = F.affine(
            pixels,
            angle=0.0,
            translate=shift if name.startswith("translate") else [0, 0],
            scale=1.0,
            shear=shear if name.startswith("shear") else [0.0, 0.0],
            interpolation=InterpolationMode.NEAREST,
            fill=[float(fill)],
            center=_CENTER.get(name),
        )
    elif name == "rotate":
        moved = F.rotate(pixels, amount, interpolation=InterpolationMode.NEAREST, fill=[float(fill)])
    elif name == "posterize":
        moved = F.posterize(pixels, int(amount))
    elif name == "solarize":
        moved = F.solarize(pixels, amount)
    elif name in ("autocontrast", "equalize"):
        moved = getattr(F, name)(pixels)
    else:
        change = {
            "brightness": F.adjust_brightness,
            "color": F.adjust_saturation,
            "contrast": F.adjust_contrast,
            "sharpness": F.adjust_sharpness,
        }[name]
        moved = change(pixels, 1.0 + amount)
    return np.ascontiguousarray(moved.permute(1, 2, 0).numpy())
