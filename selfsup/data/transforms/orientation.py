"""Mirror and turn."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from selfsup.data.transforms.base import check_probability
from selfsup.errors import ConfigError
from selfsup.registry import TRANSFORMS

TURNS: dict[int, int | None] = {
    0: None,
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}
"""What OpenCV calls each angle, counter-clockwise in degrees."""


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror left and right with probability ``p``.

    Args:
        p: probability, in [0, 1].

    Raises:
        ConfigError: if ``p`` is out of range.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.p)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The mirrored image, or the image itself."""
        return cv2.flip(image, 1) if rng.random() < self.p else image


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class RandomRotate90:
    """Turn by a random multiple of 90 degrees, every angle being equally likely.

    A quarter turn exchanges height and width.

    Args:
        angles: to choose from, counter-clockwise in degrees: of 0, 90, 180 and 270. Table 3 of the paper has all
            four; its figure 4 shows the three that change something.

    Raises:
        ConfigError: if there are no angles, or others.

    Source: Chen et al. 2020, arXiv:2002.05709, section 3.1, after Gidaris et al. 2018, arXiv:1803.07728.
    """

    angles: Sequence[int] = (0, 90, 180, 270)

    def __post_init__(self) -> None:
        if not self.angles or not set(self.angles) <= set(TURNS):
            raise ConfigError.at("angles", f"must be some of {', '.join(map(str, TURNS))}", got=self.angles)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The turned image, or the image itself."""
        turn = TURNS[self.angles[int(rng.integers(len(self.angles)))]]
        return image if turn is None else cv2.rotate(image, turn)
