"""What every transfer does: write a recipe, hand it to the engine, and leave a classifier with its test row."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from selfsup.config import Recipe, dump_config, load_config
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
from selfsup.ops.dist import Launcher, is_main
from selfsup.ops.files import write_record
from selfsup.ops.parts import class_name
from selfsup.transfer.classifier import MODEL, save_classifier
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.weights.card import made_by, weights_card
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.digest import digest_of
from selfsup.weights.load import load_checkpoint

RESULTS = "results.jsonl"
REQUEST = "transfer.json"
"""What was asked for, in the work dir: the same request resumes."""


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
        fit: Callable[[Recipe], Recipe] | None = None,
    ) -> Transferred:
        """Train, or resume what an earlier call with the same arguments began, and evaluate on the test images.

        Args:
            start: the weights.
            data: the images.
            work_dir: where everything goes.
            device, launcher: as of the :class:`~selfsup.engine.runner.Runner`.
            fit: changes the recipe of a new run before it begins, such as its length to a time; that of a run which is
                resumed is the one that it stored.

        Raises:
            DataError: if the images cannot be learned from, before any training.
        """
        data.check()
        folder = Path(work_dir)
        recipe = replace(self.recipe(start, data), work_dir=str(folder))
        request = _request(recipe, start)
        stored = folder / "config.py"
        same = _read_request(folder) == request and stored.is_file() and bool(list_checkpoints(folder))
        if same:
            recipe = replace(load_config(stored), work_dir=str(folder))
        elif fit is not None:
            recipe = replace(fit(recipe), work_dir=str(folder))
        runner = Runner(recipe, resume=same, device=device, launcher=launcher)
        if is_main():
            write_record(folder / REQUEST, json.dumps(request) + "\n")
        runner.train()
        return _finished(runner, data, start, about=self.about())

    def about(self) -> dict[str, Any]:
        """What the row says of the training beside the recipe."""
        return {"transfer": self.name}


def _request(recipe: Recipe, start: Start) -> dict[str, Any]:
    plain = json.loads(json.dumps({"recipe": dump_config(replace(recipe, work_dir=None))}))
    return {**plain, "weights": None if start.file is None else digest_of(start.file)}


def _read_request(folder: Path) -> Any:
    path = folder / REQUEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _finished(runner: Runner, data: Labelled, start: Start, *, about: Mapping[str, Any]) -> Transferred:
    """The classifier of the chosen step, as a file, and its row."""
    folder, method, recipe = Path(str(runner.recipe.work_dir)), runner.method, runner.recipe
    best = best_checkpoint(folder)
    step = runner.total_steps
    if best is not None:
        kept = Checkpoint.read(best)
        load_checkpoint(method, kept)
        step = kept.step or step
    method.eval()
    parts: Any = method
    classifier = Classifier(
        parts.representation,
        runner.input_contract,
        head=parts.head.eval(),
        classes=data.classes,
        name=f"{about['transfer']} of {start.spec}",
    )
    known = {
        **about,
        "method": class_name(method),
        "step": step,
        "chosen_by": "val" if best is not None else "last step",
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
        recipe.model["backbone"], parts.representation, input_contract=runner.input_contract, step=step, **made
    )
    card |= {
        "classes": data.classes,
        "neck": recipe.model.get("neck"),
        "chosen_by": known["chosen_by"],
        "val": read_scores(folder).get(step),
        "test": {name: _plain(score) for row in rows for name, score in row.scores.items()},
        "test_images": rows[0].task["images"].get("test") if rows else None,
    }
    if is_main():
        save_classifier(parts.representation, parts.head, folder / MODEL, card)
    predictions = read_predictions(folder / RESULTS, rows[0]) if rows else None
    return Transferred(classifier, rows, predictions, step, folder, method)


def _plain(score: Any) -> dict[str, Any]:
    return {name: getattr(score, name) for name in ("value", "low", "high", "n")}


def _batch_norm(recipe: Recipe, method: nn.Module) -> str:
    """How batch norm was treated, for the row."""
    if not any("BatchNorm" in type(module).__name__ for module in method.modules()):
        return "none"
    if recipe.model.get("batch_norm") == "frozen" or recipe.model.get("frozen_stages") == 4:
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


def batch_for(images: int, most: int) -> int:
    """The largest power of two that two batches of fit into the images, at most ``most``.

    Raises:
        DataError: if there are too few images.
    """
    fitting = 1 << max(0, (images // 2).bit_length() - 1)
    if images < 4:
        raise DataError.at("train", "too few images to learn from", got=images, expected="at least 4")
    return min(most, fitting)
