"""Sobel edges by the definition, as loops in float64."""

import numpy as np

SMOOTH, SLOPE = (1, 2, 1), (-1, 0, 1)


def sobel_by_the_definition(channel: np.ndarray) -> np.ndarray:
    """A quarter of the gradient's length in one channel (H, W), the border mirrored about its outermost pixels."""
    height, width = channel.shape

    def value(row: int, column: int) -> float:
        row, column = abs(row), abs(column)
        row = 2 * (height - 1) - row if row >= height else row
        column = 2 * (width - 1) - column if column >= width else column
        return float(channel[max(row, 0), max(column, 0)])

    edges = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            down = across = 0.0
            for i in range(3):
                for j in range(3):
                    pixel = value(y + i - 1, x + j - 1)
                    across += SMOOTH[i] * SLOPE[j] * pixel
                    down += SLOPE[i] * SMOOTH[j] * pixel
            edges[y, x] = np.hypot(across, down) / 4
    return edges
