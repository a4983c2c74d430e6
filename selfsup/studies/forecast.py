"""How long cells will take: from cells of the same kind that are done, else from first steps, measured once."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from selfsup.config import Recipe
from selfsup.data.sampler import steps_per_epoch
from selfsup.errors import ConfigError, under
from selfsup.evaluation.build import build_evaluators
from selfsup.ops.dist import broadcast_object, is_main, world_size
from selfsup.ops.files import write_record
from selfsup.planning.budget import Pace, measure
from selfsup.registry import DATASETS
from selfsup.studies.cells import DONE, Cell, output_of, plain
from selfsup.studies.works import Evaluate, Pretrain, Train, Untrained, task_of

PACES, PROMISED = "paces.json", "predicted.json"
REHEARSAL = 60.0
"""Seconds of the budget that a rehearsal is told, of which it takes a small share."""
FAR = 4
"""A batch that is more than so many times smaller or larger than the recipe's is said."""
MOST_REHEARSED = 20_000
"""Images of a task that is evaluated for a forecast; for a larger one the first evaluation tells."""


@dataclass
class Forecast:
    """Predicted seconds of cells; what was measured lies in the study's folder.

    Args:
        root: of the study.
        say: told what is measured, a line each.
    """

    root: Path
    say: Callable[[str], object] = print
    _done: dict[str, dict[str, float]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)
    _labelled: dict[str, bool] = field(default_factory=dict)
    _cells: Sequence[Cell] = ()
    _looked: float = 0.0
    _warm: bool = False

    def measure(self, cells: Sequence[Cell]) -> None:
        """Measure the first steps of every kind of cell that nothing is known about; all processes together."""
        self.look(cells)
        known, unknown = self._paces(), dict[str, int]()
        for number, cell in enumerate(cells):
            key = kind_of(cell)
            if key is not None and key not in known and _digest([key, self._amount(cell)]) not in self._done:
                unknown.setdefault(key, number)
        for key, number in broadcast_object(unknown).items():  # what others finish meanwhile must not part them
            found = self._measured(cells[number])
            if found is not None and is_main():
                known[key] = found
                self.root.mkdir(parents=True, exist_ok=True)
                write_record(self.root / PACES, json.dumps(known, indent=1) + "\n")

    def promise(self, cells: Sequence[Cell]) -> None:
        """Keep the first prediction for each cell that is to be done, to be set beside what it will have taken."""
        if not is_main():
            return
        known = promised(self.root)
        fresh = [cell for cell in cells if cell.identity not in known and not (cell.folder(self.root) / DONE).is_file()]
        known |= {cell.identity: seconds for cell in fresh if (seconds := self.seconds(cell))}
        write_record(self.root / PROMISED, json.dumps(known, indent=1) + "\n")

    def check_images(self, cells: Sequence[Cell]) -> None:
        """Build every data set that is trained on, and every task, before anything is trained.

        Raises:
            ConfigError, DataError: naming the cell whose images are not there or too few, or whose evaluators do not
                fit the task.
        """
        fine: set[str] = set()
        for cell in cells:
            if isinstance(cell.work, Pretrain | Train):
                with under(cell.name):
                    self._check_training(cell.work.recipe)
                if (said := _said_of_batch(cell.work.recipe)) and said not in fine:
                    fine.add(said)
                    self.say(f"{cell.name}: {said}")
            if isinstance(cell.work, Evaluate | Untrained):
                work = Evaluate(cell.work.task, cell.work.evaluators, cell.work.name)
                if (key := _digest(plain(work))) not in fine:
                    fine.add(key)
                    with under(cell.name):
                        _check_task(work)

    def _check_training(self, recipe: Mapping[str, Any]) -> None:
        """Reject images that do not fill a batch, and unlabelled ones where labels are learned."""
        loader, path = recipe["train_dataloader"], "train_dataloader.dataset"
        accumulate = recipe["optim_wrapper"].get("accumulative_counts", 1)
        steps_per_epoch(self.num_images(loader["dataset"]), loader["batch_size"], world_size(), accumulate)
        if recipe["model"]["type"] == "Supervised" and not self._labelled[_digest(loader["dataset"])]:
            raise ConfigError.at(
                path, "has no labels, and a classifier learns from them", got=loader["dataset"]["type"]
            )

    def look(self, cells: Sequence[Cell]) -> None:
        """Take note of how long the cells took that are done."""
        self._cells, self._looked = cells, time.monotonic()
        for cell in cells:
            path, key = cell.folder(self.root) / DONE, kind_of(cell)
            if key is not None and path.is_file():
                took = output_of(cell, self.root).seconds
                self._done.setdefault(_digest([key, self._amount(cell)]), {})[cell.identity] = took

    def current(self, cell: Cell) -> float | None:
        """:meth:`seconds`, with what cells have taken that were done since, looked at once a second."""
        if time.monotonic() - self._looked > 1:
            self.look(self._cells)
        return self.seconds(cell)

    def seconds(self, cell: Cell) -> float | None:
        """Of a whole cell; None if nothing is known."""
        key = kind_of(cell)
        if key is None:
            return 0.0
        if took := self._done.get(_digest([key, self._amount(cell)])):
            return mean(took.values())
        pace = self._paces().get(key)
        if pace is None or "steps" in pace:
            return pace and float(pace["seconds"])
        known, steps = Pace(**pace), self._amount(cell)
        saves = math.ceil(steps / known.steps_per_epoch) if known.steps_per_epoch >= 50 else steps / 50
        return known.start + steps * known.step + saves * known.checkpoint + known.end

    def num_images(self, dataset: Any) -> int:
        """Of a data set, which is built for it once."""
        key = _digest(dataset)
        if key not in self._sizes:
            built = DATASETS.build(dataset)
            self._sizes[key], self._labelled[key] = len(built), getattr(built, "labels", None) is not None
        return self._sizes[key]

    def _amount(self, cell: Cell) -> int:
        """Updates of a training; 0 of an evaluation, whose task is part of its kind."""
        if not isinstance(cell.work, Pretrain | Train):
            return 0
        recipe = Recipe.of(cell.work.recipe)
        if recipe.train_cfg.max_steps:
            return recipe.train_cfg.max_steps
        loader = recipe.train_dataloader
        count = self.num_images(loader.dataset)
        assert recipe.train_cfg.max_epochs is not None  # validated: one of the two
        return recipe.train_cfg.max_epochs * steps_per_epoch(count, loader.batch_size, world_size(), recipe.accumulate)

    def _measured(self, cell: Cell) -> dict[str, Any] | None:
        self.say(f"measuring first steps: {cell.name}")
        if isinstance(cell.work, Pretrain | Train):
            recipe = Recipe.of({**cell.work.recipe, "seed": 0})
            if not self._warm:  # the first run of a process pays for what all others find ready
                measure(recipe, budget=REHEARSAL)
                self._warm = True
            return asdict(measure(recipe, budget=REHEARSAL))
        assert isinstance(cell.work, Evaluate | Untrained)
        parts = task_of(cell.work.task, cell.work.name).parts
        if sum(len(part) for part in (parts.train, parts.val, parts.test) if part is not None) > MOST_REHEARSED:
            return None
        return _evaluation(cell)

    def _paces(self) -> dict[str, Any]:
        path = self.root / PACES
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def promised(root: Path) -> dict[str, float]:
    """Seconds that were predicted for cells before they were begun, by identity."""
    path = root / PROMISED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _evaluation(cell: Cell) -> dict[str, Any] | None:
    """What an evaluation takes with weights that are not trained yet."""
    work = cell.work
    recipes = [needed.work.recipe for needed in cell.needs.values() if isinstance(needed.work, Pretrain)]
    if isinstance(work, Evaluate) and recipes:
        work = Untrained(recipes[0], work.task, work.evaluators, work.name)
    if not isinstance(work, Untrained):
        return None
    began = time.monotonic()
    work.scores(None)
    return {"seconds": (time.monotonic() - began) * max(len(cell.needs), 1), "steps": 0}


def _said_of_batch(recipe: Mapping[str, Any]) -> str:
    """What a reader should know of a batch that is far from the one that a recipe's rates are made for."""
    made_for = (recipe.get("auto_scale_lr") or {}).get("base_batch_size")
    accumulate = recipe["optim_wrapper"].get("accumulative_counts", 1)
    batch = recipe["train_dataloader"]["batch_size"] * world_size() * accumulate
    if made_for is None or made_for / FAR <= batch <= made_for * FAR:
        return ""
    processes = "1 process" if world_size() == 1 else f"{world_size()} processes"
    return (
        f"{batch:,} images an update on {processes}, and the learning rate is made for {made_for:,}; for scores like "
        f"the published ones start the study on {-(-made_for * world_size() // batch)} processes (torchrun, srun)"
    )


def _check_task(work: Evaluate) -> None:
    """Reject evaluators that do not fit the task; a battery would leave them out, and the cell would be empty."""
    evaluators, _ = build_evaluators({name: dict(each) for name, each in work.evaluators.items()})
    whole = task_of(work.task, work.name)
    if whole.max_train is not None and (there := len(DATASETS.build(whole.train))) < whole.max_train:
        raise ConfigError.at(
            "task.max_train", "more labels than there are", got=whole.max_train, expected=f"<= {there}"
        )
    if len(tests := whole.tests()) > 1:
        raise ConfigError.at(
            "task.test", "a cell keeps the scores of one test source", got=len(tests), expected="an axis for each"
        )
    for task in tests:
        for name, evaluator in evaluators.items():
            if reason := task.fits(evaluator.needs):
                raise ConfigError.at(
                    f"evaluators.{name}", f"cannot evaluate {task.name}: {reason}", got=evaluator.protocol
                )


def kind_of(cell: Cell) -> str | None:
    """What the pace of a cell depends on; None for a cell that takes no time."""
    work, shared = cell.work, [world_size()] if world_size() > 1 else []
    if isinstance(work, Evaluate):
        networks = [
            each.work.recipe["model"]["backbone"] if isinstance(each.work, Pretrain) else plain(each.work)
            for each in cell.needs.values()
        ]
        return _digest(["evaluate", plain(work), networks, *shared])
    if isinstance(work, Untrained):
        evaluation = Evaluate(work.task, work.evaluators, work.name)
        return _digest(["evaluate", plain(evaluation), [work.recipe["model"]["backbone"]], *shared])
    if not isinstance(work, Pretrain | Train):
        return None
    loader, model = work.recipe["train_dataloader"], work.recipe["model"]
    views = {key: value for key, value in loader["views"].items() if key in ("type", "size", "sizes", "counts")}
    return _digest(
        [model["type"], model.get("backbone"), loader["batch_size"], views, _types(loader["dataset"])]
        + ([work.name, plain(work.task)] if isinstance(work, Train) else [])
        + shared
    )


def _types(dataset: Any) -> list[str]:
    """The types in a nested dict, without what only chooses images."""
    if isinstance(dataset, dict):
        own = [dataset["type"]] if dataset.get("type") not in (None, "Subset") else []
        return own + [each for value in dataset.values() for each in _types(value)]
    return [each for value in dataset for each in _types(value)] if isinstance(dataset, list | tuple) else []


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(plain(value), sort_keys=True).encode(), digest_size=8).hexdigest()
