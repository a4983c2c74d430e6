"""Images a second from single files and from shards, and how long shards take to be indexed and opened again.

Run: python -m benchmarks.shards [--images 2000] [--workers 1 2]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from selfsup.data import ImageList, StepSampler, ViewDataset, WebShards, build_loader
from selfsup.data.shards.write import write_shards
from selfsup.data.sources.pictures import photograph_names


def images_per_second(source: Any, workers: int) -> float:
    """Of one pass, decoding alone counted in: one small view of each image."""
    views = {"type": "SimCLRViews", "size": 32}
    steps = len(source) // 50
    loader = iter(
        build_loader(ViewDataset(source, views), StepSampler(len(source), 50, total_steps=steps), num_workers=workers)
    )
    next(loader)
    start = time.perf_counter()
    count = sum(len(batch["index"]) for batch in loader)
    return count / (time.perf_counter() - start)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    photos = Path(__file__).resolve().parents[1] / "selfsup" / "data" / "photos"
    contents = [(photos / name).read_bytes() for name in photograph_names()]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "images")
        root.mkdir()
        for number in range(chosen.images):
            (root / f"{number:06d}.jpg").write_bytes(contents[number % len(contents)])
        images = ImageList(root, min_side=64)
        write_shards(images, Path(folder, "shards"), images_per_shard=250)
        start = time.perf_counter()
        WebShards(Path(folder, "shards"), "path", index=Path(folder, "index"))
        print(f"indexed with a label of each: {time.perf_counter() - start:.3f} s")
        start = time.perf_counter()
        shards = WebShards(Path(folder, "shards"), min_side=64)
        print(f"opened with the writer's index: {time.perf_counter() - start:.3f} s")
        for workers in chosen.workers:
            rates = {"files": images_per_second(images, workers), "shards": images_per_second(shards, workers)}
            print(f"{workers} workers: " + ", ".join(f"{kind} {rate:,.0f} images/s" for kind, rate in rates.items()))


if __name__ == "__main__":
    main()
