"""A config's tasks, evaluators and input contract, built."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from selfsup.config.recipe import InputContract as StatedContract
from selfsup.data.input_contract import InputContract
from selfsup.data.selection import Subset
from selfsup.data.splits import Split
from selfsup.data.views.sides import view_side
from selfsup.errors import under
from selfsup.evaluation.representation import Classifier, Representation
from selfsup.evaluation.task import Task
from selfsup.methods.base import Method
from selfsup.registry import EVALUATORS, TASKS

OWN = "own"  # what the task is called that a run makes of its own images
SAMPLE = 1000  # so many images that a run trains on are looked at where none are held out


def build_tasks(sections: Mapping[str, Any], images: Any, split: Split | None) -> dict[str, Task]:
    """A run's tasks: those of its config, or else the one that its own images make.

    Where all images are trained on, because there is no split of them, some are looked at by evaluators that need no
    labels. The images may be None where the config has tasks.
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
    """A config's evaluators by name, and for those meant for one task its name."""
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
    """How a run's images are shown to its method: as the recipe states, else by the method's mean and standard
    deviation and the largest side of the training's view pipeline.
    """
    own = {name: tuple(getattr(method.preprocess, name).flatten().tolist()) for name in ("mean", "std")}
    given = {key: value for key, value in asdict(stated).items() if value is not None}
    return InputContract.for_side(0 if "size" in given else view_side(views), **{**own, **given})


def method_representation(
    method: Method, contract: InputContract, *, classes: Sequence[str] | None = None, **options: Any
) -> Representation:
    """What a method is evaluated as: a classifier, where it has a head and its classes have names."""
    logits = getattr(method, "logits", None)
    if classes is None or logits is None:
        return Representation(method, contract, **options)
    return Classifier(method, contract, head=logits, classes=classes, **options)
