"""``selfsup train``: from a config, or from a folder of images alone, to a trained backbone."""

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from selfsup.cli.main import INTERRUPTED
from selfsup.cli.runs.launch import is_first, job_words, launch_command, launched_processes
from selfsup.config import Recipe, config_name, find_config, load_config, scale_learning_rates
from selfsup.config.images import images_name, images_section
from selfsup.config.options import parse_options
from selfsup.errors import CheckpointError, ConfigError, DataError, SelfsupError
from selfsup.ops.launch import found_launcher
from selfsup.planning import describe, load_and_try, print_notes, print_plan
from selfsup.planning.fits import batch_has_to_fit
from selfsup.planning.own_images import USUAL_BUDGET, Choice, choose, device_kind, find_labels, look, most_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_common_arguments(parser, config_optional=True)
    parser.add_argument(
        "--data", metavar="PATH", help="train on this folder, list or URL of images instead of the config's"
    )
    parser.add_argument(
        "--labels",
        choices=("folder", "column", "none"),
        help="where the labels of --data are (default: looked for, and used where they are unmistakable)",
    )
    parser.add_argument(
        "--groups",
        metavar="folder|column|REGEX",
        help="which images of --data belong together, such as those of a patient, and are never held out in part: "
        "those of a folder, of a value in the column 'group', or whose names agree in what the expression finds",
    )
    parser.add_argument(
        "--budget", metavar="TIME", help="how long all of it may take, such as 30m or 1h30m; the first steps are timed"
    )
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale learning rates to the effective batch by the recipe's rule"
    )
    parser.add_argument("--resume", action="store_true", help="resume from the newest checkpoint of the work dir")
    parser.add_argument(
        "--init-from",
        metavar="CKPT",
        help="start a new run from these weights: a checkpoint, a work dir, or timm:NAME; where --resume resumes a run "
        "they are not looked at",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="replaces the config's seed")
    parser.add_argument(
        "--slurm",
        nargs="+",
        metavar="K=V",
        help="submit the command as a job and return; options of submitit, such as nodes=8 tasks_per_node=8 "
        "gpus_per_node=8 timeout_min=1440 slurm_partition=gpu",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would happen, read no data, and stop")
    parser.add_argument("--processes", type=int, metavar="N", help="with --dry-run: plan for this many processes")


def add_common_arguments(
    parser: argparse.ArgumentParser,
    *,
    work_dir: str = "where results go (default: work_dirs/<config name>)",
    config_optional: bool = False,
) -> None:
    """The options that ``train`` and ``test`` share.

    Args:
        parser: of the verb.
        work_dir: what the verb says of ``--work-dir``.
        config_optional: whether the verb can do without a config.
    """
    without = "; without one, --data says which images, and one of configs/folder is chosen" if config_optional else ""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?" if config_optional else None,
        help=f"a file, or a name that `selfsup configs` lists{without}",
    )
    parser.add_argument("--work-dir", metavar="DIR", help=work_dir)
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], action="extend", metavar="K=V", help="change config values"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU where there is one)")
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
        raise ConfigError.at(
            "--processes",
            "must be >= 1, and plans for that many with --dry-run",
            got=chosen.processes,
            expected="to train on several start the command with torchrun or srun, as tools/dist_train.sh and "
            "tools/slurm_train.sh do",
        )
    if chosen.slurm and not chosen.dry_run:
        return submit_job(chosen, console)
    processes = chosen.processes or launched_processes(chosen.launcher)
    stored = stored_config(chosen)
    choice = None if chosen.config or stored else chosen_for(chosen, processes)
    recipe, notes = prepared(chosen, stored=stored, choice=choice)
    original = as_its_file_says(str(stored or chosen.config)) if chosen.cfg_options else None
    unscaled = recipe
    if chosen.auto_scale_lr or choice:
        recipe = scale_learning_rates(recipe, processes)
    origin: dict[str, Any] = {"scaled_from": unscaled if chosen.auto_scale_lr else None, "original": original}
    if chosen.dry_run:
        from selfsup.ops.cost import multiply_adds
        from selfsup.ops.launch import local_device
        from selfsup.ops.precision import fast_precision

        fast = fast_precision(local_device(chosen.device))
        plan = describe(recipe, processes=processes, multiply_adds=multiply_adds, fast_precision=fast, **origin)
        print_plan(plan, console)
        if (chosen.budget or choice) and not stored:
            notes.append("the run measures its first steps and takes as many as the budget has room for")
        print_notes(notes, console)
        return 0
    plan = describe(recipe, processes=processes, **origin)
    print_notes([*notes, *plan.notes], console)
    with batch_has_to_fit(recipe, device=chosen.device):
        if (chosen.budget or choice) and not stored:
            recipe = fitted(recipe, chosen, console, usual=choice is not None)
        code = train(recipe, chosen)
    if code == 0 and chosen.data is not None and is_first(chosen.launcher):
        from selfsup.cli.runs.next_steps import print_next_steps

        print_next_steps(recipe, chosen.data, console, seconds=time.monotonic() - chosen.began)
    return code


def submit_job(chosen: argparse.Namespace, console: Console) -> int:
    """Submit the same command to Slurm as a job that resumes itself; what is wrong with the config is said here."""
    from selfsup.cli.runs.slurm import submit_run

    options = parse_options(chosen.slurm)
    chosen.resume = True
    stored = stored_config(chosen)
    if chosen.config or stored:
        recipe, notes = prepared(chosen, stored=stored)
        print_notes(notes, console)
        work_dir = Path(str(recipe.work_dir))
    else:  # the job chooses the recipe, for the device that it has
        check_data(chosen.data)
        work_dir = Path(chosen.work_dir or Path("work_dirs", images_name(chosen.data))).expanduser()
    words = job_words(sys.argv[1:])
    words = [*words[words[:1] == ["train"] :], "--work-dir", str(work_dir), "--launcher", "slurm", "--resume"]
    command = [sys.executable, "-u", "-m", "selfsup", "train", *words]
    number, log = submit_run(command, folder=work_dir.absolute() / "slurm", options=options)
    console.print(
        f"submitted job {number}, which resumes what is in {work_dir}; its log is {log}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def train(recipe: Recipe, chosen: argparse.Namespace) -> int:
    """Hand over to the engine; after Ctrl-C say how to resume."""
    from selfsup.engine.runner import Runner
    from selfsup.ops.launch import leave_process_group

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
            print(f"\n{state}. Resume with:\n  {resume_command(sys.argv, chosen.launcher)}", file=sys.stderr)
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


def prepared(
    chosen: argparse.Namespace, *, stored: Path | None = None, choice: Choice | None = None
) -> tuple[Recipe, list[str]]:
    """The recipe with the command's options applied, and what the user should know about that.

    Args:
        chosen: the command's words.
        stored: the config of the run that is resumed, where that counts and not the command's.
        choice: what was chosen for the images, where the command names no config.

    Raises:
        ConfigError: if anything is wrong with the config.
        DataError: if ``--data`` names nothing.
        CheckpointError: if ``--init-from`` names nothing and there is no run to resume.
    """
    options: dict[str, Any] = dict(choice.options) if choice else {}
    notes: list[str] = list(choice.why) if choice else []
    images = chosen.data
    if stored is not None:
        notes.append(f"resuming with the recipe that the run has stored, {stored}")
        images = None
        if chosen.data is not None:
            options["train_dataloader.dataset.root"] = images_section(chosen.data)["root"]
    elif chosen.data is not None:
        check_data(chosen.data)
        of_images, said = image_options(chosen, choice)
        options |= of_images
        notes += said
    if chosen.seed is not None:
        options["seed"] = chosen.seed
    config = str(stored) if stored else choice.config if choice else chosen.config
    options |= parse_options(chosen.cfg_options)
    weights: list[str] = []
    if chosen.init_from is not None and chosen.init_from.startswith("timm:") and not stored:
        from selfsup.cli.runs.timm_start import timm_start

        of_weights, chosen.init_from, weights = timm_start(chosen.init_from, recipe=choice.config if choice else None)
        options = {**of_weights, **options}
    recipe = placed(load_and_try(config, options, images=images), chosen, config=config)
    notes += weights
    if images is not None and recipe.evaluators:
        notes.append(
            f"evaluators ({', '.join(recipe.evaluators)}) learn from one part of --data and evaluate another, which "
            "is held out from the training"
            if recipe.train_dataloader.dataset.get("labels")
            else f"evaluators ({', '.join(recipe.evaluators)}): those that need labels are left out, because "
            "there are none (--labels folder or column says where they are)"
        )
    if chosen.init_from is not None and stored is None:
        from selfsup.weights.checkpoint import checkpoint_file, list_checkpoints

        is_resumed = chosen.resume and list_checkpoints(str(recipe.work_dir))  # the file may be gone by then
        recipe = replace(recipe, load_from=chosen.init_from if is_resumed else str(checkpoint_file(chosen.init_from)))
    return recipe, [*notes, *missing_weights(recipe)]


def image_options(chosen: argparse.Namespace, choice: Choice | None) -> tuple[dict[str, Any], list[str]]:
    """What ``--labels`` and ``--groups`` say of the images of ``--data``, by path in the config; and what to tell.

    A run that is resumed keeps the labels that it had.
    """
    path = "train_dataloader.dataset"
    options = {f"{path}.groups": chosen.groups} if chosen.groups else {}
    if choice is not None or any(word.startswith(f"{path}.labels=") for word in chosen.cfg_options):
        return options, []
    if chosen.labels is not None:
        return options | ({} if chosen.labels == "none" else {f"{path}.labels": chosen.labels}), []
    work_dir = Path(chosen.work_dir or Path("work_dirs", find_config(chosen.config).stem))
    if chosen.resume and (work_dir / "config.py").is_file():
        labels, said = load_config(work_dir / "config.py").train_dataloader.dataset.get("labels"), ""
    else:
        labels, said = find_labels(chosen.data)
    return options | ({f"{path}.labels": labels} if labels else {}), [said] if said else []


def fitted(recipe: Recipe, chosen: argparse.Namespace, console: Console, *, usual: bool) -> Recipe:
    """The recipe with as many steps as the budget has room for.

    Args:
        recipe: of the run.
        chosen: the command's words.
        console: told how long what takes.
        usual: whether a run without a budget gets the usual one of its device.
    """
    from selfsup.ops.dist import broadcast_object, world_size
    from selfsup.ops.launch import local_device
    from selfsup.planning.budget import clock, measure, parse_budget, within

    budget = chosen.budget or USUAL_BUDGET[device_kind(local_device(chosen.device))]
    seconds = parse_budget(budget)
    console.print(f"measuring the first steps, to fit the run into {budget}", highlight=False)
    pace = measure(recipe, budget=seconds, device=chosen.device, launcher=chosen.launcher)
    left = broadcast_object(seconds - (time.monotonic() - chosen.began))
    most = most_steps(recipe, pace.num_images, processes=world_size()) if usual and not chosen.budget else None
    recipe = within(recipe, pace, left, budget=budget, most=most)
    steps = recipe.train_cfg.max_steps or 0
    console.print(
        f"a step of {pace.batch} images takes {pace.step:.3g} s (mean of {pace.steps_timed}), an evaluation "
        f"{pace.evaluation:.1f} s: {steps:,} steps, {steps / pace.steps_per_epoch:,.0f} times each of "
        f"{pace.num_images:,} images, about {clock(steps * pace.step + pace.start + pace.end)} from here; "
        + (f"the end is due {clock(seconds)} after the start" if chosen.budget else "--budget sets another time"),
        highlight=False,
        soft_wrap=True,
    )
    return recipe


def check_data(data: str) -> None:
    """Reject what ``--data`` cannot mean by its own name.

    Raises:
        DataError: if it is a file, but neither a list nor a shard.
    """
    from selfsup.data.sources.entries import LIST_EXTENSIONS

    path = Path(data).expanduser()
    if path.is_file() and path.suffix.lower() not in (*LIST_EXTENSIONS, ".tar"):
        raise DataError.at(
            "--data",
            "must be a folder of images, a list of their paths, or shards",
            got=str(path),
            expected=f"lists end in {', '.join(LIST_EXTENSIONS)}, shards in .tar",
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


def placed(recipe: Recipe, chosen: argparse.Namespace, *, config: str | None = None) -> Recipe:
    """The recipe with its work dir and what it is called decided; ``config`` is the command's unless it is given."""
    config = config or chosen.config
    default = recipe.work_dir or str(Path("work_dirs", find_config(config).stem))
    if chosen.config is None:
        default = recipe.work_dir or str(Path("work_dirs", images_name(chosen.data)))
    name = recipe.recipe or config_name(config)
    return replace(recipe, work_dir=str(Path(chosen.work_dir or default).expanduser()), recipe=name)


def stored_config(chosen: argparse.Namespace) -> Path | None:
    """The config that a run to be resumed has stored, where it counts: its length was fitted to a time, or chosen.

    Raises:
        ConfigError: if the command names neither a config nor images nor a run.
    """
    work_dir = chosen.work_dir and Path(chosen.work_dir)
    if chosen.config is None and chosen.data is None and not (chosen.resume and work_dir):
        raise ConfigError.at(
            "CONFIG", "name one, or images with --data", expected="`selfsup configs` lists those that ship"
        )
    if not chosen.resume:
        return None
    if work_dir is None:
        work_dir = Path("work_dirs", find_config(chosen.config).stem if chosen.config else images_name(chosen.data))
    stored = work_dir / "config.py"
    if not stored.is_file() or (chosen.config and find_config(chosen.config) == stored.resolve()):
        return None
    return stored if chosen.config is None or load_config(stored).budget is not None else None


def chosen_for(chosen: argparse.Namespace, processes: int) -> Choice:
    """The recipe that fits the images of ``--data`` and the device."""
    from selfsup.ops.launch import local_device

    check_data(chosen.data)
    labels = None if chosen.labels == "none" else chosen.labels or "auto"
    found = look(chosen.data, labels=labels, groups=chosen.groups)
    return choose(found, device_kind(local_device(chosen.device)), processes=processes)


def resume_command(argv: Sequence[str], launcher: str) -> str:
    """The command that resumes where this one stopped."""
    name = Path(argv[0]).name
    program = ["selfsup"] if name == "selfsup" else ["-m", "selfsup"] if name == "__main__.py" else [argv[0]]
    program = [*launch_command(launcher, python=name != "selfsup"), *program]
    words = [word for word in argv[1:] if word != "--resume"]
    return shlex.join([*program, *words, "--resume"])
