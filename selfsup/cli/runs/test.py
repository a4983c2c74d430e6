"""``selfsup test``: scores of a checkpoint, beside it."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selfsup.cli.runs.launch import is_first
from selfsup.cli.runs.train import add_common_arguments, placed
from selfsup.errors import ConfigError
from selfsup.planning import load_and_try, print_notes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_common_arguments(parser, work_dir="where scores.json goes (default: the work dir of the checkpoint)")
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a file of work_dir/checkpoints, or a work dir for its newest"
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="beside hand-made image statistics and the untrained network; copies of test images are looked for",
    )
    parser.add_argument("--flips", action="store_true", help="average the features of each image and its mirror image")


def run(chosen: argparse.Namespace) -> int:
    """Run a config's evaluators on a checkpoint and write scores.json."""
    from selfsup.weights.checkpoint import checkpoint_file

    recipe = placed(load_and_try(chosen.config, chosen.cfg_options), chosen)
    checkpoint = checkpoint_file(chosen.checkpoint)
    if not recipe.evaluators:
        raise ConfigError.at(
            "evaluators", "the config has none, so there is nothing to test", expected="add some, such as KNN"
        )
    from selfsup.engine.evaluate import evaluate, metrics
    from selfsup.engine.work_dir import work_dir_of
    from selfsup.ops.launch import leave_process_group

    folder = Path(chosen.work_dir or work_dir_of(checkpoint) or str(recipe.work_dir))
    said: list[str] = []
    rows = evaluate(
        recipe,
        checkpoint,
        device=chosen.device,
        launcher=chosen.launcher,
        results=folder / "results.jsonl",
        baselines=chosen.baselines,
        flips=chosen.flips,
        note=said.append,
    )
    leave_process_group()
    if is_first(chosen.launcher):
        tasks = len({row.task["name"] for row in rows})
        scores = metrics(rows, tasks=tasks)
        beside = {name: _values_of(name, rows, tasks) for name in dict.fromkeys(map(_baseline, rows)) if name}
        step = rows[0].representation["step"] if rows else None  # an exported backbone does not say
        of = {"checkpoint": str(checkpoint), "step": step, "config": chosen.config}
        path = folder / "scores.json"
        try:
            values = {name: score.value for name, score in scores.items()}
            path.write_text(json.dumps({**values, "of": of}, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError.at(
                "--work-dir", f"cannot write {path} ({error.strerror})", expected="choose another folder"
            ) from None
        print(checkpoint)
        print_notes(said, Console())
        table = Table("measure", "score", "95 %", *beside)
        for name, score in scores.items():
            interval = "" if score.low is None else f"{score.low:.4f} to {score.high:.4f}"
            table.add_row(name, f"{score.value:.4f}", interval, *(each.get(name, "") for each in beside.values()))
        Console().print(table)
        for note in dict.fromkeys(f"{row.evaluator}: {note}" for row in rows for note in row.notes):
            print(note)
        print(f"written to {path}; rows with intervals in {folder / 'results.jsonl'}")
    return 0


def _baseline(row: Any) -> str:
    """The name of the baseline that a row is of; empty for the checkpoint's."""
    return str(row.representation["name"]) if row.representation.get("baseline") else ""


def _values_of(name: str, rows: Sequence[Any], tasks: int) -> dict[str, str]:
    """A baseline's values, by the names of the checkpoint's scores."""
    from selfsup.engine.evaluate import metrics

    own = [replace(row, representation={}) for row in rows if _baseline(row) == name]
    return {measure: f"{score.value:.4f}" for measure, score in metrics(own, tasks=tasks).items()}
