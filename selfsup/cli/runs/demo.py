"""``selfsup demo``: train on the embedded images for a few minutes, and compare with what needs no training."""

import argparse
import copy
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from selfsup.cli.main import INTERRUPTED
from selfsup.config import load_config

CONFIGS = {"swav": "swav/swav_scenes", "simclr": "simclr/simclr_scenes"}
FLOORS = ("raw pixels", "untrained network")
LEADS = {
    "simclr": {floor: {"knn": 0.0, "linear": 0.08} for floor in FLOORS},
    "swav": {floor: {"knn": 0.0, "linear": 0.05} for floor in FLOORS},
}
"""By how much the trained network must be ahead of which floors."""
MISSED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "--method", choices=sorted(CONFIGS), default="simclr", help="what to train (default: %(default)s)"
    )
    parser.add_argument("--work-dir", type=Path, help="where the results go (default: work_dirs/demo_<method>)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Train on embedded images, score the network beside raw pixels and an untrained one, and weigh the difference."""
    import torch

    from selfsup.engine.runner import Runner
    from selfsup.evaluation import RawPixels, Representation, evaluate_tasks, metrics_of
    from selfsup.evaluation.build import build_evaluators, build_tasks

    torch.set_num_threads(1)  # the worker fills the other of two cores; a second thread would wait for it
    console = Console()
    start = time.monotonic()
    work_dir = options.work_dir or Path("work_dirs") / f"demo_{options.method}"
    recipe = CONFIGS[options.method]
    config = load_config(recipe, {"work_dir": str(work_dir), "seed": options.seed, "recipe": recipe})
    console.print(f"training {recipe} on drawn scenes; everything goes to [bold]{work_dir}[/bold]")
    runner = Runner(config)
    untrained = copy.deepcopy(runner.method.backbone)
    try:
        runner.train()
    except KeyboardInterrupt as stopped:
        console.print(f"\n{stopped}; run the demo again to start over")
        return INTERRUPTED
    tasks, (evaluators, _) = build_tasks(config.tasks, None, None), build_evaluators(config.evaluators)
    trained: nn.Module = runner.method.backbone
    backbones: dict[str, nn.Module] = {FLOORS[0]: RawPixels(), FLOORS[1]: untrained, options.method: trained}
    scores = {}
    for name, backbone in backbones.items():
        representation = Representation(backbone, runner.input_contract, name=name)
        scores[name] = metrics_of(evaluate_tasks(representation, tasks, evaluators), tasks=len(tasks))
    (work_dir / "demo_scores.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    console.print(_table(scores, options.method))
    for name in ("knn", "linear"):
        lead = min(scores[options.method][f"{name}/top1"] - scores[floor][f"{name}/top1"] for floor in FLOORS)
        console.print(f"{name}: {100 * lead:+.1f} points over the better floor")
    console.print(f"took {time.monotonic() - start:.0f} s. In {work_dir}:")
    for path in sorted(path for path in work_dir.iterdir() if path.suffix in (".png", ".safetensors", ".jsonl")):
        console.print(f"  {path.name}")
    missed = missed_leads(scores, options.method)
    for sentence in missed:
        console.print(sentence, style="bold red", soft_wrap=True)
    return MISSED if missed else 0


def missed_leads(scores: Mapping[str, Mapping[str, float]], method: str) -> list[str]:
    """Where these scores fall short of what the demo should reach, one sentence each.

    Args:
        scores: by row of the table, then by evaluator and score.
        method: what was trained.
    """
    sentences = []
    for floor, leads in LEADS[method].items():
        for name, least in leads.items():
            lead = scores[method][f"{name}/top1"] - scores[floor][f"{name}/top1"]
            if lead <= 0 or lead < least:
                sentences.append(
                    f"missed: {name} is {100 * lead:+.1f} points from {floor}, expected is "
                    + (f"at least {100 * least:+.0f}" if least else "to be ahead")
                )
    return sentences


def _table(scores: dict[str, dict[str, float]], method: str) -> Table:
    table = Table(title="9 categories of emoji never seen in training, accuracy in %")
    table.add_column("features")
    table.add_column("kNN", justify="right")
    table.add_column("linear probe", justify="right")
    for name, values in scores.items():
        cells: list[Any] = [f"{100 * values[f'{probe}/top1']:.1f}" for probe in ("knn", "linear")]
        table.add_row(name, *cells, style="bold" if name == method else None)
    return table
