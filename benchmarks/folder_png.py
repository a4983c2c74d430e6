"""``selfsup train --data FOLDER --budget 5m`` on small PNG files: ahead of raw pixels and of the untrained network?

    python -m benchmarks.folder_png

Draws every embedded emoji of both artists three times, in a random pose on a random flat color, as PNG files of 32
pixels in folders of the nine categories; names say which emoji it is, and ``--groups`` keeps the renderings of an emoji
on one side of the split. Trains with the command alone, once a seed, and evaluates the run's own test images.
Differences are paired by image; intervals are 95 %, by bootstrap over emoji, of the mean over seeds.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from selfsup.config import load_config
from selfsup.data import Scenes
from selfsup.data.sources.pictures import emoji_table
from selfsup.engine.splits import run_split
from selfsup.evaluation import KNN, LinearProbe, RawPixels, Representation
from selfsup.evaluation.build import build_tasks, run_contract
from selfsup.registry import DATASETS, METHODS, TRANSFORMS
from selfsup.weights import trained_backbone

GROUPS = r"emoji\d+"
PROBES = {"knn": KNN(), "linear": LinearProbe()}
RENDERINGS = 3


def render(folder: Path) -> Path:
    """Write the files, unless they are there."""
    if (folder / "complete").is_file():
        return folder
    scenes = Scenes("all", size=32, background="flat", scale=(0.6, 1.0), variants=RENDERINGS)
    categories = [name.replace("/", "-").replace(" ", "_") for name in emoji_table().names["category"]]
    for index in range(len(scenes)):
        place = folder / categories[int(scenes.labels[index])]
        place.mkdir(parents=True, exist_ok=True)
        domain = scenes.domains[int(scenes.domain_index[index])]
        name = f"emoji{int(scenes.emoji[index]):04d}_{domain}_{index % RENDERINGS}.png"
        cv2.imwrite(str(place / name), cv2.cvtColor(scenes.image(index), cv2.COLOR_RGB2BGR))
    (folder / "complete").touch()
    return folder


def train(images: Path, work_dir: Path, *, seed: int, budget: str, options: list[str]) -> float:
    """Run the command; seconds that it took."""
    command = [sys.executable, "-m", "selfsup", "train", "--data", str(images), "--groups", GROUPS, "--budget", budget]
    command += ["--device", "cpu", "--seed", str(seed), "--work-dir", str(work_dir)]
    started = time.monotonic()
    subprocess.run([*command, *(["--cfg-options", *options] if options else [])], check=True)
    return time.monotonic() - started


def correct(work_dir: Path, *, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Of each test image whether it was recognized, by ``probe/features``; and the emoji that it shows."""
    recipe = load_config(work_dir / "config.py")
    images = DATASETS.build(recipe.train_dataloader.dataset)
    task = build_tasks({}, images, run_split(images, recipe, work_dir))["own"]
    torch.manual_seed(seed)
    method = METHODS.build(recipe.model)
    contract = run_contract(recipe.input_contract, method, TRANSFORMS.build(recipe.train_dataloader.views))
    backbones = {"trained": trained_backbone(work_dir), "raw pixels": RawPixels(), "untrained": method.backbone.eval()}
    found, emoji = {}, np.empty(0, np.int64)
    for name, backbone in backbones.items():
        representation = Representation(backbone, contract, name=name)
        for probe, evaluator in PROBES.items():
            predictions = evaluator.evaluate(representation, task).predictions
            assert predictions is not None and predictions.groups is not None
            found[f"{probe}/{name}"] = (predictions.predicted == predictions.labels).astype(float)
            emoji = predictions.groups
    return found, emoji


def interval(differences: np.ndarray, groups: np.ndarray, *, draws: int = 2000) -> tuple[float, float]:
    """95 % of the mean of differences, by bootstrap over groups."""
    _, number = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(number, differences), np.bincount(number)
    drawn = np.random.default_rng(0).integers(0, len(counts), (draws, len(counts)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def main() -> int:
    """Print the table; 0 when every interval lies above zero."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="5m", help="of each run (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/folder_png"))
    parser.add_argument("--cfg-options", nargs="+", default=[], help="handed to the command, to try other settings")
    options = parser.parse_args()
    images = render(options.work_dir / "images")
    found, emoji = [], np.empty(0, np.int64)
    for seed in options.seeds:
        work_dir = options.work_dir / f"seed_{seed}"
        took = train(images, work_dir, seed=seed, budget=options.budget, options=options.cfg_options)
        print(f"seed {seed}: {took:.0f} s of {options.budget}")
        scores, emoji = correct(work_dir, seed=seed)
        found.append(scores)
    ahead = True
    for probe in PROBES:
        mean = {name: np.mean([scores[f"{probe}/{name}"] for scores in found], axis=0) for name in NAMES}
        print(f"{probe:7}" + "  ".join(f"{name} {100 * values.mean():.1f}" for name, values in mean.items()))
        for floor in NAMES[1:]:
            low, high = interval(mean["trained"] - mean[floor], emoji)
            difference = float((mean["trained"] - mean[floor]).mean())
            ahead = ahead and low > 0
            print(f"        over {floor}: {100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})")
    return 0 if ahead else 1


NAMES = ("trained", "raw pixels", "untrained")

if __name__ == "__main__":
    sys.exit(main())
