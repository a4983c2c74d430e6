"""How many planted copies of photographs are found, and how many false alarms there are.

    python -m benchmarks.leaks FOLDER [--planted 400]

Every photograph is cut into six pieces without a common pixel. Half of the photographs are the training images, the
other half the test images, among which copies of training pieces are planted, scaled by 0.5 to 2 and compressed again
as JPEG of quality 80. Where all six pieces of a test photograph are found in their places in one training photograph,
the folder holds the photograph twice, and they are no false alarms. The exit code is 1 if less than 95 % are found or
if there is more than one false alarm in 1,000 test images.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from selfsup.data import ImageList
from selfsup.data.duplicates import Signatures, find_copies, signatures

RECALL, ALARMS = 0.95, 0.001


class Pieces:
    """Images in memory."""

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        """The piece."""
        return self.images[index]

    def name(self, index: int) -> str:
        """Its number."""
        return str(index)


def pieces(photo: np.ndarray) -> list[np.ndarray]:
    """Two rows of three."""
    height, width = photo.shape[0] // 2, photo.shape[1] // 3
    corners = [(y * height, x * width) for y in range(2) for x in range(3)]
    return [np.ascontiguousarray(photo[y : y + height, x : x + width]) for y, x in corners]


def copy_of(image: np.ndarray, scale: float) -> np.ndarray:
    """Scaled and compressed again."""
    height, width = (max(8, round(side * scale)) for side in image.shape[:2])
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    file = cv2.imencode(".jpg", scaled[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    decoded = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    return decoded


def photographs_there_twice(queries: np.ndarray, keys: np.ndarray) -> int:
    """Of how many test photographs all six pieces are the same pieces of one training photograph."""
    photographs = np.stack([queries // 6, keys // 6])[:, queries % 6 == keys % 6]
    counts = np.unique(photographs, axis=1, return_counts=True)[1]
    return int((counts == 6).sum())


def main() -> int:
    """Plant, look, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planted", type=int, default=400)
    options = parser.parse_args()
    photos = ImageList(options.folder)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(photos))
    train, test = (
        [piece for index in half for piece in pieces(photos.image(int(index)))] for half in (order[::2], order[1::2])
    )
    chosen = rng.choice(len(train), min(options.planted, len(train)), replace=False)
    planted = [copy_of(train[index], 2 ** rng.uniform(-1, 1)) for index in chosen]
    started = time.perf_counter()
    known = signatures(Pieces(train))
    looked = signatures(Pieces([*test, *planted]))
    found = find_copies(looked, known)
    seconds = time.perf_counter() - started
    recall = (found.queries >= len(test)).sum() / len(planted)
    among_tests = found.queries < len(test)
    twice = photographs_there_twice(found.queries[among_tests], found.keys[among_tests])
    alarms = among_tests.sum() - 6 * twice
    print(f"{len(train)} training and {len(test)} test pieces, {len(planted)} planted; {twice} photographs there twice")
    print(f"recall {recall:.3f}, false alarms {alarms} ({1000 * alarms / len(test):.2f} in 1,000), {seconds:.1f} s")
    noise = rng.integers(0, 255, (100_000, 768), dtype=np.uint8)
    large = Signatures(np.arange(100_000, dtype=np.uint64), noise, np.full(100_000, 300, np.uint32))
    started = time.perf_counter()
    find_copies(large, large)
    print(f"100,000 images against 100,000: {time.perf_counter() - started:.1f} s besides reading them")
    return int(recall < RECALL or alarms > ALARMS * len(test))


if __name__ == "__main__":
    sys.exit(main())
