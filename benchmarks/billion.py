"""A billion images in 100,000 shards: how long a run takes to resume at step 1,000,000, and its memory.

    python -m benchmarks.billion [--shards 100000] [--images-per-shard 10000] [--folder DIR]

One small shard and its index are linked under 100,000 names (some 65,000 names a file, so there are several of each):
what is opened is what a set of that size would be, file by file, but for the disk. The index of all is made before.
Then a process of its own opens the source, goes to step 1,000,000 with 512 processes' share, and decodes one batch. The
exit code is 1 if that takes 5 seconds or more, or 1 GiB beyond what the imports alone take.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from selfsup.data import ImageList, StepSampler, WebShards
from selfsup.data.shards.write import write_shards

MOST_LINKS = 20_000
BATCH, PROCESSES, STEP = 16, 512, 1_000_000


def make(folder: Path, shards: int, images_per_shard: int) -> None:
    """Write the shards as links to a few."""
    images = folder / "images"
    images.mkdir()
    pixel = np.zeros((8, 8, 3), np.uint8)
    content = b"P6 8 8 255\n" + pixel.tobytes()
    for number in range(images_per_shard):
        (images / f"{number:06d}.ppm").write_bytes(content)
    for number in range(-(-shards // MOST_LINKS)):
        write_shards(ImageList(images), folder / f"copy{number}", images_per_shard=images_per_shard)
    (folder / "shards" / ".selfsup-index").mkdir(parents=True)
    for number in range(shards):
        copy, name = folder / f"copy{number // MOST_LINKS}", f"{number:06d}"
        os.link(copy / "00000.tar", folder / "shards" / f"{name}.tar")
        os.link(copy / "00000_stats.json", folder / "shards" / f"{name}_stats.json")
        index = folder / "shards" / ".selfsup-index" / f"{name}.tar.none.index"
        os.link(copy / ".selfsup-index" / "00000.tar.none.index", index)


def continue_there(folder: Path) -> None:
    """Open the source and read one batch of step 1,000,000; prints seconds, MB, and MB of the imports."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    began, computed = time.perf_counter(), time.process_time()
    source = WebShards(folder / "shards")
    opened = time.perf_counter() - began
    sampler = StepSampler(
        len(source),
        BATCH,
        world_size=PROCESSES,
        rank=PROCESSES - 1,
        total_steps=2 * STEP,
        start_step=STEP,
        shard_starts=source.shard_starts,
        shards_at_once=64,
    )
    batch = next(iter(sampler))
    assert len({source.image(index).shape for _, index in batch}) == 1
    seconds = time.perf_counter() - began
    computed = time.process_time() - computed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    told = {"images": len(source), "opened": opened, "seconds": seconds, "computed": computed}
    print(json.dumps({**told, "peak": peak, "imports": before}))


def main() -> int:
    """Make, index, measure in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--images-per-shard", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to, on a disk with hard links (default: a temporary one)")
    parser.add_argument("--resume-in", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.resume_in:
        continue_there(chosen.resume_in)
        return 0
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        make(folder, chosen.shards, chosen.images_per_shard)
        began = time.perf_counter()
        WebShards(folder / "shards")
        print(f"{chosen.shards:,} indices put together in {time.perf_counter() - began:.0f} s, once", flush=True)
        command = [sys.executable, "-m", "benchmarks.billion", "--resume-in", name]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(
        f"{told['images']:,} images: opened in {told['opened']:.2f} s, first batch of step {STEP:,} after "
        f"{told['seconds']:.2f} s, {told['computed']:.2f} s of it computing; "
        f"peak {told['peak']:,.0f} MB, {told['imports']:,.0f} MB of it imports"
    )
    return int(told["seconds"] >= 5 or told["peak"] - told["imports"] >= 1074)


if __name__ == "__main__":
    sys.exit(main())
