"""Pairs of images that show the same among very many, without comparing each with all others.

An image is described by two times 64 bits: on which side of as many random planes its coarse picture lies. Copies that
were scaled or compressed again differ in a few of them, other images in half. The bits are sorted in 24 random orders,
and each image is compared with its next neighbors in each: time grows as N log N, where all pairs of a million images
would take hours. The planes of the first 64 bits part the images in halves, which tells images apart that are all
alike, such as X-rays; those of the others go through the origin, so that a set made of copies of one picture is seen to
be one. Candidates are then compared by their thumbnails, see :func:`~selfsup.data.duplicates.near_equal`.
"""

from collections.abc import Callable

import numpy as np

from selfsup.data.duplicates import SIDE, near_equal

BITS = 64  # of each of the two codes
ORDERS = 24
NEIGHBORS = 8
MOST_BITS = 14  # that differ between copies; other images differ in 32 +- 6
_COARSE = 8
_LUMA = 6  # cosines of the brightness whose two frequencies sum up to less, without the constant one: 20
_COLOR = 2  # and of two color differences: 3 each
_SAMPLE = 16_384  # images that scales and medians are taken from
_BLOCK = 8192


def near_pairs(
    thumbnails: Callable[[np.ndarray], np.ndarray], chosen: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images with near-equal thumbnails, enough of them to connect all that belong together.

    Args:
        thumbnails: of images at these positions, uint8, shape (n, 768), see ``duplicates.Signatures``.
        chosen: positions of the images that are compared, int64, shape (N,), without images of a single color.
        sides: the shorter side of each of these, in pixels, shape (N,).

    Returns:
        The positions of the first and of the second of each pair, int64, shape (P,).

    Source: Charikar 2002, "Similarity estimation techniques from rounding algorithms", sections 3 and 4 (signs of
    random projections, and sorted lists of permuted bits); 24 lists and 8 neighbors are ours, see
    ``benchmarks/data_report.py`` for what they find.
    """
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    if len(chosen) < 2:
        return firsts[0], seconds[0]
    codes = _codes(thumbnails, chosen)
    groups = np.arange(len(chosen))
    rng = np.random.default_rng(1)
    for number in range(ORDERS):
        code = codes[:, number % 2]
        order = np.argsort(_reordered(code, rng.permutation(BITS)), kind="stable")
        found = [np.zeros((2, 0), np.int64)]
        for step in range(1, min(NEIGHBORS, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            differing = np.bitwise_count(code[one] ^ code[other])
            likely = np.flatnonzero((differing <= MOST_BITS) & (groups[one] != groups[other]))
            for start in range(0, len(likely), _BLOCK):
                part = likely[start : start + _BLOCK]
                pairs = np.sort(np.stack([one[part], other[part]]), axis=0)
                smaller = np.minimum(sides[pairs[0]], sides[pairs[1]])
                alike = near_equal(thumbnails(chosen[pairs[0]]), thumbnails(chosen[pairs[1]]), smaller)[1]
                found.append(pairs[:, alike])
        pairs = np.concatenate(found, axis=1)
        groups = joined(groups, pairs[0], pairs[1])
        firsts.append(chosen[pairs[0]])
        seconds.append(chosen[pairs[1]])
    return np.concatenate(firsts), np.concatenate(seconds)


def joined(groups: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The groups of images after pairs of them are put together; each is called by its smallest member.

    Args:
        groups: of each image, int64, shape (N,): ``groups[i]`` is the smallest of its group.
        one: first members of the pairs, shape (P,).
        other: second members.
    """
    groups = groups.copy()
    while True:
        low, high = np.sort(np.stack([groups[one], groups[other]]), axis=0)
        if (apart := low < high).any():
            np.minimum.at(groups, high[apart], low[apart])
            while not np.array_equal(groups, nearer := groups[groups]):
                groups = nearer
        else:
            return groups


def _codes(thumbnails: Callable[[np.ndarray], np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """The two codes of each image, uint64, shape (N, 2)."""
    sample = np.unique(np.linspace(0, len(chosen) - 1, min(_SAMPLE, len(chosen))).astype(np.int64))
    seen = _directions(thumbnails(chosen[sample]))
    planes = np.random.default_rng(0).standard_normal((seen.shape[1], 2 * BITS), np.float32)
    planes /= np.maximum(seen.std(axis=0), 1e-6)[:, None]  # all cosines count alike: the lowest would decide alone
    offsets = np.median(seen @ planes, axis=0)
    offsets[BITS:] = 0
    codes = np.empty((len(chosen), 2), np.uint64)
    for start in range(0, len(chosen), _BLOCK):
        part = slice(start, start + _BLOCK)
        codes[part] = np.packbits(_directions(thumbnails(chosen[part])) @ planes > offsets, axis=1).view(np.uint64)
    return codes


def _directions(thumbnails: np.ndarray) -> np.ndarray:
    """Low cosines of brightness and color, of length 1, float32, shape (n, 26)."""
    half = SIDE // _COARSE
    fields = thumbnails.reshape(-1, _COARSE, half, _COARSE, half, 3).mean((2, 4), dtype=np.float32)
    red, green, blue = np.moveaxis(fields, -1, 0)
    angles = np.arange(_LUMA)[:, None] * (2 * np.arange(_COARSE) + 1) * np.pi / (2 * _COARSE)
    cosines = np.cos(angles).astype(np.float32)  # DCT-II
    parts = []
    for channel, highest in ((red + green + blue, _LUMA), (red - green, _COLOR), (red + green - 2 * blue, _COLOR)):
        spectrum = np.einsum("uy,nyx,vx->nuv", cosines, channel, cosines, optimize=True)
        taken = np.add.outer(np.arange(_LUMA), np.arange(_LUMA)) < highest
        taken[0, 0] = highest == _COLOR  # a picture that is brighter as a whole is the same picture
        parts.append(spectrum[:, taken])
    directions = np.concatenate(parts, axis=1)
    return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)


def _reordered(code: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Each code with its bits in another order, to sort by, uint64, shape (N,)."""
    keys = np.empty(len(code), np.uint64)
    for start in range(0, len(code), _BLOCK):
        part = np.unpackbits(code[start : start + _BLOCK, None].copy().view(np.uint8), axis=1)
        keys[start : start + _BLOCK] = np.ascontiguousarray(np.packbits(part[:, bits], axis=1)).view(np.uint64)[:, 0]
    return keys
