"""Do unseen emoji get found, and does a pretrained backbone find more of them than one that starts from scratch?

    python -m benchmarks.detection_scenes [--steps 700] [--weights FILE] [--pretraining 3000] [--work-dir DIR]

Trains transfer/detection_scenes twice for equal steps, once from the weights and once from scratch, and evaluates both
on the same pictures of several emoji that no training has seen. Without ``--weights`` simclr/simclr_scenes is trained
first. The detectors know one class: a linear probe on the weights' features of crops names the category of what is in
their boxes, and its AP stands beside the AP that it reaches on the true boxes, the classifier's ceiling. Runs that are
in the work dir resume, and their time does not count. The exit code is 1 if from the weights box AP50 stays
below 0.8 or mask AP50 below 0.7, or if a training takes longer than fifteen minutes.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from selfsup.config import load_config
from selfsup.data import CrowdedScenes, ObjectCrops
from selfsup.engine import Runner
from selfsup.evaluation import LinearProbe
from selfsup.evaluation.detection import (
    average_precision,
    classified,
    compared,
    ground_truth,
    results_of,
    true_objects,
)
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.extraction.inference import frozen
from selfsup.evaluation.opening import open_representation
from selfsup.plots import draw_detections
from selfsup.transfer import Detection, Detector

BOX, MASK, SECONDS = 0.8, 0.7, 900
CONFIG = "transfer/detection_scenes"
DRAWN = 16
CROPPED = 400  # pictures that the classifier of crops learns from, and as many that its penalty is chosen on


def pretrained(work_dir: Path, steps: int) -> Path:
    """The backbone of simclr_scenes."""
    if not (work_dir / "backbone.safetensors").is_file():
        options = {"work_dir": str(work_dir), "train_cfg.max_steps": steps}
        options |= {"default_hooks.evaluate": None}
        Runner(load_config("simclr/simclr_scenes", options), resume=True).train()
    return work_dir


def found_by(detector: Detector, images: CrowdedScenes) -> list[dict[str, Any]]:
    """What a detector finds in the pictures."""
    with frozen(detector):
        return [
            one for index in range(len(images)) for one in results_of(index, detector.detect([images.image(index)])[0])
        ]


class Categories:
    """A linear probe that names the category of an emoji in a box, learned from true boxes of the training pictures.

    Args:
        weights: of the backbone.
        images: the test pictures, of any level.
    """

    def __init__(self, weights: Path, images: CrowdedScenes) -> None:
        known: dict[str, Any] = {"size": images.size, "level": "category"}
        self.images = CrowdedScenes("test", num_images=len(images), seed=images.seed, **known)
        self.truth = ground_truth(self.images, range(len(self.images)))
        self.representation = open_representation(weights, resize="square", crop="none")
        parts = (CrowdedScenes(split, num_images=CROPPED, **known) for split in ("train", "val"))
        self.predictor = LinearProbe().fit(*(self._crops(part) for part in parts))

    def scores(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """AP of boxes with the categories that the probe gives them."""
        crops = self.representation.features(ObjectCrops(self.images, boxes_of(found)))
        return average_precision(self.truth, classified(found, self.predictor(crops.features).numpy()))[0]

    def ceiling(self) -> dict[str, Any]:
        """The same of the true boxes."""
        return self.scores(true_objects(self.truth))

    def _crops(self, images: CrowdedScenes) -> Features:
        objects = true_objects(ground_truth(images, range(len(images))))
        labels = [one["category_id"] - 1 for one in objects]
        return self.representation.features(ObjectCrops(images, boxes_of(objects), labels))


def boxes_of(found: list[dict[str, Any]]) -> list[tuple[int, list[float]]]:
    """Images and boxes of detections."""
    return [(one["image_id"] - 1, one["bbox"]) for one in found]


def main() -> int:
    """Train both, print a table and the difference, and draw what the pretrained one finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700, help="of each detector")
    parser.add_argument("--weights", type=Path, help="a file with its card, or a work dir")
    parser.add_argument(
        "--pretraining", type=int, default=3000, help="steps of simclr_scenes where there are no weights"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/bench_detection_scenes"))
    arguments = parser.parse_args()
    weights = arguments.weights or pretrained(arguments.work_dir / "simclr_scenes", arguments.pretraining)
    options = {"train_cfg.max_steps": arguments.steps, "default_hooks.evaluate": None}
    images = CrowdedScenes(**{k: v for k, v in load_config(CONFIG).tasks["scenes"]["test"].items() if k != "type"})
    truth, found, failed = ground_truth(images, range(len(images))), [], []
    for name, start in (("pretrained", weights), ("untrained", None)):
        began, resumed = time.monotonic(), (arguments.work_dir / name).exists()
        detector, (row,) = Detection(weights=start, config=CONFIG, options=options).run(arguments.work_dir / name)
        seconds = time.monotonic() - began - row.seconds
        took = "resumed, so not timed" if resumed else f"in {seconds:.0f} s"
        print(f"{name}: {arguments.steps} steps {took}, evaluation {row.seconds:.0f} s")
        for score in ("box_AP50", "mask_AP50", "box_AP", "mask_AP"):
            print(f"  {score:9}  {row.scores[score]}")
        found.append(found_by(detector, images))
        failed += [f"{name} took {seconds:.0f} s"] if seconds > SECONDS and not resumed else []
        if name == "pretrained":
            failed += [
                f"{score} {row.scores[score].value:.3f} < {least}"
                for score, least in (("box_AP50", BOX), ("mask_AP50", MASK))
                if row.scores[score].value < least
            ]
            shown = [images.image(index) for index in range(DRAWN)]
            with frozen(detector):
                print(f"  drawn: {draw_detections(shown, detector.detect(shown), arguments.work_dir / 'found.png')}")
    categories = Categories(weights, images)
    ceiling = categories.ceiling()
    for name, each in zip(("pretrained", "untrained"), found, strict=True):
        scores = categories.scores([{key: one[key] for key in one if key != "segmentation"} for one in each])
        for score in ("box_AP50", "box_AP"):
            print(f"{name}, category {score}: {scores[score]}; on the true boxes: {ceiling[score]}")
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        gain = compared(truth, *found, kind=kind)  # type: ignore[arg-type]
        print(f"pretrained above untrained, {name}_AP50: {gain} over {gain.n} images")
    print("\n".join(failed) or f"box AP50 >= {BOX}, mask AP50 >= {MASK} within {SECONDS} s each")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
