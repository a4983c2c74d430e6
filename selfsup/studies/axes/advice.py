"""What would help on one's own images: more of them, more detail, more labels, longer training; and what pays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.evaluation.scores import proportion
from selfsup.studies.axes.axis import AXES, CHOOSE, Axis
from selfsup.studies.cells import Cell, Output
from selfsup.studies.claims import Claim, Verdict, ahead
from selfsup.studies.recipes import Base, classifier_of, images_of, recipe_of
from selfsup.studies.works import Weights, task_of

MATTERS = 0.02
"""A gain whose interval lies below two points is called none."""
BARELY = 0.05
"""Labels that lift a classifier less than this above guessing are doubtful."""
WHOLE = {"what": "all images", "labels": "100 %"}


@dataclass(frozen=True)
class Chance:
    """The score of always saying the class that is most frequent among the training images."""

    task: Mapping[str, Any]
    name: str = "task"

    def run(self, folder: Path, inputs: Mapping[str, Output]) -> Mapping[str, Any]:
        """Count."""
        parts = task_of(self.task, self.name).parts
        most = int(np.bincount(np.asarray(parts.train.labels)).argmax())
        score = proportion(np.asarray(parts.test.labels) == most)
        return {"scores": {"chance/top1": {"value": score.value, "low": score.low, "high": score.high, "n": score.n}}}


@dataclass(frozen=True)
class Question:
    """Something a practitioner asks, and the claim that answers it.

    Args:
        asks: the question.
        claim: whose sentence says what was compared.
        yes: the answer where it holds.
        no: the answer where the gain is none, or a loss.
        matters: the gain that the interval must stay below for that answer.
    """

    asks: str
    claim: Claim
    yes: str
    no: str
    matters: float = MATTERS

    def answer(self, found: Verdict) -> str:
        """In Markdown, with the interval."""
        if found.value is None:
            return f"**{self.asks}** Not measured yet."
        if found.high is not None and found.high < self.matters:
            said = self.no
        elif found.word == "holds":
            said = self.yes
        else:
            said = "Cannot tell from these images and runs."
        return f"**{self.asks}** {said} ({self.claim.words}: {found.detail})"


@AXES.register_module()
@dataclass(frozen=True, kw_only=True)
class Advice(Axis):
    """Small proxies of the axes, on one folder of labelled images.

    Args:
        base: the self-supervised recipe.
        images: the training part, with labels.
        num_images: how many they are.
        num_classes: C.
        steps: of each training.
        off_the_shelf: weights to compare with, such as ``timm:resnet18``.
        others: images of another source, without labels; half of the own ones are replaced by as many of them.
        others_name: what they are called.
        num_others: how many they are.
        added: whether it is also tried what all of them bring when they are added.
    """

    base: Base
    images: Mapping[str, Any]
    num_images: int
    num_classes: int
    steps: int = 300
    off_the_shelf: Sequence[str] = field(default_factory=tuple)
    others: Mapping[str, Any] | None = None
    others_name: str = "other images"
    num_others: int = 0
    added: bool = False

    @property
    def label_counts(self) -> dict[str, int]:
        """1 %, 10 %, half and all of the labels, as far as there are two for each class."""
        shares = {"1 %": 0.01, "10 %": 0.1, "50 %": 0.5, "100 %": 1.0}
        counts = {name: round(share * self.num_images) for name, share in shares.items()}
        return {name: count for name, count in counts.items() if count >= 2 * self.num_classes or name == "100 %"}

    def __call__(self, seed: int) -> Sequence[Cell]:
        """What tells most first."""
        return list(self._cells(seed))

    def _changes(self, factor: int = 1) -> dict[str, Any]:
        return {"train_cfg.max_steps": factor * self.steps, "param_scheduler.warmup_steps": factor * self.steps // 10}

    def _cells(self, seed: int) -> Iterator[Cell]:
        def pretrain(name: str, images: Mapping[str, Any], *, factor: int = 1) -> Cell:
            return self.pretrain(name, self.base, self._changes(factor), images=images, seed=seed)

        def linear(name: str, weights: Cell, *, labels: str = "100 %", task: Mapping[str, Any] | None = None) -> Cell:
            given = {**(task or self.task), "max_train": self.label_counts[labels], "val": CHOOSE}
            about = {"what": name, "labels": labels}
            return self.evaluate(f"{name}/{labels} labels", {"weights": weights}, about, task=given, seed=seed)

        yield Cell(f"chance/seed{seed}", Chance(self.task, self.task_name), factors={"what": "chance"}, seed=seed)
        whole = pretrain("all images", self.images)
        for labels in reversed(self.label_counts):
            yield linear("all images", whole, labels=labels)
        yield linear("half of the images", pretrain("half of the images", images_of(self.images, 0.5)))
        recipe = recipe_of(self.base, images=self.images, seed=seed)
        for labels, count in self.label_counts.items():
            classifier = classifier_of(
                recipe,
                images=self.images,
                count=None if labels == "100 %" else count,
                num_classes=self.num_classes,
                steps=self.steps,
            )
            about = {"what": "scratch", "labels": labels}
            yield self.train(f"scratch/{labels} labels", classifier, about, weights=None, seed=seed)
        yield linear("coarse", pretrain("coarse", _coarse(self.images)), task=self._coarse_task())
        yield linear("twice as long", pretrain("twice as long", self.images, factor=2))
        if self.others is not None:
            foreign = min(self.num_others, self.num_images // 2)
            mixed = [images_of(self.images, self.num_images - foreign), images_of(self.others, foreign)]
            yield linear("half others", pretrain("half others", {"type": "Pooled", "datasets": mixed}))
            if self.added:
                every = {"type": "Pooled", "datasets": [dict(self.images), dict(self.others)]}
                yield linear("others added", pretrain("others added", every))
        for spec in self.off_the_shelf:
            yield linear(spec, Cell(f"weights/{spec}", Weights(spec)))

    def _coarse_task(self) -> dict[str, Any]:
        return {**self.task, **{part: _coarse(self.task[part]) for part in ("train", "val", "test")}}

    def questions(self) -> list[Question]:
        """All of them."""
        guessing = ahead(
            "a classifier on frozen features beats guessing", WHOLE, {"what": "chance"}, self.score, "chance/top1"
        )
        no = "No, or barely: look at the labels before anything else."
        asked = [
            Question("Do the images show what the labels say?", guessing, "Yes.", no, BARELY),
            self._asked(
                "Would more images help?",
                "all images beat half of them in pretraining",
                (WHOLE, _what("half of the images")),
                "Probably: going from half of them to all still gained.",
                "Hardly: half of them did as well.",
            ),
            self._asked(
                "Would more detail help?",
                "images as they are beat those of half the resolution",
                (WHOLE, _what("coarse")),
                "Detail matters: at half the resolution accuracy falls, so sharper images may help too.",
                "Hardly: at half the resolution it works as well.",
            ),
            self._asked(
                "Would longer training help?",
                "twice as many steps beat these",
                (_what("twice as long"), WHOLE),
                "Yes: twice as many steps gained.",
                "Hardly: twice as many steps gained nothing.",
            ),
        ]
        return [*asked, *self._about_others(), *self._about_labels(), *self._about_weights()]

    def _about_others(self) -> Iterator[Question]:
        if self.others is not None:
            yield self._asked(
                "Does it matter which images are pretrained on?",
                f"these images beat as many of which half are {self.others_name}",
                (WHOLE, _what("half others")),
                "Yes: more images should be of the same kind.",
                "Hardly: with half of them replaced it works as well, so images of another kind do no harm.",
            )
        if self.added:
            yield self._asked(
                "Would other images help?",
                f"these images with {self.others_name} added beat these alone",
                (_what("others added"), WHOLE),
                "Yes: they gained.",
                "Hardly: they gained nothing.",
            )

    def _about_labels(self) -> Iterator[Question]:
        if "50 %" in self.label_counts:
            yield self._asked(
                "Would more labels help?",
                "all labels beat half of them",
                (WHOLE, WHOLE | {"labels": "50 %"}),
                "Probably: going from half of them to all still gained.",
                "Hardly: half of them did as well.",
            )
        for labels in self.label_counts:
            here = {"labels": labels}
            compared = ahead(
                f"with {labels} of the labels, a linear classifier on pretrained features beats training from scratch",
                here | {"what": "all images"},
                here | {"what": "scratch"},
                self.score,
                self.own_score,
            )
            asks = f"Does pretraining pay with {labels} of the labels?"
            yield Question(asks, compared, "Yes.", "Not in runs this short.")

    def _about_weights(self) -> Iterator[Question]:
        for spec in self.off_the_shelf:
            yield self._asked(
                f"Are weights off the shelf ({spec}) better?",
                f"{spec} beats pretraining on these images",
                (_what(spec), WHOLE),
                "Yes: start from them.",
                "No: hardly better than your own pretraining, or worse.",
            )

    def _asked(
        self, asks: str, words: str, compared: tuple[Mapping[str, Any], Mapping[str, Any]], yes: str, no: str
    ) -> Question:
        return Question(asks, ahead(words, *compared, self.score), yes, no)

    def claims(self) -> Sequence[Claim]:
        """Those that answer the questions."""
        return [question.claim for question in self.questions()]


def _what(name: str) -> dict[str, str]:
    """Factors of what is evaluated with all labels."""
    return WHOLE | {"what": name}


def _coarse(images: Mapping[str, Any]) -> dict[str, Any]:
    """Images of half the resolution, as large as before."""
    return {
        "type": "Corrupted",
        "source": dict(images),
        "corruption": {"type": "LowResolution", "factor": 2, "up": "bilinear"},
    }


def advice_page(axis: Advice, verdicts: Sequence[Verdict], name: str) -> str:
    """The answers, in Markdown."""
    answers = [question.answer(found) for question, found in zip(axis.questions(), verdicts, strict=True)]
    notes = (
        f"{axis.num_images:,} images to train on, {axis.num_classes} classes; trainings of {axis.steps} steps. These "
        "are short proxies: they say in which direction things go, not how far. Intervals are 95 %, over seeds and "
        f"test images; a gain surely below {100 * MATTERS:g} points is called none. No test image was in any training."
    )
    return "\n".join([f"# Advice on {name}", "", *(f"- {answer}" for answer in answers), "", notes, ""])
