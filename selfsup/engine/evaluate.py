"""The scores of a finished checkpoint on the test images of its tasks."""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from selfsup.config import Recipe, dist_timeout
from selfsup.data.input_contract import InputContract
from selfsup.data.splits import Split
from selfsup.engine.distributed import build_on_main, shard, sharding_of
from selfsup.engine.splits import doubt_about_test, run_split
from selfsup.engine.start import load_method
from selfsup.engine.work_dir import work_dir_of
from selfsup.errors import SelfsupError, under
from selfsup.evaluation.baselines import ImageStatistics
from selfsup.evaluation.battery import evaluate_rows
from selfsup.evaluation.build import build_evaluators, build_tasks, method_representation, run_contract
from selfsup.evaluation.detection import DetectionAP
from selfsup.evaluation.head import Head
from selfsup.evaluation.leaks import find_leaks
from selfsup.evaluation.representation import Classifier, Representation
from selfsup.evaluation.rows import Row
from selfsup.evaluation.scores import Score
from selfsup.ops.dist import from_main, is_main
from selfsup.ops.kernels import choose_kernels
from selfsup.ops.launch import Launcher, init_process_group, local_device
from selfsup.ops.memory import tune_allocator
from selfsup.registry import DATASETS, METHODS, TRANSFORMS
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.read import read_weights


def evaluate(
    recipe: Recipe | Mapping[str, Any],
    checkpoint: str | Path,
    *,
    device: str | None = None,
    launcher: Launcher | None = None,
    results: Path | None = None,
    baselines: bool = False,
    flips: bool = False,
    note: Callable[[str], object] = print,
) -> list[Row]:
    """Run a config's evaluators on the frozen features of a checkpoint, on the test images of its tasks.

    Args:
        recipe: with ``evaluators``.
        checkpoint: a training checkpoint of the same model, or an exported backbone.
        device, launcher: as of the :class:`~selfsup.engine.runner.Runner`.
        results: the file that rows are appended to; one that is there already is not computed again.
        baselines: whether hand-made image statistics and the untrained network are evaluated too, and copies of test
            images among a task's training images are looked for.
        flips: whether features are those of an image and its mirror image, averaged.
        note: told what a reader should know: evaluators that are left out, test images that were trained on.

    Returns:
        A row for each evaluator and task that it fits, then those of the baselines; the same in every process.

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
    evaluators, only = build_evaluators(recipe.evaluators)
    method.classes = classes = _classes(recipe, evaluators, note)
    representation = method_representation(
        method, contract, classes=classes, name=recipe.recipe or type(method).__name__, layer=recipe.layer, flips=flips
    )
    about: dict[str, Any] = {"method": type(method).__name__, "step": step}
    leaks = {}
    for task in (each for whole in tasks.values() for each in whole.tests()) if baselines else ():
        leaks[task.name] = from_main(functools.partial(find_leaks, task))
        for line in leaks[task.name].lines():
            note(line)
    rows = []
    for evaluated, some in _by_head(method, representation, evaluators):
        meant = {name: its for name in some if (its := only.get(name) or only.get(name.partition("/")[0]))}
        rows += evaluate_rows(evaluated, tasks, some, only=meant, leaks=leaks, results=results, about=about, note=note)
    if baselines:
        frozen = {name: each for name, each in evaluators.items() if not isinstance(each, Head | DetectionAP)}
        meant = {name: task for name, task in only.items() if name in frozen}
        for each in _baselines(recipe, contract, where, flips=flips):
            rows += evaluate_rows(
                each, tasks, frozen, only=meant, leaks=leaks, results=results, about={"baseline": True}, note=note
            )
    return rows


def _classes(recipe: Recipe, evaluators: Mapping[str, Any], note: Callable[[str], object]) -> Sequence[str] | None:
    """Names of the classes of the training images, where an evaluator goes by them: a head cannot do without."""
    heads, detects = (any(isinstance(each, kind) for each in evaluators.values()) for kind in (Head, DetectionAP))
    if not heads and not detects:
        return None
    try:
        with under("train_dataloader.dataset"):
            return getattr(DATASETS.build(recipe.train_dataloader.dataset), "classes", None)
    except SelfsupError as error:
        if heads:
            raise
        note(f"classes are taken in the order of the test images, for those of the training are not there: {error}")
        return None


def _baselines(
    recipe: Recipe, contract: InputContract, device: torch.device, *, flips: bool
) -> Iterator[Representation]:
    """What needs no training, shown the same images."""
    yield Representation(ImageStatistics().to(device), contract, name="image statistics", flips=flips)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        untrained = METHODS.build(recipe.model)
    untrained = untrained.to(device).eval()
    yield method_representation(untrained, contract, name="untrained", layer=recipe.layer, flips=flips)


def _by_head(
    method: Any, representation: Representation, evaluators: Mapping[str, Any]
) -> Iterator[tuple[Representation, Mapping[str, Any]]]:
    """What is evaluated by what: of a method with several heads each by itself, ``evaluator/layer``."""
    layers = getattr(method, "head_layers", None)
    by_head = {name: each for name, each in evaluators.items() if isinstance(each, Head)}
    if layers is None or list(layers) == [representation.layer] or not isinstance(representation, Classifier):
        yield representation, evaluators
        return
    yield representation, {name: each for name, each in evaluators.items() if name not in by_head}
    at = dict(zip(layers, representation.at_layers(layers), strict=True))
    for number, layer in enumerate(layers):
        one = copy.copy(at[layer])
        one.__dict__.pop("fingerprint", None)
        one.head = method.heads[number]  # type: ignore[attr-defined]
        label = layer if layers.count(layer) == 1 else f"{layer}.{number}"
        yield one, {f"{name}/{label}": each for name, each in by_head.items()}


def metrics(rows: list[Row], *, tasks: int) -> dict[str, Score]:
    """Scores by ``evaluator/score``, or ``task/evaluator/score`` where there are several tasks."""
    return {
        f"{row.task['name'] + '/' if tasks > 1 else ''}{row.evaluator}/{name}": score
        for row in rows
        if not row.representation.get("baseline")
        for name, score in row.scores.items()
    }


def _built(recipe: Recipe, device: Any) -> Any:
    """The method on the device, split over the processes where the config says so."""
    if sharding := sharding_of(recipe):
        method = build_on_main(lambda: METHODS.build(recipe.model))
        return shard(method, device, min_parameters=sharding.min_parameters, copies=sharding.copies)
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
