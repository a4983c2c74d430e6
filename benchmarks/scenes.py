"""Every method on the embedded scenes: kNN and linear accuracy at three label levels, beside both floors.

    python -m benchmarks.scenes [NAME ...] [--seeds 1 2 3] [--budget SECONDS] [--work-dir work_dirs/bench_scenes]

Trains each ``*_scenes`` recipe with each seed and evaluates the backbone on emoji never seen in training:

- category (9 classes) and subcategory (98): learn from scenes of the training emoji, be evaluated on the others;
- emoji (573): learn from four scenes of each unseen emoji, two of either artist, be evaluated on two more.

The floors are raw pixels, and each recipe's network with weights drawn from the same seed, evaluated alike. Figures
are means over the seeds with their standard errors, in %, and seconds of training steps; the recipes were tuned mostly
with seed 0, which is left out. Runs that are done already are kept, so that a stopped benchmark continues where it was;
``--lead N`` asks the linear probe on categories for N points over both floors, and the exit code is 1 if a method has
fewer.

Recipes are of unequal length; with ``--budget`` all train for the same time: for as many steps as fit into it at the
pace that a first short run finds, with the schedule stretched or shortened along. That run wants the machine to itself;
what follows may share it, for it is the steps that are counted.

SimCLR v2's second and third step start from the run of the step before with the same seed, which is trained first if it
is not there; seconds, also those of the budget, are those of one step.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import nn

from selfsup.config import config_names, load_config
from selfsup.data import InputContract, Scenes
from selfsup.evaluation import KNN, LinearProbe, RawPixels, Representation, Task, evaluate_tasks
from selfsup.registry import BACKBONES
from selfsup.weights.checkpoint import checkpoint_file
from selfsup.weights.load import load_backbone

LEVELS = {"category": ("train", "test", 1), "subcategory": ("train", "test", 1), "emoji": ("test", "test", 2)}
"""For each level the split that is learned from, the one that is evaluated, and the seed of the evaluated scenes."""

PROBES: dict[str, Any] = {"knn": KNN(k=20, temperature=0.07), "linear": LinearProbe()}
COLUMNS = [f"{level}/{probe}" for level in LEVELS for probe in PROBES]
FLOORS = ("raw pixels", "untrained")


def tasks() -> dict[str, Task]:
    """The emoji at every level."""
    found = {}
    learned: Any
    evaluated: Any
    for level, (learned, evaluated, seed) in LEVELS.items():
        scenes: dict[str, Any] = dict(size=32, background="flat", scale=(0.6, 1.0), level=level)
        train = Scenes(learned, variants=2, seed=1, **scenes)
        test = Scenes(evaluated, variants=2 if seed == 1 else 1, seed=seed, **scenes)
        val = Scenes("val", variants=2, seed=1, **scenes) if learned != evaluated else 0.2
        found[level] = Task(level, train=train, val=val, test=test)
    return found


def evaluated(backbone: nn.Module, scaling: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy of a backbone in %, by level and probe."""
    contract = InputContract(size=32, resize="none", **scaling)
    findings = evaluate_tasks(Representation(backbone.eval(), contract), tasks(), PROBES)
    return {f"{found.task.name}/{found.evaluator}": 100 * found.result.scores["top1"].value for found in findings}


STARTS = {
    "simclr/simclr_v2_finetune_scenes": ("load_from", "simclr/simclr_v2_scenes"),
    "simclr/simclr_v2_distill_scenes": ("model.teacher_checkpoint", "simclr/simclr_v2_finetune_scenes"),
}
"""Recipes that start from the end of another: what in their config names its weights, and which recipe that is."""

SILENT = [f"default_hooks.{hook}=none" for hook in ("evaluate", "pictures", "collapse")]
PACE_STEPS = 120
"""Length of the run that finds the pace; its first steps, which set up, are left out."""


def train(name: str, folder: Path, seed: int, options: list[str]) -> None:
    """Train a recipe on the CPU, without looking at it on the way."""
    command = [sys.executable, "-m", "selfsup", "train", name, "--work-dir", str(folder), "--device", "cpu"]
    subprocess.run([*command, "--seed", str(seed), "--cfg-options", *SILENT, *options], check=True)


def pace(name: str, work_dir: Path) -> float:
    """Seconds that a training step takes; measured, or read from what an earlier call found."""

    def measured() -> dict[str, float]:
        folder = work_dir / "pace" / name.replace("/", "_")
        other_start = [f"{STARTS[name][0]}=none"] if name in STARTS else []  # other weights, the same time
        train(name, folder, 0, [f"train_cfg.max_steps={PACE_STEPS}", *other_start])
        return {"seconds": mean(seconds_of_steps(name, folder)[PACE_STEPS // 6 :])}

    return kept(work_dir / "pace" / f"{name.replace('/', '_')}.json", measured)["seconds"]


def within(name: str, budget: float, work_dir: Path) -> list[str]:
    """The options that let a recipe train for so many seconds, the points of its schedule moved in proportion."""
    config = load_config(name)
    steps = round(budget / pace(name, work_dir))
    before, schedule = config.train_cfg.max_steps, config.param_scheduler
    assert before is not None and isinstance(schedule, Mapping), "a recipe with steps and one schedule"
    factor = steps / before
    options = [f"train_cfg.max_steps={steps}"]
    if "warmup_steps" in schedule:
        options.append(f"param_scheduler.warmup_steps={round(factor * schedule['warmup_steps'])}")
    if "steps" in schedule:
        options.append(f"param_scheduler.steps={[round(factor * step) for step in schedule['steps']]}".replace(" ", ""))
    return options


def place(name: str, seed: int, work_dir: Path, budget: float | None) -> Path:
    """Where a run of the benchmark goes."""
    return work_dir / f"{name.replace('/', '_')}_{seed}{f'_{budget:g}s' if budget else ''}"


def steps_to(name: str) -> list[str]:
    """A recipe, after those that it starts from."""
    return [*steps_to(STARTS[name][1]), name] if name in STARTS else [name]


def started(name: str, seed: int, work_dir: Path, budget: float | None) -> list[str]:
    """The options that let a recipe start from the one before it with the same seed, which is trained if need be."""
    if name not in STARTS:
        return []
    key, before = STARTS[name]
    run(before, seed, work_dir, budget)
    return [f"{key}={checkpoint_file(place(before, seed, work_dir, budget))}"]


def run(name: str, seed: int, work_dir: Path, budget: float | None = None) -> dict[str, dict[str, float]]:
    """Train a recipe and evaluate it, its untrained network and the pixels; or read what an earlier call found."""
    folder = place(name, seed, work_dir, budget)
    model = load_config(name).model
    scaling = model["preprocess"] if "preprocess" in model else model["teacher"]["preprocess"]  # a student's is that

    def trained() -> dict[str, float]:
        length = within(name, budget, work_dir) if budget else []
        train(name, folder, seed, [*length, *started(name, seed, work_dir, budget)])
        backbone = BACKBONES.build(model["backbone"])
        load_backbone(folder / "backbone.safetensors", backbone)
        return evaluated(backbone, scaling)

    def untrained() -> dict[str, float]:
        torch.manual_seed(seed)
        return evaluated(BACKBONES.build(model["backbone"]), scaling)

    floors = work_dir / "floors"
    scores = {
        "raw pixels": kept(floors / f"{digest(scaling)}.json", lambda: evaluated(RawPixels(), scaling)),
        "untrained": kept(floors / f"{digest(model['backbone'], scaling, seed)}.json", untrained),
        "trained": kept(folder / "scores.json", trained),
    }
    scores["trained"]["seconds"] = sum(seconds_of_steps(name, folder))
    return scores


def kept(path: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What is measured, written to a file; or what that file has, where there is one."""
    if not path.is_file():
        text = json.dumps(measure(), indent=2) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")  # several benchmarks may share a work dir
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def digest(*parts: Any) -> str:
    """A short name for what a floor depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def seconds_of_steps(name: str, folder: Path) -> list[float]:
    """How long each training step of a run took."""
    batch = load_config(name).train_dataloader.batch_size
    steps = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [batch / step["images_per_second"] for step in steps if "images_per_second" in step]


def cell(values: list[float]) -> str:
    """The mean, and the standard error where there are several values that differ."""
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{mean(values):.1f} ± {error:.1f}" if error else f"{mean(values):.1f}"


def row(title: str, runs: Sequence[Mapping[str, float]]) -> str:
    """One line of the table."""
    seconds = f"{mean(scores['seconds'] for scores in runs):.0f}" if "seconds" in runs[0] else ""
    return f"| {' | '.join([title, *(cell([scores[column] for scores in runs]) for column in COLUMNS), seconds])} |"


def main() -> int:
    """Train what is missing, print the table as Markdown."""
    names = [name for name in config_names() if name.endswith("_scenes") and not name.startswith("transfer/")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help="recipes; default: all *_scenes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/bench_scenes"))
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="train all for so long; default: as the recipe")
    parser.add_argument("--lead", type=float, default=5.0, help="points over both floors (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)

    for name in options.names if options.budget else ():
        for step in steps_to(name):
            pace(step, options.work_dir)  # of all before any trains: what is measured should be measured alike
    found = {
        name: [run(name, seed, options.work_dir, options.budget) for seed in options.seeds] for name in options.names
    }
    print("| features | " + " | ".join(column.replace("/", ", ") for column in COLUMNS) + " | seconds |")
    print("|---|" + "---|" * (len(COLUMNS) + 1))
    print(row(FLOORS[0], [next(iter(found.values()))[0][FLOORS[0]]]))
    reached = True
    for name, runs in found.items():
        trained = [scores["trained"] for scores in runs]
        print(row(f"{name}, untrained", [scores["untrained"] for scores in runs]))
        print(row(name, trained))
        floor = max(mean(scores[floor]["category/linear"] for scores in runs) for floor in FLOORS)
        lead = mean(scores["category/linear"] for scores in trained) - floor
        reached &= lead >= options.lead
        print(f"{name}: linear probe on categories {lead:+.1f} points over the better floor", file=sys.stderr)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
