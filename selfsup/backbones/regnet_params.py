"""From the five numbers of a RegNet to the widths and depths of its stages."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH_STEP = 8  # Radosavovic et al. 2020, arXiv:2003.13678, section 3.3: widths are multiples of 8


@dataclass(frozen=True)
class Stages:
    """Depth, width and group width of every stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group_widths: tuple[int, ...]


@dataclass(frozen=True)
class RegNetParams:
    """The line that RegNet's widths follow.

    Args:
        depth: number of blocks in all stages.
        w_0: width of the first block before quantization.
        w_a: growth of the width from block to block.
        w_m: ratio of the widths of neighboring stages, > 1.
        group_width: channels per group of the 3x3 convolutions.
    """

    depth: int
    w_0: float
    w_a: float
    w_m: float
    group_width: int

    def stages(self) -> Stages:
        """Quantize the line to stages.

        Everything is float64 and rounds half to even. Widths become multiples of the group width to the nearest, which
        is ClassyVision's and pycls's rule; torchvision never goes below 0.9 of the width, and so gets 224 instead of
        168 for the first stage of 8GF.

        Source: Radosavovic et al. 2020, arXiv:2003.13678, equations 2 to 4.
        """
        line = self.w_0 + self.w_a * np.arange(self.depth, dtype=np.float64)
        powers = np.round(np.log(line / self.w_0) / np.log(self.w_m))
        quantized = WIDTH_STEP * np.round(self.w_0 * self.w_m**powers / WIDTH_STEP)
        widths, depths = np.unique(quantized.astype(np.int64), return_counts=True)
        return fit_groups([int(depth) for depth in depths], [int(width) for width in widths], self.group_width)


def fit_groups(depths: Sequence[int], widths: Sequence[int], group_width: int) -> Stages:
    """Move each width to the nearest multiple of its group width, which is at most the width itself."""
    group_widths = [min(group_width, width) for width in widths]
    fitted = [group * round(width / group) for width, group in zip(widths, group_widths, strict=True)]
    return Stages(tuple(depths), tuple(fitted), tuple(group_widths))
