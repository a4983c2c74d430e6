"""``selfsup study``: a grid of cells, planned, computed once each, and read."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selfsup.cli.main import INTERRUPTED
from selfsup.cli.runs.launch import job_words
from selfsup.config.options import parse_options
from selfsup.errors import ConfigError

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help="a file or a packaged study; without it, their list"
    )
    parser.add_argument("--data", metavar="PATH", help="one's own images instead of the config's")
    parser.add_argument(
        "--labels", choices=("folder", "column"), help="where the labels of --data are (default: found)"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="repetitions; all of seed 0 come before any of seed 1")
    parser.add_argument("--budget", metavar="TIME", help="begin no cell that would end after this time, such as 6h")
    parser.add_argument("--plan", action="store_true", help="show every cell and what it will take, and stop")
    parser.add_argument("--retry", action="store_true", help="do failed cells again")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failure")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="default: work_dirs/<name>; machines may share it")
    parser.add_argument(
        "--launcher", choices=("local", "slurm"), default="local", help="slurm submits jobs and returns"
    )
    parser.add_argument("--jobs", type=int, default=4, metavar="N", help="with --launcher slurm (default: 4)")
    parser.add_argument(
        "--slurm", nargs="+", default=[], metavar="K=V", help="options of submitit, such as timeout_min=600"
    )


def run(chosen: argparse.Namespace) -> int:
    """Plan a study, do what is still to be done, and write its table, figures and page."""
    from selfsup.ops.launch import init_process_group, leave_process_group
    from selfsup.studies.load import load_study, study_names

    console = Console()
    if chosen.config is None:
        for name in study_names():
            console.print(name, highlight=False)
        return 0
    study = load_study(chosen.config, data=chosen.data, labels=chosen.labels, seeds=chosen.seeds)
    root = chosen.work_dir or Path("work_dirs", study.name.replace("/", "_").replace(" ", "_"))
    if chosen.launcher == "slurm":
        return _submit(chosen, root, console)
    init_process_group()
    code = work_on(study, root, chosen, console)
    leave_process_group()
    return code


def work_on(study: Any, root: Path, chosen: argparse.Namespace, console: Console) -> int:
    """Plan, do what is still to be done, and read; the exit code."""
    from selfsup.ops.dist import is_main, together
    from selfsup.planning.budget import clock, parse_budget
    from selfsup.studies.forecast import Forecast
    from selfsup.studies.plan import plan_of
    from selfsup.studies.reading import read
    from selfsup.studies.runner import Runner, check_study

    if not is_main():
        console.quiet = True

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    cells = study.cells()
    budget = None if chosen.budget is None else parse_budget(chosen.budget)
    forecast = Forecast(root, say)
    with together():
        check_study(root, study)
        forecast.check_images(cells)
    forecast.measure(cells)
    forecast.promise(cells)
    left = None if budget is None else budget - (time.monotonic() - chosen.began)
    retry, fail_fast = (getattr(chosen, option, False) for option in ("retry", "fail_fast"))
    plan = plan_of(study, root, forecast.seconds, seconds=left, retry=retry)
    console.print(_table(plan, root))
    for line in plan.words():
        say(line)
    if chosen.plan:
        return 0
    with together():
        if budget is not None:
            plan.check_budget(str(chosen.budget))
    predicted = [plan.seconds[cell.identity] for cell in plan.open if cell.identity in plan.chosen]
    started = time.monotonic()
    runner = Runner(study, root, left, predict=forecast.current, retry=retry, fail_fast=fail_fast, say=say)
    try:
        states = runner.run()
    except KeyboardInterrupt:
        say("stopped; the same command resumes, in the middle of the cell that was begun")
        return INTERRUPTED
    finally:
        files = read(study, root) if is_main() else []
    if predicted and None not in predicted:
        total = sum(each or 0.0 for each in predicted)
        say(f"predicted {clock(total)}, taken {clock(time.monotonic() - started)}")
    say(f"{list(states.values()).count('done')} of {len(cells)} cells are done; read {', '.join(map(str, files))}")
    return FAILED if "failed" in states.values() else 0


def _table(plan: Any, root: Path) -> Table:
    from selfsup.planning.budget import clock
    from selfsup.studies.cells import output_of
    from selfsup.studies.forecast import promised

    table, before = Table("cell", "state", "predicted", "taken"), promised(root)
    for cell in plan.cells:
        done = plan.states[cell.identity] == "done"
        seconds = before.get(cell.identity) if done else plan.seconds[cell.identity]
        shown = clock(seconds) if seconds is not None else "" if done else "not known"
        table.add_row(cell.name, plan.shown(cell), shown, clock(output_of(cell, root).seconds) if done else "")
    return table


def _submit(chosen: argparse.Namespace, root: Path, console: Console) -> int:
    from selfsup.cli.runs.slurm import submit

    if chosen.jobs < 1:
        raise ConfigError.at("--jobs", "must be >= 1", got=chosen.jobs)
    command = [sys.executable, "-m", "selfsup", *job_words(sys.argv[1:])]
    numbers = submit(command, folder=root / "slurm", jobs=chosen.jobs, options=parse_options(chosen.slurm))
    console.print(f"submitted {', '.join(numbers)}; the same command with --plan says where they are", highlight=False)
    return 0
