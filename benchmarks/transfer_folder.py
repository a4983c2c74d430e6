"""``selfsup transfer`` on 200 labeled images: its default choice, fine-tuning for five minutes, and a linear probe.

    python -m benchmarks.transfer_folder [--pretrained work_dirs/bench_transfer/simclr]

Draws 200 pictures of nine categories of emoji as PNG files of 32 pixels, and those of other emoji to test with. The
weights are of ``simclr_scenes``, which has seen neither; they are trained if they are not there. Then runs the commands
as a user does, one after the other, and prints how long each took and what it got on the same test images.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from benchmarks.transfer_scenes import pretrained
from selfsup.data import Scenes
from selfsup.evaluation import read_rows

IMAGES = 200


def render(folder: Path, part: Literal["val", "test"], count: int | None) -> Path:
    """Write a folder for each category; ``count`` pictures of all, drawn by seed, or every one."""
    scenes = Scenes(part, 32, variants=1, background="flat", scale=(0.6, 1.0))
    for index in np.random.default_rng(0).permutation(len(scenes))[:count]:
        place = folder / scenes.classes[scenes.labels[index]].replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{index:05d}.png"), cv2.cvtColor(scenes.image(int(index)), cv2.COLOR_RGB2BGR))
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", type=Path, default=Path("work_dirs/bench_transfer/simclr"))
    weights = parser.parse_args(arguments).pretrained
    pretrained("simclr/simclr_scenes", weights)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        train, test = render(root / "train", "val", IMAGES), render(root / "test", "test", None)
        images = ["--data", str(train), "--test", str(test)]
        lines = []
        for what, command in {
            "by default": ["transfer", str(weights), *images],
            "--rule fine-tune --budget 5m": [
                "transfer",
                str(weights),
                *images,
                "--rule",
                "fine-tune",
                "--budget",
                "5m",
            ],
            "linear probe, solved": ["evaluate", str(weights), *images, "--protocols", "linear", "--no-baselines"],
        }.items():
            out, began = root / what.replace(" ", "_"), time.monotonic()
            subprocess.run([sys.executable, "-m", "selfsup", *command, "--work-dir", str(out)], check=True)
            lines.append(f"{what}: {time.monotonic() - began:.0f} s")
            lines[-1] += "".join(f"; top1 {row.scores['top1']}" for row in read_rows(out / "results.jsonl"))
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
