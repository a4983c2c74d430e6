"""A data report of many small files with planted copies: what is found, what is found wrongly, minutes and memory.

    python -m benchmarks.data_report [--images 20000] [--workers 2] [--signatures 1000000]

Drawn scenes of 96 pixels are written as JPEG. 2 % are byte for byte copies of others, 2 % near copies (scaled by 0.5 to
2, then JPEG of quality 80 as in ``benchmarks.leaks``), 0.5 % cannot be read (cut short, text, empty), 0.5 % are tiny.
The exit code is 1 if fewer than 95 % of the near copies or not all of the others are found, or if more than one image
in 1,000 is a false alarm. ``--signatures`` looks for pairs among so many random thumbnails instead: what the search
alone takes for as many images.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from benchmarks.leaks import ALARMS, RECALL, copy_of
from selfsup.data import ImageList, Scenes
from selfsup.data.image_scan import ROW, kept_thumbnails
from selfsup.data.near_duplicates import near_pairs
from selfsup.data.report import report_on, write_findings

SHARES = {"exact": 0.02, "near": 0.02, "unreadable": 0.005, "tiny": 0.005}
SIDE = 96


def jpeg(image: np.ndarray) -> bytes:
    """Compressed with quality 90."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def render(folder: Path, numbers: Sequence[int]) -> None:
    """Write scenes, each with a number of its own."""
    scenes = Scenes(split="all", size=SIDE, background="photo", variants=1000)
    for number in numbers:
        (folder / f"{number % 1000:03d}" / f"{number:07d}.jpg").write_bytes(jpeg(scenes.image(number)))


def plant(folder: Path, count: int) -> dict[str, set[str]]:
    """Overwrite some of the images by copies of others and by what cannot be read; the names by kind."""
    rng = np.random.default_rng(0)
    sizes = {kind: max(3, round(share * count)) for kind, share in SHARES.items()}
    order = rng.permutation(count)
    files = [folder / f"{number % 1000:03d}" / f"{number:07d}.jpg" for number in order.tolist()]
    planted, at = dict[str, set[str]](), 0
    originals = files[sum(sizes.values()) :]
    for kind, size in sizes.items():
        planted[kind] = set()
        for number, file in enumerate(files[at : at + size]):
            content = originals[number + at].read_bytes()
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert image is not None
            if kind == "near":
                content = jpeg(copy_of(image, 2 ** rng.uniform(-1, 1)))
            elif kind == "tiny":
                content = jpeg(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
            elif kind == "unreadable":
                content = (content[: len(content) // 2], b"no image at all", b"")[number % 3]
            file.write_bytes(content)
            pair = [file.name, originals[number + at].name] if kind in ("exact", "near") else [file.name]
            planted[kind].add(" ".join(sorted(pair)))
        at += size
    return planted


def searched(count: int) -> None:
    """Pairs among random pictures in a file."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows")
        with file.open("wb") as kept:
            for _ in range(0, count, 10_000):
                coarse = rng.normal(128, 40, (10_000, 4, 4, 3)).clip(0, 255)
                rows = np.zeros(10_000, ROW)
                fine = np.stack([cv2.resize(each, (16, 16), interpolation=cv2.INTER_CUBIC) for each in coarse])
                rows["thumbnail"] = fine.clip(0, 255).reshape(10_000, -1)
                kept.write(rows.tobytes())
        del rows, coarse, fine
        began, computed, before = time.perf_counter(), time.process_time(), peak()
        found = near_pairs(lambda chosen: kept_thumbnails(file, chosen), np.arange(count), np.full(count, 500))
        seconds, computed = time.perf_counter() - began, time.process_time() - computed
        print(
            f"{count:,} thumbnails: {len(found[0]):,} pairs in {seconds:.0f} s, {computed:.0f} s of it computing; "
            f"{peak() - before:,.0f} MB beyond before"
        )


def peak() -> float:
    """Most resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> int:
    """Write, plant, report, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--signatures", type=int)
    chosen = parser.parse_args()
    if chosen.signatures:
        searched(chosen.signatures)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "images")
        for number in range(min(1000, chosen.images)):
            (root / f"{number:03d}").mkdir(parents=True)
        began = time.perf_counter()
        with ProcessPoolExecutor(chosen.workers) as pool:
            list(pool.map(render, [root] * 100, [range(part, chosen.images, 100) for part in range(100)]))
        planted = plant(root, chosen.images)
        print(f"{chosen.images:,} images written in {time.perf_counter() - began:.0f} s", flush=True)
        source, before = ImageList(root), peak()
        began = time.perf_counter()
        report = report_on(source, Path(folder, "seen"), workers=chosen.workers)
        write_findings(report, Path(folder, "findings.csv"))
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        report_on(source, Path(folder, "seen"), workers=chosen.workers)
        again = time.perf_counter() - began
        found: dict[str, set[str]] = {kind: set() for kind in SHARES}
        for row in report.findings():
            names = sorted(Path(name).name for name in (row.image, row.other) if name)
            found[row.kind].add(" ".join(names))
    recall = {kind: len(planted[kind] & found[kind]) / len(planted[kind]) for kind in SHARES}
    alarms = {kind: len(found[kind] - planted[kind]) for kind in SHARES}
    for kind in SHARES:
        print(f"{kind}: {len(planted[kind]):,} planted, recall {recall[kind]:.4f}, {alarms[kind]} false alarms")
    print(f"{seconds / 60:.2f} minutes, {again:.1f} s again; peak {peak():,.0f} MB, {before:,.0f} MB of it before")
    whole = all(recall[kind] == 1 for kind in ("exact", "unreadable", "tiny"))
    return int(not whole or recall["near"] < RECALL or sum(alarms.values()) > ALARMS * chosen.images)


if __name__ == "__main__":
    sys.exit(main())
