"""What is done in cells: pretraining, training with labels, evaluating. Recipes go to the engine, rows come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from selfsup.config import Recipe
from selfsup.engine.logging.lines import open_log
from selfsup.engine.runner import Runner
from selfsup.evaluation import Classifier, Fusion, Representation, Result, Task
from selfsup.evaluation.battery import evaluate_rows
from selfsup.evaluation.build import build_evaluators, run_contract
from selfsup.evaluation.evaluator import predictions_of
from selfsup.evaluation.opening import open_representation
from selfsup.evaluation.rows import Row
from selfsup.evaluation.scores import classification_scores
from selfsup.ops.dist import rank
from selfsup.ops.launch import local_device
from selfsup.registry import METHODS, TASKS, TRANSFORMS
from selfsup.studies.cells import Output
from selfsup.weights.checkpoint import checkpoint_file

RUN, ROWS, CLASSIFIER = "run", "results.jsonl", "classifier"


class QuietRunner(Runner):
    """A run whose lines go to its file alone: a study says a line a cell."""

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> Any:
        """Nothing on the terminal."""
        file = log_file or Path(self._log_dir) / f"rank{rank()}.log"
        return open_log(self.experiment_name, level=log_level, file=file, to_terminal=False)


@dataclass(frozen=True)
class Weights:
    """Weights that are there: a work dir, a file with a card, or ``timm:NAME``."""

    spec: str

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        """Nothing but saying which."""
        return {"weights": self.spec}


@dataclass(frozen=True)
class Pretrain:
    """Train as a recipe says; what is left is the backbone, with its card, and the last checkpoint.

    Args:
        recipe: whole, as plain data, without a work dir.
    """

    recipe: Mapping[str, Any]

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        """Train, or resume what a killed attempt has saved: the result is the same bit by bit."""
        QuietRunner(Recipe.of({**self.recipe, "work_dir": str(folder / RUN)}), resume=True).train()
        return {"weights": RUN}


@dataclass(frozen=True)
class Train:
    """Train a classifier, from scratch or from the ``weights`` it needs, and score it on the task's test images.

    Args:
        recipe: of a :class:`~selfsup.methods.Supervised`, whole, as plain data, without a work dir.
        task: whose test images count; nothing is chosen.
        name: of the task.
    """

    recipe: Mapping[str, Any]
    task: Mapping[str, Any]
    name: str = "task"

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        """Train, or resume, and score."""
        recipe = {**self.recipe, "work_dir": str(folder / RUN)}
        if inputs:
            recipe["load_from"] = str(checkpoint_file(weights_of(inputs["weights"])))
        runner = QuietRunner(Recipe.of(recipe), resume=True)
        method: Any = runner.train().eval()
        views = TRANSFORMS.build(dict(runner.recipe.train_dataloader.views))
        classifier = Classifier(
            method.backbone,
            run_contract(runner.recipe.input_contract, method, views),
            head=nn.Sequential(*(part for part in (method.neck, method.classifier) if part is not None)),
            classes=runner.train_images.classes,
            name=self.name,
        )
        rows = evaluate_rows(
            classifier, {self.name: task_of(self.task, self.name)}, {CLASSIFIER: OwnHead()}, results=folder / ROWS
        )
        return {"weights": RUN, **kept(rows)}


class OwnHead:
    """A classifier as it is: nothing is learned any more."""

    protocol = "classifier/1"
    needs = frozenset({"labels"})

    def evaluate(self, representation: Any, task: Task) -> Result:
        """Scores on the test images; a class that the classifier does not know counts as wrong."""
        test = task.parts.test
        found = representation.features(test)
        logits = representation.logits(test)
        order = [list(representation.classes).index(name) for name in test.classes if name in representation.classes]
        full = logits.new_full((len(logits), len(test.classes)), -float("inf"))
        known = [number for number, name in enumerate(test.classes) if name in representation.classes]
        full[:, known] = logits[:, order]
        predictions = predictions_of(full, found)
        return Result(classification_scores(predictions), predictions)


@dataclass(frozen=True)
class Evaluate:
    """Evaluate frozen weights, or several of them fused, on a task.

    Args:
        task: a dict of TASKS.
        evaluators: by name, as in a config.
        name: of the task.
        scaling: of a fusion, see :class:`~selfsup.evaluation.Fusion`.
    """

    task: Mapping[str, Any]
    evaluators: Mapping[str, Any]
    name: str = "task"
    scaling: str = "none"

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        """Scores of what is needed; features lie in the study's folder, for all cells with these weights."""
        cache = folder.parents[1] / "features"
        opened = [open_representation(weights_of(each), name=name, cache=cache) for name, each in inputs.items()]
        return self.scores(opened[0] if len(opened) == 1 else Fusion(*opened, scaling=self.scaling), folder)  # type: ignore[arg-type]

    def scores(self, representation: Representation, folder: Path | None) -> dict[str, Any]:
        """What is kept of the rows of a representation, which are written to a folder."""
        evaluators, _ = build_evaluators({name: dict(each) for name, each in self.evaluators.items()})
        task = task_of(self.task, self.name)
        rows = evaluate_rows(
            representation, {self.name: task}, evaluators, results=folder and folder / ROWS, note=lambda line: None
        )
        return kept(rows)


@dataclass(frozen=True)
class Untrained:
    """Evaluate the network of a recipe as it is at first: what pretraining must beat.

    Args:
        recipe: whole, as plain data; its seed gives the weights.
        task: a dict of TASKS.
        evaluators: by name, as in a config.
        name: of the task.
    """

    recipe: Mapping[str, Any]
    task: Mapping[str, Any]
    evaluators: Mapping[str, Any]
    name: str = "task"

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        """Scores of random features."""
        return self.scores(folder)

    def scores(self, folder: Path | None) -> dict[str, Any]:
        """What is kept of the rows, which are written to a folder."""
        recipe = Recipe.of(self.recipe)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(recipe.seed)
            method: Any = METHODS.build(recipe.model)
        contract = run_contract(recipe.input_contract, method, TRANSFORMS.build(dict(recipe.train_dataloader.views)))
        network = Representation(method.backbone.eval().to(local_device(None)), contract, name="untrained")
        return Evaluate(self.task, self.evaluators, self.name).scores(network, folder)


def task_of(section: Mapping[str, Any], name: str) -> Task:
    """The task of a dict."""
    task: Task = TASKS.build({"name": name, **section})
    return task


def weights_of(output: Output) -> str:
    """The weights that a cell has left, as :func:`~selfsup.evaluation.opening.open_representation` takes them."""
    spec = str(output.kept["weights"])
    return str(output.folder / spec) if spec == RUN else spec


def kept(rows: list[Row]) -> dict[str, Any]:
    """What a cell keeps of rows: each score with its interval, and what a reader should know."""
    scores = {
        f"{row.evaluator}/{name}": {key: getattr(score, key) for key in ("value", "low", "high", "n", "spread")}
        for row in rows
        for name, score in row.scores.items()
    }
    return {"scores": scores, "notes": [f"{row.evaluator}: {note}" for row in rows for note in row.notes]}
