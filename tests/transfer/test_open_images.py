"""SEER's recipe for Open Images on a few images of three classes: trained, and scored by the verified labels alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from selfsup.config import load_config
from selfsup.data import Subset
from selfsup.data.standard import Standard
from selfsup.engine import Runner
from selfsup.engine.evaluate import evaluate
from selfsup.engine.logging.metrics import read_metrics
from selfsup.evaluation import Classifier, Head, Task
from selfsup.weights.checkpoint import checkpoint_path
from tests.transfer.small import NETWORK

NAME = "transfer/seer_linear_openimages_regnety256"
CLASSES = ("Tortoise", "Container", "Magpie")  # training sorts them by name; a fourth is never shown
VERIFIED = {"validation": 24, "test": 30}


def write_images(folder: Path, part: str, count: int, *, seed: int) -> np.ndarray:
    """Noisy images whose channels are bright for the classes that they show; returns those, bool (N, 3)."""
    rng = np.random.default_rng(seed)
    shown = rng.random((count, 3)) < 0.5
    (folder / part).mkdir(parents=True)
    for number, row in enumerate(shown):
        image = rng.integers(0, 160, (32, 32, 3)) + 60 * row
        cv2.imwrite(str(folder / part / f"{number:04d}.jpg"), image.astype(np.uint8))
    return shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open_images")
    names = ["/m/1,Tortoise", "/m/2,Container", "/m/3,Magpie", "/m/4,Unicorn"]
    (folder / "class-descriptions-boxable.csv").write_text("\n".join(names) + "\n")
    shown = write_images(folder, "train", 32, seed=0)
    labels = [";".join(np.array(CLASSES)[row]) or "Unicorn" for row in shown]
    lines = [f"train/{number:04d}.jpg,{label}" for number, label in enumerate(labels)]
    (folder / "train.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    for seed, (part, count) in enumerate(VERIFIED.items(), start=1):
        shown = write_images(folder, part, count, seed=seed)
        looked_at = np.random.default_rng(seed + 10).random(shown.shape) < 0.7
        lines = ["ImageID,Source,LabelName,Confidence"] + [
            f"{number:04d},verification,/m/{place + 1},{int(shown[number, place])}"
            for number, place in np.argwhere(looked_at).tolist()
        ]
        (folder / f"{part}-annotations-human-imagelabels-boxable.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_it_is_scored_at_its_end_and_by_test_as_scikit_learn_scores_the_verified_labels(
    folder: Path, tmp_path: Path
) -> None:
    options = {
        "model.backbone": {"type": "RegNet", **NETWORK},
        "model.num_classes": 4,
        "train_dataloader.batch_size": 8,
        "train_dataloader.num_workers": 0,
        "train_dataloader.num_images": None,
        "train_dataloader.dataset.root": str(folder / "train.csv"),
        "train_dataloader.views.size": 32,
        "optim_wrapper.precision": "fp32",
        "param_scheduler": {"type": "WarmupCosine"},
        "auto_scale_lr": None,
        "work_dir": str(tmp_path / "run"),
    }
    for part in ("val", "test"):
        options |= {f"tasks.openimages.{part}.root": str(folder), f"tasks.openimages.{part}.complete": False}
    recipe = load_config(NAME, options)
    runner = Runner(recipe)
    method = runner.train()
    entries = read_metrics(tmp_path / "run" / "metrics.jsonl")
    scores = {entry["step"]: entry["head/map"] for entry in entries if "head/map" in entry}
    assert list(scores) == [runner.total_steps]
    (row,) = evaluate(recipe, checkpoint_path(tmp_path / "run", runner.total_steps))
    classifier = Classifier(
        method, runner.input_contract, head=method.logits, classes=["Container", "Magpie", "Tortoise", "Unicorn"]
    )
    for part, found in (("validation", scores[runner.total_steps]), ("test", row.scores["map"].value)):
        source = Standard("openimages", folder, part, complete=False)
        known, logits = source.labels.matrix(), classifier.logits(source).numpy()
        expected = []
        for place, name in enumerate(CLASSES):
            verified = known[:, place] >= 0
            column = logits[verified, classifier.classes.index(name)]
            expected.append(average_precision_score(known[verified, place] > 0, column))
        alone = Head().evaluate(classifier, Task(test=source)).scores
        assert alone["map_step"].value == pytest.approx(np.mean(expected))
        assert alone["map"].value == pytest.approx(found)
    assert row.scores["map_step"].value == pytest.approx(np.mean(expected))
    assert row.scores["map"].low < row.scores["map"].value <= row.scores["map"].high
    assert row.task["metric"] == "map" and row.task["images"] == {"val": 24, "test": len(source)}
    assert [note for note in row.notes if "Unicorn" in note and note.startswith("n/a: 1 ")]
    assert Head().evaluate(classifier, Task(test=Subset(source, count=20))).predictions is None
