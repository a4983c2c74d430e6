"""What every axis shares: which images, which task, which score counts; and what its figures show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from selfsup.errors import ConfigError
from selfsup.registry import Registry
from selfsup.studies.cells import Cell
from selfsup.studies.claims import Claim
from selfsup.studies.recipes import Base, images_of, recipe_of
from selfsup.studies.works import CLASSIFIER, Evaluate, Pretrain, Train, Untrained

AXES = Registry("axis of studies", methods=("claims",), locations=("selfsup.studies",))

LINEAR: Mapping[str, Any] = {"linear": {"type": "LinearProbe"}}
CHOOSE = 0.2
"""Of so many labels as a cell has, this share chooses hyper-parameters; the classifier then learns from all of them."""


def shown(count: float | None) -> str:
    """A number of images, or a share of them."""
    return "all" if count is None or count == 1.0 else f"{count:g}" if count < 1 else f"{int(count):,}"


def by_size(count: float) -> float:
    """What to sort by: shares below whole numbers, all of them last."""
    return float("inf") if isinstance(count, float) and count == 1.0 else count


@dataclass(frozen=True)
class Figure:
    """What a picture shows: a score over one factor, a line for each value of another; or a matrix of both.

    Args:
        name: of its file.
        title: heading.
        kind: ``'lines'`` or ``'matrix'``.
        x: the factor along the horizontal axis.
        series: the factor of the lines, or of the matrix's rows; several are joined.
        scores: names of scores, the first that a cell has counts.
        where: factors that cells must have.
        order: of places along the horizontal axis; others follow as they come.
        published: numbers that a paper reports, drawn beside ours: ``x``, ``series`` and ``value`` each.
        source: of these.
    """

    name: str
    title: str
    kind: Literal["lines", "matrix"]
    x: str
    series: tuple[str, ...]
    scores: tuple[str, ...]
    where: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    published: Sequence[Mapping[str, Any]] = ()
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Cells of one kind for a seed, what they may show, and how they are drawn.

    Args:
        task: what is evaluated, a dict of TASKS.
        task_name: what tables call it.
        evaluators: by name, as in a config.
        score: what counts of them, ``EVALUATOR/METRIC``.
        published: numbers of the paper, see :class:`Figure`.
        source: of these.
    """

    task: Mapping[str, Any]
    task_name: str = "task"
    evaluators: Mapping[str, Any] = field(default_factory=lambda: dict(LINEAR))
    score: str = "linear/top1"
    published: Sequence[Mapping[str, Any]] = ()
    source: str = ""

    def __call__(self, seed: int) -> Sequence[Cell]:
        """The cells of a seed, the cheapest information first."""
        raise NotImplementedError

    def claims(self) -> Sequence[Claim]:
        """What the axis may show."""
        return ()

    def figures(self) -> Sequence[Figure]:
        """How it is drawn."""
        return ()

    @property
    def metric(self) -> str:
        """Of the score, such as ``'top1'``."""
        return self.score.rpartition("/")[2]

    @property
    def own_score(self) -> str:
        """The same metric of a classifier that was trained as a whole."""
        return f"{CLASSIFIER}/{self.metric}"

    def to_learn_from(self, labelled: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The labelled images of a classifier: those that an axis names, or else the task's."""
        if (found := labelled or self.task.get("train")) is None:
            raise ConfigError.at("labelled", "must be given where the task names no training images of its own")
        return found

    def with_labels(self, labels: float | None) -> Mapping[str, Any]:
        """The task with some of its labels: a number of them, a share as a fraction, or None for all.

        A fifth of them choose, so that a classifier on frozen features has no more labels than one that is trained as
        a whole.
        """
        if labels in (None, 1.0):
            return self.task
        if isinstance(labels, int):
            return {**self.task, "max_train": labels, "val": CHOOSE}
        if "train" not in self.task:
            raise ConfigError.at("labels", "a share needs a task with training images of its own", expected="a number")
        return {**self.task, "train": images_of(self.task["train"], labels), "val": CHOOSE}

    def pretrain(
        self, name: str, base: Base, *changes: Mapping[str, Any], images: Any, count: float | None = None, seed: int
    ) -> Cell:
        """A cell of pretraining, on some of the images."""
        chosen = None if images is None else images_of(images, count)
        return Cell(
            f"pretrain/{name}/seed{seed}", Pretrain(recipe_of(base, *changes, images=chosen, seed=seed)), seed=seed
        )

    def evaluate(
        self,
        name: str,
        weights: Mapping[str, Cell],
        factors: Mapping[str, Any],
        *,
        seed: int,
        task: Mapping[str, Any] | None = None,
        task_name: str | None = None,
        scaling: str = "none",
        **evaluators: Any,
    ) -> Cell:
        """A cell of evaluation: on the axis's task, with its evaluators, unless others are given."""
        work = Evaluate(task or self.task, evaluators or self.evaluators, task_name or self.task_name, scaling)
        return Cell(f"evaluate/{name}/seed{seed}", work, weights, factors, seed)

    def untrained(
        self,
        name: str,
        base: Base,
        factors: Mapping[str, Any],
        *,
        images: Any,
        seed: int,
        task: Mapping[str, Any] | None = None,
    ) -> Cell:
        """A cell of the same evaluation with the network of a recipe as it is at first."""
        work = Untrained(recipe_of(base, images=images, seed=seed), task or self.task, self.evaluators, self.task_name)
        return Cell(f"untrained/{name}/seed{seed}", work, factors=factors, seed=seed)

    def train(
        self, name: str, recipe: Mapping[str, Any], factors: Mapping[str, Any], *, weights: Cell | None, seed: int
    ) -> Cell:
        """A cell of a classifier, fine-tuned from weights or trained from scratch."""
        needs = {} if weights is None else {"weights": weights}
        return Cell(f"train/{name}/seed{seed}", Train(recipe, self.task, self.task_name), needs, factors, seed)
