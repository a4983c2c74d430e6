"""A run's tasks, evaluators and input contract; and the scores of a finished checkpoint."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from selfsup.config import Recipe, dist_timeout
from selfsup.config.recipe import InputContract as StatedContract
from selfsup.data.input_contract import InputContract
from selfsup.data.selection import Subset
from selfsup.data.splits import Split
from selfsup.data.views.sides import view_side
from selfsup.engine.distributed import build_on_main, shard, sharding_of
from selfsup.engine.splits import doubt_about_test, run_split
from selfsup.engine.start import load_method
from selfsup.engine.work_dir import work_dir_of
from selfsup.errors import under
from selfsup.evaluation.evaluator import evaluate_task, fitting
from selfsup.evaluation.representation import Representation
from selfsup.evaluation.rows import Row, append_row, read_rows, row_of
from selfsup.evaluation.scores import Score
from selfsup.evaluation.task import Task
from selfsup.methods.base import Method
from selfsup.ops.dist import Launcher, broadcast_object, init_process_group, is_main, local_device
from selfsup.ops.kernels import choose_kernels
from selfsup.ops.memory import tune_allocator
from selfsup.registry import DATASETS, EVALUATORS, METHODS, TASKS, TRANSFORMS
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.read import read_weights

OWN = "own"
"""What the task is called that a run makes of its own images."""
SAMPLE = 1000
"""Of images that a run trains on, so many are looked at where none are held out."""


def build_tasks(sections: Mapping[str, Any], images: Any, split: Split | None) -> dict[str, Task]:
    """A run's tasks: those of its config, or else the one that its own images make.

    Args:
        sections: the config's ``tasks``.
        images: the run's own; None if it has tasks, which need none.
        split: of those images; None where all are trained on: some of them are looked at then, by evaluators that need
            no labels.
    """
    if sections:
        tasks = {}
        for name, section in sections.items():
            with under(f"tasks.{name}"):
                tasks[name] = TASKS.build({"name": name, **section}) if isinstance(section, dict) else section
        return tasks
    if split is None:
        return {OWN: Task(OWN, test=Unlabelled(images, count=min(SAMPLE, len(images))))}
    val = split.val if len(split.val) else Task.val
    return {OWN: Task(OWN, train=split.train, val=val, test=split.test)}


class Unlabelled(Subset):
    """Some images of a source, without their labels: a score of labels of images that are trained on would mislead."""

    labels = None
    classes = None


def build_evaluators(sections: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A config's evaluators by name, and for those meant for one task its name.

    Raises:
        ConfigError: if one rejects its arguments.
    """
    evaluators, only = {}, {}
    for name, section in sections.items():
        if section is None:
            continue
        arguments = dict(section)
        if (task := arguments.pop("task", None)) is not None:
            only[name] = task
        with under(f"evaluators.{name}"):
            evaluators[name] = EVALUATORS.build(arguments)
    return evaluators, only


def run_contract(stated: StatedContract, method: Method, views: Any) -> InputContract:
    """How a run's images are shown to its method.

    Args:
        stated: what the recipe states of it.
        method: whose mean and standard deviation count.
        views: the training's view pipeline, whose largest side is the one to show.
    """
    own = {name: tuple(getattr(method.preprocess, name).flatten().tolist()) for name in ("mean", "std")}
    given = {key: value for key, value in asdict(stated).items() if value is not None}
    return InputContract.for_side(0 if "size" in given else view_side(views), **{**own, **given})


def evaluate(
    recipe: Recipe | Mapping[str, Any],
    checkpoint: str | Path,
    *,
    device: str | None = None,
    launcher: Launcher | None = None,
    results: Path | None = None,
    note: Callable[[str], object] = print,
) -> list[Row]:
    """Run a config's evaluators on the frozen features of a checkpoint, on the test images of its tasks.

    Args:
        recipe: with ``evaluators``.
        checkpoint: a training checkpoint of the same model, or an exported backbone.
        device: ``'cpu'``, ``'cuda'``, or None for the GPU where there is one.
        launcher: what started the processes; None to find out.
        results: the file that rows are appended to; one that is there already is not computed again.
        note: told what a reader should know: evaluators that are left out, test images that were trained on.

    Returns:
        A row for each evaluator and task that it fits; the same in every process.

    Raises:
        CheckpointError: if the checkpoint cannot be read or belongs to another model.
    """
    recipe = Recipe.of(recipe)
    init_process_group(launcher, device, timeout=dist_timeout(recipe))
    where = local_device(device)
    if where.type == "cpu":
        tune_allocator(recipe.tune_allocator)
    choose_kernels(where, tf32=False, benchmark=False, deterministic=recipe.deterministic)
    method = _built(recipe, where)
    step = load_method(checkpoint, method)
    method.eval()
    note = note if is_main() else lambda _: None
    tasks = build_tasks(recipe.tasks, *_own_images(recipe, checkpoint, note))
    contract = run_contract(recipe.input_contract, method, TRANSFORMS.build(recipe.train_dataloader.views))
    representation = Representation(method, contract, name=recipe.recipe or type(method).__name__, layer=recipe.layer)
    evaluators, only = build_evaluators(recipe.evaluators)
    known = {row.identity: row for row in broadcast_object(read_rows(results) if results and is_main() else [])}
    rows = []
    for name, task in fitting(tasks, evaluators, only=only, skipped=note):
        row = row_of(representation, task, name, evaluators[name], method=type(method).__name__, step=step)
        if row.identity in known:
            rows.append(known[row.identity])
            continue
        started = time.monotonic()
        row = row.with_result(evaluate_task(representation, task, name, evaluators[name]), time.monotonic() - started)
        if results is not None and is_main():
            append_row(results, row)
        rows.append(row)
    return rows


def metrics(rows: list[Row], *, tasks: int) -> dict[str, Score]:
    """Scores by ``evaluator/score``, or ``task/evaluator/score`` where there are several tasks."""
    return {
        f"{row.task['name'] + '/' if tasks > 1 else ''}{row.evaluator}/{name}": score
        for row in rows
        for name, score in row.scores.items()
    }


def _built(recipe: Recipe, device: Any) -> Any:
    """The method on the device, split over the processes where the config says so."""
    if sharding := sharding_of(recipe):
        method = build_on_main(lambda: METHODS.build(recipe.model))
        return shard(method, device, min_parameters=sharding.min_parameters)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return METHODS.build(recipe.model).to(device).to(memory_format=layout)


def _own_images(recipe: Recipe, checkpoint: str | Path, note: Callable[[str], object]) -> tuple[Any, Split | None]:
    """The run's images and their split; they are not looked for where the recipe has tasks."""
    if recipe.tasks:
        return None, None
    images = DATASETS.build(recipe.train_dataloader.dataset)
    state = Checkpoint.of(read_weights(checkpoint, mapped=True), checkpoint)
    split = run_split(images, recipe, work_dir_of(Path(checkpoint)), state, log=note)
    if (doubt := doubt_about_test(split, state, images, path=checkpoint)) is not None:
        note(doubt)
    return images, split
