"""``selfsup train``: from a config to a trained backbone."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from selfsup.cli.launch import is_first, launch_command, launched_processes
from selfsup.cli.main import INTERRUPTED
from selfsup.config import Recipe, config_name, find_config, load_config, scale_learning_rates
from selfsup.errors import CheckpointError, ConfigError, DataError, SelfsupError
from selfsup.ops.dist import found_launcher
from selfsup.planning import describe, load_and_try, print_notes, print_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_common_arguments(parser)
    parser.add_argument("--data", metavar="PATH", help="train on this folder or list of images instead of the config's")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale learning rates to the effective batch by the recipe's rule"
    )
    parser.add_argument("--resume", action="store_true", help="resume from the newest checkpoint of the work dir")
    parser.add_argument(
        "--init-from",
        metavar="CKPT",
        help="start a new run from these weights: a checkpoint, or a work dir; where --resume resumes a run they "
        "are not looked at",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="replaces the config's seed")
    parser.add_argument("--dry-run", action="store_true", help="show what would happen, read no data, and stop")
    parser.add_argument("--processes", type=int, metavar="N", help="with --dry-run: plan for this many processes")


def add_common_arguments(
    parser: argparse.ArgumentParser, *, work_dir: str = "where results go (default: work_dirs/<config name>)"
) -> None:
    """The options that ``train`` and ``test`` share.

    Args:
        parser: of the verb.
        work_dir: what the verb says of ``--work-dir``.
    """
    parser.add_argument("config", metavar="CONFIG", help="a file, or a name that `selfsup configs` lists")
    parser.add_argument("--work-dir", metavar="DIR", help=work_dir)
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], action="extend", metavar="K=V", help="change config values"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU where there is one")
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm"),
        default=found_launcher(),
        help="what started the processes (default: found by itself)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Train the method that a config describes."""
    console = Console(quiet=not is_first(chosen.launcher))
    if chosen.processes is not None and not (chosen.dry_run and chosen.processes >= 1):
        raise ConfigError(
            f"--processes {chosen.processes}: plans for that many with --dry-run, >= 1; to train on several start the "
            "command with torchrun or srun, as tools/dist_train.sh and tools/slurm_train.sh do"
        )
    recipe, notes = prepared(chosen)
    processes = chosen.processes or launched_processes(chosen.launcher)
    original = as_its_file_says(chosen.config) if chosen.cfg_options else None
    unscaled = recipe
    if chosen.auto_scale_lr:
        recipe = scale_learning_rates(recipe, processes)
    origin: dict[str, Any] = {"scaled_from": unscaled if chosen.auto_scale_lr else None, "original": original}
    if chosen.dry_run:
        from selfsup.ops.dist import local_device
        from selfsup.ops.precision import fast_precision
        from selfsup.planning.cost import multiply_adds

        fast = fast_precision(local_device(chosen.device))
        plan = describe(recipe, processes=processes, multiply_adds=multiply_adds, fast_precision=fast, **origin)
        print_plan(plan, console)
        print_notes(notes, console)
        return 0
    plan = describe(recipe, processes=processes, **origin)
    print_notes([*notes, *plan.notes], console)
    return train(recipe, chosen)


def train(recipe: Recipe, chosen: argparse.Namespace) -> int:
    """Hand over to the engine; after Ctrl-C say how to resume."""
    from selfsup.engine.runner import Runner
    from selfsup.ops.dist import leave_process_group

    work_dir = Path(str(recipe.work_dir))
    is_new = not work_dir.exists()
    try:
        Runner(recipe, resume=chosen.resume, device=chosen.device, launcher=chosen.launcher).train()
        leave_process_group()
    except KeyboardInterrupt as stopped:
        if str(stopped):  # all processes stopped together
            leave_process_group()
        if is_first(chosen.launcher):
            state = (
                f"{stopped}; everything is saved" if str(stopped) else "stopped at once; the last checkpoint is kept"
            )
            print(f"\n{state}. Go on with:\n  {resume_command(sys.argv, chosen.launcher)}", file=sys.stderr)
        return getattr(stopped, "exit_code", INTERRUPTED)
    except SelfsupError:
        if is_new and is_first(chosen.launcher):
            remove_if_empty(work_dir)
        raise
    return 0


def remove_if_empty(work_dir: Path) -> None:
    """Take away the folder of a run that failed before it wrote anything but its log."""
    found = list(work_dir.rglob("*"))
    if all(path.is_dir() or path.name.startswith("rank") for path in found):
        shutil.rmtree(work_dir, ignore_errors=True)


def prepared(chosen: argparse.Namespace) -> tuple[Recipe, list[str]]:
    """The recipe with the command's options applied, and what the user should know about that.

    Raises:
        ConfigError: if anything is wrong with the config.
        DataError: if ``--data`` names nothing.
        CheckpointError: if ``--init-from`` names nothing and there is no run to resume.
    """
    seed = [] if chosen.seed is None else [f"seed={chosen.seed}"]
    if chosen.data is not None:
        check_data(Path(chosen.data).expanduser())
    recipe = placed(load_and_try(chosen.config, [*chosen.cfg_options, *seed], images=chosen.data), chosen)
    notes: list[str] = []
    if chosen.data is not None and recipe.evaluators:
        notes.append(
            f"evaluators ({', '.join(recipe.evaluators)}) learn from one part of --data and evaluate another, which "
            "is held out from the training"
            if recipe.train_dataloader.dataset.get("labels")
            else f"evaluators ({', '.join(recipe.evaluators)}): those that need labels are left out, because "
            "nothing says where labels are (train_dataloader.dataset.labels=folder or column)"
        )
    if chosen.init_from is not None:
        from selfsup.weights.checkpoint import checkpoint_file, list_checkpoints

        is_resumed = chosen.resume and list_checkpoints(str(recipe.work_dir))  # the file may be gone by then
        recipe = replace(recipe, load_from=chosen.init_from if is_resumed else str(checkpoint_file(chosen.init_from)))
    return recipe, [*notes, *missing_weights(recipe)]


def check_data(path: Path) -> None:
    """Reject what ``--data`` cannot mean by its own name.

    Raises:
        DataError: if it is a file and no list.
    """
    from selfsup.data.sources.entries import LIST_EXTENSIONS

    if path.is_file() and path.suffix.lower() not in LIST_EXTENSIONS:
        raise DataError(
            f"--data: {path} is neither a folder of images nor a list of their paths; lists end in "
            f"{', '.join(LIST_EXTENSIONS)}"
        )


def missing_weights(recipe: Recipe) -> list[str]:
    """Where a recipe lives on the weights of an earlier run and they are not there."""
    model, notes = recipe.model, []
    if isinstance(teacher := model.get("teacher_checkpoint"), str):
        from selfsup.weights.checkpoint import checkpoint_file

        try:
            checkpoint_file(teacher)
        except CheckpointError as error:
            notes.append(f"model.teacher_checkpoint: {error}; the run needs the weights of its teacher")
    neck = model.get("neck")
    if isinstance(neck, dict) and neck.get("type") == "HiddenLayers" and recipe.load_from is None:
        notes.append(
            "model.neck: HiddenLayers are layers of a pretrained head, and without --init-from they and the backbone "
            "start at random"
        )
    return notes


def as_its_file_says(path_or_name: str) -> Recipe | None:
    """The recipe without the command's options; None if it is complete only with them."""
    try:
        return load_config(path_or_name)
    except ConfigError:
        return None


def placed(recipe: Recipe, chosen: argparse.Namespace) -> Recipe:
    """The recipe with its work dir and what it is called decided."""
    default = recipe.work_dir or str(Path("work_dirs", find_config(chosen.config).stem))
    name = recipe.recipe or config_name(chosen.config)
    return replace(recipe, work_dir=str(Path(chosen.work_dir or default).expanduser()), recipe=name)


def resume_command(argv: Sequence[str], launcher: str) -> str:
    """The command that resumes where this one stopped."""
    name = Path(argv[0]).name
    program = ["selfsup"] if name == "selfsup" else ["-m", "selfsup"] if name == "__main__.py" else [argv[0]]
    program = [*launch_command(launcher, python=name != "selfsup"), *program]
    words = [word for word in argv[1:] if word != "--resume"]
    return shlex.join([*program, *words, "--resume"])
