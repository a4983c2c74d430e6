"""``selfsup test``: scores of a checkpoint, beside it."""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from selfsup.cli.launch import is_first
from selfsup.cli.train import add_common_arguments, placed
from selfsup.config import load_config
from selfsup.errors import ConfigError
from selfsup.ops.files import WORK_DIR_MARKER
from selfsup.planning import print_notes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_common_arguments(parser, work_dir="where scores.json goes (default: the work dir of the checkpoint)")
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a file of work_dir/checkpoints, or a work dir for its newest"
    )


def run(chosen: argparse.Namespace) -> int:
    """Run a config's evaluators on a checkpoint and write scores.json."""
    from selfsup.weights.checkpoint import Checkpoint, checkpoint_file
    from selfsup.weights.read import read_weights

    config = placed(load_config(chosen.config, chosen.cfg_options), chosen)
    checkpoint = checkpoint_file(chosen.checkpoint)
    if not config.get("evaluators"):
        raise ConfigError("evaluators: the config has none, so there is nothing to test; add some, such as KNN")
    from selfsup.engine.evaluate import evaluate
    from selfsup.ops.dist import leave_process_group

    said: list[str] = []
    scores = evaluate(config, checkpoint, device=chosen.device, launcher=chosen.launcher, note=said.append)
    leave_process_group()
    if is_first(chosen.launcher):
        folder = chosen.work_dir or work_dir_of(checkpoint) or config["work_dir"]
        saved = Checkpoint.of(read_weights(checkpoint, mapped=True), checkpoint)
        step = saved.step if saved is not None else None  # an exported backbone does not say
        of = {"checkpoint": str(checkpoint), "step": step, "config": chosen.config}
        path = Path(folder, "scores.json")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**scores, "of": of}, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"work_dir: cannot write {path} ({error.strerror}); choose another with --work-dir"
            ) from None
        print(checkpoint)
        print_notes(said, Console())
        table = Table("measure", "score")
        for name, score in scores.items():
            table.add_row(name, f"{score:.4f}")
        Console().print(table)
        print(f"written to {path}")
    return 0


def work_dir_of(checkpoint: Path) -> Path | None:
    """The folder of the run that wrote a file of weights; None if it lies in none."""
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    return folder if (folder / WORK_DIR_MARKER).is_file() else None
