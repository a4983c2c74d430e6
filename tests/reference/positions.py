"""The position embeddings of MoCo v3, from vits.py of facebookresearch/moco-v3, in loops."""

import numpy as np


def sincos_by_the_code(height: int, width: int, dim: int, temperature: float = 10_000.0) -> np.ndarray:
    """Shape (1 + height * width, dim): the class token's zeros, then patch after patch, row by row."""
    quarter = dim // 4
    result = np.zeros((1 + height * width, dim))
    for row in range(height):
        for column in range(width):
            for k in range(quarter):
                omega = 1 / temperature ** (k / quarter)
                result[1 + row * width + column, [k, quarter + k, 2 * quarter + k, 3 * quarter + k]] = (
                    np.sin(row * omega),
                    np.cos(row * omega),
                    np.sin(column * omega),
                    np.cos(column * omega),
                )
    return result
