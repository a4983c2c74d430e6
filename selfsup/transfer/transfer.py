"""What every transfer does: write a recipe, hand it to the engine, and leave a classifier with its test row."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from selfsup.config import Recipe, plain
from selfsup.data.input_contract import InputContract
from selfsup.engine.hooks.best_step import best_checkpoint, read_scores
from selfsup.engine.runner import Runner
from selfsup.errors import DataError
from selfsup.evaluation.battery import evaluate_rows
from selfsup.evaluation.head import Head
from selfsup.evaluation.representation import Classifier
from selfsup.evaluation.rows import Row, read_predictions
from selfsup.evaluation.scores import Predictions
from selfsup.methods.base import Method
from selfsup.ops.dist import broadcast_object, is_main
from selfsup.ops.launch import Launcher, found_launcher, init_process_group
from selfsup.ops.parts import class_name
from selfsup.planning.budget import clock, measure, parse_budget, within
from selfsup.planning.fits import batch_has_to_fit
from selfsup.transfer.classifier import MODEL, save_classifier
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.weights.card import made_by, weights_card
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.digest import digest_of
from selfsup.weights.load import load_checkpoint

RESULTS = "results.jsonl"
FINISHING = 2
"""Evaluations that the end of a transfer takes: of the test images, and for tables and pictures."""


@dataclass(frozen=True)
class Transferred:
    """What a transfer leaves.

    Args:
        classifier: of the chosen step.
        rows: its scores on the test images; none without test images.
        predictions: for each test image; None without.
        step: that was chosen.
        work_dir: where all of it is.
        method: as it was trained to the end.
    """

    classifier: Classifier
    rows: list[Row]
    predictions: Predictions | None
    step: int
    work_dir: Path
    method: Method

    @property
    def top1(self) -> float:
        """Share of the test images that are named rightly."""
        return self.rows[0].scores["top1"].value


class Transfer:
    """Trains a classifier on labelled images; a subclass writes the recipe."""

    name = "transfer"

    def recipe(self, start: Start, data: Labelled) -> Recipe:
        """The recipe of the run, without its work dir."""
        raise NotImplementedError

    def chosen(self, start: Start, data: Labelled) -> list[str]:
        """What the transfer has decided, and why, a line each."""
        return []

    def run(
        self,
        start: Start,
        data: Labelled,
        *,
        work_dir: str | Path,
        device: str | None = None,
        launcher: Launcher | None = None,
        budget: str | None = None,
        began: float | None = None,
        note: Callable[[str], object] = print,
    ) -> Transferred:
        """Train, or resume what an earlier call with the same arguments began, and evaluate on the test images.

        Args:
            start: the weights.
            data: the images.
            work_dir: where everything goes.
            device, launcher: as of the :class:`~selfsup.engine.runner.Runner`.
            budget: how long it may take, such as ``'5m'``: a new run measures its first steps, and takes no more than
                there is time for; its schedule keeps its shape.
            began: when the budget began to run, by ``time.monotonic()``; None for now.
            note: told what the transfer has decided, and how long what takes.

        Raises:
            DataError: if the images cannot be learned from, before any training.
            ConfigError: if the budget is too short for ten steps, or a batch does not fit into memory.
        """
        began = time.monotonic() if began is None else began
        init_process_group(launcher, device)  # a recipe may depend on how many processes there are
        data.check()
        told = self.chosen(start, data)
        for line in told if is_main() else ():
            note(line)
        folder = Path(work_dir)
        recipe = replace(self.recipe(start, data), work_dir=str(folder))
        earlier = begun(recipe, start, budget)
        if earlier is not None and (steps := earlier.train_cfg.max_steps) != recipe.train_cfg.max_steps:
            note(f"resumes, up to {steps or 0:,} steps: what there was time for when it was begun")
        recipe = recipe if earlier is None else earlier
        with batch_has_to_fit(recipe, device=device, option="--micro-batch"):
            if budget is not None and earlier is None:
                recipe = self._fitted(recipe, budget, began, note=note, device=device, launcher=launcher)
            runner = Runner(recipe, resume=earlier is not None, device=device, launcher=launcher)
            runner.train()
        runner.method.eval()
        settled = self.settle(runner.method, runner, data)
        return _finished(settled, runner, data, start, about=self.about())

    def _fitted(
        self, recipe: Recipe, budget: str, began: float, *, note: Callable[[str], object], **where: Any
    ) -> Recipe:
        """The recipe with as many of its steps as there is time for."""
        seconds, wanted = parse_budget(budget), recipe.train_cfg.max_steps or 0
        launcher = where["launcher"] or found_launcher()
        pace = measure(recipe, budget=seconds, device=where["device"], launcher=launcher)
        left = broadcast_object(seconds - (time.monotonic() - began) - FINISHING * pace.evaluation)
        found = within(recipe, pace, left, budget=budget, most=wanted)
        steps = found.train_cfg.max_steps or 0
        shorter = f" instead of {wanted:,}, the schedule in proportion" if steps < wanted else ""
        note(
            f"a step of {pace.batch} images takes {pace.step:.3g} s: {steps:,} steps{shorter}, about "
            f"{clock(steps * pace.step + pace.start + pace.end)} from here"
        )
        return found

    def settle(self, method: Any, runner: Runner, data: Labelled) -> "Settled":
        """Which weights count: of the best step on ``val`` where they were kept, else of the last."""
        best = best_checkpoint(runner.work_dir)
        if best is None:
            return Settled(method.head, runner.total_steps, "last step")
        kept = Checkpoint.read(best)
        load_checkpoint(method, kept)
        step = kept.step or runner.total_steps
        return Settled(method.head, step, "val", val=read_scores(runner.work_dir)[step])

    def about(self) -> dict[str, Any]:
        """What the row says of the training beside the recipe."""
        return {"transfer": self.name}


def stored(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that can be resumed."""
    found = list_checkpoints(folder)[-1:]
    return Checkpoint.read(found[0], mapped=True) if found else None


def begun(recipe: Recipe, start: Start, budget: str | None) -> Recipe | None:
    """The recipe of the run in a work dir, if it was begun by the same request; its number of steps may be a budget's.

    Args:
        recipe: what is asked for.
        start: the weights.
        budget: of the request.
    """
    saved = stored(Path(str(recipe.work_dir)))
    if saved is None or saved.config is None:
        return None
    known = replace(Recipe.from_dict(saved.config), work_dir=recipe.work_dir, load_from=recipe.load_from)
    weights = None if start.file is None else digest_of(start.file)
    same = _asks_for(recipe, budget) == _asks_for(known, known.budget)
    return known if same and (saved.started_from or {}).get("sha256") == weights else None


def _asks_for(recipe: Recipe, budget: str | None) -> str:
    """What a recipe says, as text, without what is fitted to a budget."""
    told = plain(replace(recipe, work_dir=None, budget=budget).to_dict())
    fitted = () if budget is None else ("train_cfg", "param_scheduler", "default_hooks", "evaluate_every")
    return json.dumps({key: value for key, value in told.items() if key not in fitted}, sort_keys=True, default=str)


@dataclass(frozen=True)
class Settled:
    """What a training has come to.

    Args:
        head: what follows the features, a linear layer last.
        step: of the weights.
        chosen_by: ``'val'`` or ``'last step'``.
        layer: whose features the head takes.
        val: its score there.
        chosen: what else was chosen.
    """

    head: nn.Sequential
    step: int
    chosen_by: str
    layer: str = "pooled"
    val: float | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)


def _finished(
    settled: Settled, runner: Runner, data: Labelled, start: Start, *, about: Mapping[str, Any]
) -> Transferred:
    """The classifier as a file, and its row."""
    folder, method, recipe = Path(str(runner.work_dir)), runner.method, runner.recipe
    classifier = Classifier(
        method.representation,
        runner.input_contract,
        head=settled.head.eval(),
        classes=data.classes,
        name=f"{about['transfer']} of {start.spec}",
        layer=settled.layer,
        cache=folder / "features",  # resumes an evaluation too, and remembers its precision
    )
    known = {
        **about,
        **settled.chosen,
        "method": class_name(method),
        "step": settled.step,
        "chosen_by": settled.chosen_by,
        "images_per_class": data.per_class,
        "batch_norm": _batch_norm(recipe, method),
        "started_from": start.spec,
    }
    rows: list[Row] = []
    if data.test is not None:
        results = folder / RESULTS
        rows = evaluate_rows(classifier, {data.name: data.task()}, {"head": Head()}, results=results, about=known)
    made = made_by(recipe.recipe, class_name(method), runner.started_from)
    card = weights_card(
        recipe.model["backbone"],
        method.representation,
        input_contract=runner.input_contract,
        step=settled.step,
        **made,
    )
    card |= {
        "classes": data.classes,
        "neck": recipe.model.get("neck"),
        "layer": settled.layer,
        "chosen_by": settled.chosen_by,
        "val": settled.val,
        "test": {name: _plain(score) for row in rows for name, score in row.scores.items()},
        "test_images": rows[0].task["images"].get("test") if rows else None,
    }
    if is_main():
        save_classifier(method.representation, settled.head, folder / MODEL, card)
    predictions = read_predictions(folder / RESULTS, rows[0]) if rows else None
    return Transferred(classifier, rows, predictions, settled.step, folder, method)


def _plain(score: Any) -> dict[str, Any]:
    return {name: getattr(score, name) for name in ("value", "low", "high", "n")}


def _batch_norm(recipe: Recipe, method: nn.Module) -> str:
    """How batch norm was treated, for the row."""
    if not any("BatchNorm" in type(module).__name__ for module in method.modules()):
        return "none"
    is_trunk = recipe.model["type"] == "LinearHeads" or recipe.model.get("frozen_stages") == 4
    if is_trunk or recipe.model.get("batch_norm") == "frozen":
        return "frozen"
    return "synchronized" if recipe.sync_bn is not None else "train"


def shown(start: Start, size: int | None) -> InputContract:
    """How images are shown at a side: as the card says, unless the side is another."""
    contract = start.input_contract
    if size is None or size == contract.size:
        return contract
    if contract.resize in ("none", "square"):
        return contract.replace(size=size, resize="square")
    return contract.replace(size=size, resize=f"shorter:{round(size * 256 / 224)}")


def stated(contract: InputContract) -> dict[str, Any]:
    """The fields of an input contract that a recipe states; the method has mean and standard deviation."""
    known = contract.to_dict()
    return {key: known[key] for key in ("size", "resize", "crop", "interpolation", "antialias", "background")}


def accumulated(batch: int, micro_batch: int | None) -> tuple[int, int]:
    """Images at a time on each process, and how many of those make a batch.

    Args:
        batch: images per update of a process.
        micro_batch: images at a time, at the most; None for all of them.
    """
    if micro_batch is None or micro_batch >= batch:
        return batch, 1
    micro = next(size for size in range(micro_batch, 0, -1) if batch % size == 0)
    return micro, batch // micro


def batch_for(images: int, most: int) -> int:
    """The largest power of two that two batches of fit into the images, at most ``most``.

    Raises:
        DataError: if there are too few images.
    """
    fitting = 1 << max(0, (images // 2).bit_length() - 1)
    if images < 4:
        raise DataError.at("train", "too few images to learn from", got=images, expected="at least 4")
    return min(most, fitting)
