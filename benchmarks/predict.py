"""``selfsup predict`` on 1,000 pictures beside the extraction of their features: at least 0.8 of its speed.

    python -m benchmarks.predict                              # ResNet-50 at 224 pixels
    python -m benchmarks.predict --network scenes --count 1000 --rounds 5

Writes pictures of several emoji, 320 pixels each, as JPEG files, and a classifier with random weights, whose network
decides about the time. Each round opens the weights and extracts features as ``selfsup embed`` does, and then predicts
by the whole command, with its table as a file; both in this process. 0 when the ratio of the medians is met.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn

from selfsup.cli import main as selfsup
from selfsup.data import CrowdedScenes, ImageList, InputContract
from selfsup.evaluation.opening import open_representation
from selfsup.registry import BACKBONES
from selfsup.transfer.classifier import MODEL, save_classifier
from selfsup.weights.card import weights_card

TARGET, CLASSES = 0.8, 100
NETWORKS: dict[str, tuple[dict[str, Any], InputContract]] = {
    "resnet50": ({"type": "ResNet", "depth": 50}, InputContract()),
    "scenes": (
        {"type": "RegNet", "depths": (1, 1, 2, 1), "widths": (32, 64, 128, 256), "group_width": 16},
        InputContract(size=32, resize="square", crop="none"),
    ),
}


def write_pictures(folder: Path, count: int) -> None:
    """JPEG files of photographs with emoji on them."""
    folder.mkdir(parents=True)
    pictures = CrowdedScenes("train", 320, num_images=count)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:04d}.jpg"), cv2.cvtColor(pictures.image(index), cv2.COLOR_RGB2BGR))


def write_classifier(folder: Path, network: str) -> None:
    """A classifier with random weights, as a transfer leaves it."""
    folder.mkdir(parents=True)
    architecture, contract = NETWORKS[network]
    torch.manual_seed(0)
    backbone = BACKBONES.build(dict(architecture)).eval()
    head = nn.Sequential(nn.Linear(backbone.out_dim, CLASSES))
    about: dict[str, Any] = {"recipe": {"config": "benchmark", "method": "none"}, "step": 0, "license": "yours"}
    card = weights_card(architecture, backbone, input_contract=contract, **about)
    names = [f"class {number}" for number in range(CLASSES)]
    save_classifier(backbone, head, folder / MODEL, card | {"classes": names, "neck": None, "layer": "pooled"})


def seconds(work: Callable[[], object]) -> float:
    """What it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="resnet50", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=1000, help="pictures (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of both, in turn (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="predict_") as folder:
        pictures, model, table = Path(folder, "pictures"), Path(folder, "model"), Path(folder, "labels.csv")
        write_pictures(pictures, options.count)
        write_classifier(model, options.network)

        def extract() -> None:
            open_representation(model / MODEL).features(ImageList(pictures))

        def predict() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                selfsup(["predict", str(model), str(pictures), "--top", "5", "--out", str(table)])

        times: dict[str, list[float]] = {"extract": [], "predict": []}
        for _ in range(options.rounds):
            for name, work in (("extract", extract), ("predict", predict)):
                times[name].append(seconds(work))
                print(f"{name}: {times[name][-1]:.2f} s", file=sys.stderr)
        assert len(table.read_text().splitlines()) == options.count + 1
    speed = {name: options.count / statistics.median(found) for name, found in times.items()}
    ratio = speed["predict"] / speed["extract"]
    print(
        f"{options.network}, {options.count} pictures: features {speed['extract']:.1f} images/s, "
        f"predict {speed['predict']:.1f}: {ratio:.2f} of it (target {TARGET:g})"
    )
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
