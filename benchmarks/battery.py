"""Every protocol of evaluation on embedded data, with a checkpoint that it trains itself.

    python -m benchmarks.battery [--work-dir work_dirs/battery]

Trains SimCLR on the embedded scenes for a minute and a half, or resumes that, and evaluates the network beside
hand-made image statistics and its untrained self: nine categories by every protocol of single labels and under
corruptions, three of the nine by what was learned of all, 98 subcategories at both levels of their hierarchy, pairs of
labels by SVMs; and all of it for the fusion of network and statistics. Then the network is trained on with 30 labels a
category, fine-tuned as a whole for 50 steps and by linear classifiers alone for as many, each scored on the test
scenes. Rows, features and classifiers stay in the work dir; a second call computes nothing again.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console

from selfsup.cli.models.compare import shown_table
from selfsup.config import load_config
from selfsup.data import Hierarchy, LabelSets, Scenes, Subset
from selfsup.data.sources.scenes import LEVELS
from selfsup.engine.runner import Runner
from selfsup.evaluation import Fusion, Task
from selfsup.evaluation.battery import DEFAULT_PROTOCOLS, baselines_of, evaluate_rows
from selfsup.evaluation.comparison import comparable, difference, main_scores, names_of, read_entries
from selfsup.evaluation.leaks import find_leaks
from selfsup.evaluation.opening import open_representation
from selfsup.evaluation.rows import append_row, read_rows, write_predictions
from selfsup.registry import EVALUATORS
from selfsup.transfer import FineTune, Labelled, LinearSGD, Start, Transfer

SCENES: dict[str, Any] = {"size": 32, "background": "flat", "scale": (0.6, 1.0), "variants": 1, "seed": 1}
EVALUATED: dict[str, dict[str, Any]] = {
    **DEFAULT_PROTOCOLS,
    "knn_vissl": {"type": "VisslKNN"},
    "retrieval": {"type": "Retrieval"},
    "levels": {"type": "Granularity", "probe": {"type": "LinearProbe"}},
    "corrupted": {"type": "Corruptions", "kinds": "study", "probe": {"type": "KNN"}},
    "imagenet_c": {
        "type": "Corruptions",
        "kinds": ("fog", "contrast", "frost"),
        "severities": (1, 5),
        "probe": {"type": "KNN"},
    },
    "svm": {"type": "SVM", "costs": (0.1, 1.0, 10.0)},
    "svm_few": {"type": "SVM", "costs": (0.1, 1.0, 10.0), "shots": (1, 8)},
    "subset": {"type": "ClassSubset", "probe": {"type": "LinearProbe"}},
}
ONLY = {name: "categories" for name in (*DEFAULT_PROTOCOLS, "knn_vissl", "retrieval", "corrupted", "imagenet_c")}
ONLY |= {"levels": "subcategories", "svm": "two_labels", "svm_few": "two_labels", "subset": "three_categories"}

LABELS, STEPS = 30, 50  # of a category, and of each transfer


class TwoLabels:
    """Scenes whose labels are a category and the artist's set: several labels an image."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes
        self.classes = [*(scenes.classes or ()), "drawn by Google", "drawn by Twitter"]
        own = np.asarray(scenes.labels)
        artist = np.array(["twitter" in scenes.name(index) for index in range(len(scenes))]) + len(scenes.classes or ())
        numbers = np.stack([own, artist], axis=1).reshape(-1).astype(np.int64)
        self.labels = LabelSets(numbers, np.arange(len(scenes) + 1) * 2, len(self.classes))

    def __len__(self) -> int:
        return len(self.scenes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "scenes":
            raise AttributeError(name)
        return getattr(self.scenes, name)


def tasks() -> dict[str, Task]:
    """Categories, three of them, subcategories with their hierarchy, and two labels an image.

    Emoji of one part are in no other.
    """
    named: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
    parts: dict[str, Any] = {part: Scenes(part, **SCENES) for part in named}
    fine: dict[str, Any] = {part: Scenes(part, **{**SCENES, "level": LEVELS[1]}) for part in named}
    coarse, whole = parts["train"].classes or [], fine["train"]
    above = whole.hierarchy[LEVELS[1]]
    tree = Hierarchy((LEVELS[0],), {name: (coarse[int(above[n])],) for n, name in enumerate(whole.classes or [])})
    several: dict[str, Any] = {part: TwoLabels(source) for part, source in parts.items()}
    few = np.flatnonzero(np.asarray(parts["test"].labels) < 3)
    return {
        "categories": Task("categories", **parts),
        "three_categories": Task("three_categories", **{**parts, "test": Subset(parts["test"], few)}),
        "subcategories": Task("subcategories", hierarchy=tree, **fine),
        "two_labels": Task("two_labels", metric="map_11", **several),
    }


def transfer(start: Start, work_dir: Path, results: Path, note: Callable[[str], object]) -> None:
    """Train weights on with few labels, and add the rows to a file of rows; what is done is not done again."""
    train, test = ({"type": "Scenes", "split": part, **SCENES} for part in ("train", "test"))
    data = Labelled.of(train, test, per_class=LABELS, seed=1, name="few_categories")
    how: dict[str, Any] = {"steps": STEPS, "size": SCENES["size"], "precision": "fp32", "num_workers": 0}
    transfers: tuple[Transfer, ...] = (FineTune(**how), LinearSGD(**how))
    for each in transfers:
        note(f"{each.name} of {start.spec}")
        out = each.run(start, data, work_dir=work_dir / each.name, note=lambda line: None)
        known = {row.identity for row in read_rows(results)}
        for row in out.rows:
            if row.identity not in known and out.predictions is not None:
                write_predictions(results, row, out.predictions, data.task().parts.test)
                append_row(results, row)


def main() -> int:
    """Train, evaluate, transfer, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/battery"))
    options = parser.parse_args()
    started, console = time.monotonic(), Console()
    run, results = options.work_dir / "run", options.work_dir / "results.jsonl"
    if not (run / "backbone.safetensors").is_file() and not (run / "backbone.pth").is_file():
        torch.set_num_threads(1)  # the worker fills the other of two cores
        Runner(load_config("simclr/simclr_scenes", {"work_dir": str(run)}), resume=True).train()
        torch.set_num_threads(2)
    trained = open_representation(str(run), name="SimCLR", cache=options.work_dir / "features")
    statistics, untrained = baselines_of(str(run), trained, cache=options.work_dir / "features")[:2]
    untrained.name = "untrained"
    everything = tasks()
    leaks = {name: find_leaks(task) for name, task in everything.items()}
    evaluators = {name: EVALUATORS.build(dict(section)) for name, section in EVALUATED.items()}
    for representation in (statistics, untrained, trained, Fusion(trained, statistics, scaling="normalize")):
        console.print(f"{time.monotonic() - started:4.0f} s  {representation.name}", highlight=False)
        evaluate_rows(
            representation, everything, evaluators, only=ONLY, leaks=leaks, results=results, note=lambda line: None
        )
    transfer(
        dataclasses.replace(Start.open(run), spec="SimCLR"),
        options.work_dir / "transfer",
        results,
        note=lambda line: console.print(f"{time.monotonic() - started:4.0f} s  {line}", highlight=False),
    )
    entries = read_entries([results])
    lines, names = main_scores(comparable(entries)), list(dict.fromkeys(names_of(entries).values()))
    console.print(shown_table(lines, names))
    for line in lines:
        if "SimCLR" in line.values and (found := difference(line, "untrained", "SimCLR")) is not None:
            console.print(f"{line.title}: {found.words('untrained', 'SimCLR')}", highlight=False)
    console.print(f"took {time.monotonic() - started:.0f} s; rows in {results}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
