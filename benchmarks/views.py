"""Views per second on one core: ours, PIL + torchvision v1 as in SwAV's code, and torchvision v2 on tensors.

    python -m benchmarks.views [PHOTOS] [--rounds 40] [--images 4]

Without PHOTOS it takes 640 x 480 tiles, for which the targets are set; larger photographs spend more of the time in
decoding, where all are equal.

Each makes 2 x 224 + 4 x 96 px views of the same JPEG files, decoding included, one pipeline after the other in every
round; shown are medians over the rounds, ratios are medians of the rounds' ratios, all in processor time, which other
processes disturb less (they still slow everything down through shared caches, ours most). Theirs end with
ToTensor, without normalization; ours ends with uint8 arrays, as the device normalizes. "Batch" also stacks the views
of a round into one tensor per view. Both kinds of ratio must reach the targets; the exit code is 1 if one does not.
"""

import argparse
import io
import os
import random
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision import io as torchvision_io
from torchvision import transforms as v1
from torchvision.transforms import v2

from selfsup.data.decode.decoder import decode_image
from selfsup.data.views.method_views import SwAVViews

TARGETS = {"PIL + torchvision v1": 4.5, "torchvision v2 on tensors": 8.0}
USUAL_TAPS = {224: 23, 96: 9}  # SimCLR's rule, 2 * int((size // 10) / 2) + 1
FEWEST_TAPS = {224: 13, 96: 13}  # the fewest that hold three standard deviations of the widest Gaussian, as ours do
TILE_QUALITY = 89  # about the 60 kB that the photographs have which the targets were set with
CROPS = ((2, 224, (0.14, 1.0)), (4, 96, (0.05, 0.14)))

ViewsOf = Callable[[bytes], list[Any]]


class PillowBlur:
    """The blur of SwAV's code: Pillow's, at a random radius, half of the time."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The blurred image, or the image itself."""
        if random.random() > 0.5:
            return image
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


def ours() -> ViewsOf:
    """The views of this package."""
    views = SwAVViews(
        counts=[count for count, _, _ in CROPS],
        sizes=[size for _, size, _ in CROPS],
        scales=[scale for _, _, scale in CROPS],
    )
    rng = np.random.default_rng(0)
    return lambda encoded: views(decode_image(encoded), rng)


def torchvision_v1() -> ViewsOf:
    """SwAV's multi-crop in Pillow and torchvision v1."""
    color = [v1.RandomApply([v1.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8), v1.RandomGrayscale(0.2), PillowBlur()]
    pipelines = [
        v1.Compose([v1.RandomResizedCrop(size, scale=scale), v1.RandomHorizontalFlip(), *color, v1.ToTensor()])
        for count, size, scale in CROPS
        for _ in range(count)
    ]

    def views(encoded: bytes) -> list[torch.Tensor]:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
        return [pipeline(image) for pipeline in pipelines]

    return views


def torchvision_v2(taps: dict[int, int]) -> ViewsOf:
    """The same in torchvision v2 on uint8 tensors.

    Args:
        taps: length of the blur's kernel by size of the view; v2 takes one length whatever the drawn width.
    """
    pipelines = [
        v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=scale, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
                v2.RandomGrayscale(0.2),
                v2.RandomApply([v2.GaussianBlur(taps[size], (0.1, 2.0))], p=0.5),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )
        for count, size, scale in CROPS
        for _ in range(count)
    ]

    def views(encoded: bytes) -> list[torch.Tensor]:
        image = torchvision_io.decode_jpeg(
            torch.frombuffer(bytearray(encoded), dtype=torch.uint8), torchvision_io.ImageReadMode.RGB
        )
        return [pipeline(image) for pipeline in pipelines]

    return views


def stack(samples: list[list[Any]]) -> list[torch.Tensor]:
    """One batch per view: uint8 channels_last from arrays, float from tensors."""
    batches = []
    for views in zip(*samples, strict=True):
        if isinstance(views[0], np.ndarray):
            batches.append(torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2))
        else:
            batches.append(torch.stack(views))
    return batches


def measure(pipelines: dict[str, ViewsOf], photos: list[bytes], rounds: int, images: int) -> dict[str, np.ndarray]:
    """Seconds an image of each pipeline: (rounds, 2), for the views alone and with stacking."""
    seconds = {name: np.empty((rounds, 2)) for name in pipelines}
    for views_of in pipelines.values():
        stack([views_of(encoded) for encoded in photos[:2]])
    for number in range(rounds):
        chosen = [photos[(number * images + i) % len(photos)] for i in range(images)]
        for name, views_of in pipelines.items():
            start = time.process_time()
            samples = [views_of(encoded) for encoded in chosen]
            made = time.process_time()
            stack(samples)
            seconds[name][number] = (made - start) / images, (time.process_time() - start) / images
    return seconds


def photos_folder(given: Path | None) -> Path:
    """The folder asked for, else the shared photographs beside the repository, else the packaged ones."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "bench_photos"
    packaged = Path(str(files("selfsup.data") / "photos"))
    return given or (beside if beside.is_dir() else packaged)


def tile(encoded: bytes, height: int = 480, width: int = 640) -> bytes:
    """The middle of a photograph as a JPEG of the size the targets are set for; one of that size stays as it is."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if image.shape[:2] == (height, width) or min(top, left) < 0:
        return encoded
    quality = [cv2.IMWRITE_JPEG_QUALITY, TILE_QUALITY]
    return cv2.imencode(".jpg", image[top : top + height, left : left + width], quality)[1].tobytes()


def main() -> int:
    """Measure, print the table and evaluate it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", type=Path, help="folder of JPEG files")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--images", type=int, default=4, help="images per pipeline and round")
    arguments = parser.parse_args()

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    torch.manual_seed(0)
    random.seed(0)

    folder = photos_folder(arguments.photos)
    photos = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    if arguments.photos is None:
        photos = [tile(photo) for photo in photos]
    if not photos:
        parser.error(f"no .jpg files in {folder}")
    pipelines = {
        "ours": ours(),
        "PIL + torchvision v1": torchvision_v1(),
        "torchvision v2 on tensors": torchvision_v2(USUAL_TAPS),
        "the same, shorter blur": torchvision_v2(FEWEST_TAPS),
    }
    seconds = measure(pipelines, photos, arguments.rounds, arguments.images)

    print(f"2 x 224 + 4 x 96 px views, one core, {len(photos)} photographs in {folder.name}")
    print(f"{'':28}{'views img/s':>12}{'ours is':>10}{'batch img/s':>14}{'ours is':>10}")
    reached = True
    for name, theirs in seconds.items():
        alone, batch = 1 / np.median(theirs, axis=0)
        ratios = np.median(theirs / seconds["ours"], axis=0)
        print(f"{name:28}{alone:12.0f}{ratios[0]:9.2f}x{batch:14.0f}{ratios[1]:9.2f}x")
        reached &= bool(ratios.min() >= TARGETS.get(name, 0))
    targets = ", ".join(f"{target}x {name}" for name, target in TARGETS.items())
    print(f"targets: {targets}: {'met' if reached else 'NOT MET'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
