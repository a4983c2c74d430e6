"""What a study may find, as contrasts between cells, and what its rows say about each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from selfsup.evaluation.rows import read_predictions, read_rows
from selfsup.evaluation.scores import Predictions, Z, student_quantile
from selfsup.evaluation.scores.intervals import clustered
from selfsup.studies.cells import Cell, Output

Word = Literal["holds", "the opposite holds", "cannot tell", "not measured"]
Finished = Sequence[tuple[Cell, Output]]
Term = tuple[float, Output, str]
"""A weight, a cell's output and the name of a score."""


@dataclass(frozen=True)
class Claim:
    """A sentence that is true if a weighted sum of scores is above zero.

    Args:
        words: the sentence, such as 'more pretraining images give better features'.
        terms: weights, and the factors of the cells that they belong to: what a cell says of other factors is free,
            but only one cell a seed may fit.
        scores: the name of the score, or of the score of each term.
    """

    words: str
    terms: Sequence[tuple[float, Mapping[str, Any]]]
    scores: str | Sequence[str]

    def named(self) -> list[tuple[float, Mapping[str, Any], str]]:
        """The terms with their scores."""
        scores = [self.scores] * len(self.terms) if isinstance(self.scores, str) else list(self.scores)
        return [(weight, factors, score) for (weight, factors), score in zip(self.terms, scores, strict=True)]


def ahead(words: str, first: Mapping[str, Any], second: Mapping[str, Any], score: str, other: str = "") -> Claim:
    """The claim that one is ahead of another.

    Args:
        words: the sentence.
        first: factors of what is ahead.
        second: factors of what is behind.
        score: the name of the score.
        other: that of the second, where it has another one.
    """
    return Claim(words, [(1.0, first), (-1.0, second)], (score, other or score))


@dataclass(frozen=True)
class Verdict:
    """What the rows say about a claim.

    Args:
        claim: which one.
        word: whether it holds.
        value: the weighted sum, a mean over seeds; None if it was not measured.
        low: lower end of its 95 % interval.
        high: upper end.
        seeds: that have all of its cells.
        images: test images, or groups of them, that the interval counts.
        counted: what they are.
    """

    claim: Claim
    word: Word
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    images: int = 0
    counted: str = "test images"

    @property
    def detail(self) -> str:
        """The difference in points of accuracy, with its interval and what that counts; empty if not measured."""
        if self.value is None:
            return ""
        interval = (
            ""
            if self.low is None or self.high is None
            else f", 95 % interval {100 * self.low + 0.0:+.1f} to {100 * self.high + 0.0:+.1f}"
        )
        seeds = "one seed, so another one may differ by more" if self.seeds == 1 else f"{self.seeds} seeds"
        images = f", {self.images:,} {self.counted}" if self.images else ""
        return f"{100 * self.value + 0.0:+.1f} points{interval}; {seeds}{images}"

    def words(self) -> str:
        """A line for people."""
        return f"{self.claim.words}: **{self.word}**" + (f" ({self.detail})" if self.detail else "")


def verdict(claim: Claim, finished: Finished) -> Verdict:
    """What finished cells say about a claim.

    Each seed gives one weighted sum, and all seeds share the test images, which more seeds therefore do not average
    out. Both are drawn at random: the interval is that of readers and cases, where each reader sees every case.
    """
    runs = []
    for seed in sorted({cell.seed for cell, _ in finished}):
        here = [(cell, output) for cell, output in finished if cell.seed == seed]
        terms = [(weight, fitting(here, factors, score), score) for weight, factors, score in claim.named()]
        if all(output is not None for _, output, _ in terms):
            runs.append([(weight, output, score) for weight, output, score in terms if output is not None])
    if not runs:
        return Verdict(claim, "not measured")
    scores = [[output.kept["scores"][score] for _, output, score in terms] for terms in runs]
    weights = [weight for weight, _, _ in runs[0]]
    values = np.array([[score["value"] for score in each] for each in scores]) @ weights
    images = max(int(score.get("n") or 0) for each in scores for score in each)
    value, count = float(values.mean()), len(values)
    part = _paired_images(runs) or _independent_images(weights, scores)
    if part is None:
        return Verdict(claim, "cannot tell", value, seeds=count, images=images)
    half = half_width(values, part)
    low, high = value - half, value + half
    word: Word = "holds" if low > 0 else "the opposite holds" if high < 0 else "cannot tell"
    grouped = any(score.get("spread") == "groups" for each in scores for score in each)
    counted = "groups of test images" if grouped else "test images"
    return Verdict(claim, word, value, low, high, count, images, counted)


def fitting(finished: Finished, factors: Mapping[str, Any], score: str) -> Output | None:
    """The one cell that has these factors and the score; None if there is none."""
    fit = [
        output
        for cell, output in finished
        if score in output.kept.get("scores", {})
        and all(cell.factors.get(name) == value for name, value in factors.items())
    ]
    assert len(fit) <= 1, f"{factors} fits {len(fit)} cells"
    return fit[0] if fit else None


@dataclass(frozen=True)
class ImagePart:
    """What the test images add to the variance of a mean over seeds.

    Args:
        whole: the variance over images of what each gains in the mean of the seeds.
        by_seed: how much of it is chance of seed and image together, which the spread over seeds holds as well.
        quantile: standard deviations to each side.
    """

    whole: float
    by_seed: float = 0.0
    quantile: float = Z


def half_width(values: np.ndarray, images: ImagePart) -> float:
    """Half of the 95 % interval of a mean over seeds on images that they share; never below that of the images alone.

    Args:
        values: of each seed.
        images: what the test images add.

    Source: Hillis 2007, Stat. Med. 26, 596-619, of readers and cases, with its degrees of freedom.
    """
    alone = images.quantile * math.sqrt(images.whole)
    if len(values) == 1:
        return alone
    seeds = float(values.var(ddof=1)) / len(values)
    whole = seeds + max(0.0, images.whole - images.by_seed)
    df = (len(values) - 1) * (whole / seeds) ** 2 if seeds else math.inf
    return max(alone, student_quantile(df) * math.sqrt(whole))


def image_part(gains: np.ndarray, groups: np.ndarray | None = None, labels: np.ndarray | None = None) -> ImagePart:
    """What test images add to the variance, from what each of them gains.

    Args:
        gains: of each seed and image, (S, N).
        groups: of images that belong together, int64 (N,), or None.
        labels: int64 (N,), for the mean over classes; None for the mean over images.
    """
    cells = np.zeros(gains.shape[1], np.int64) if labels is None else np.unique(labels, return_inverse=True)[1]
    mean = gains.mean(axis=0)
    whole = clustered(mean, cells, groups)
    apart = sum(clustered(each - mean, cells, groups).variance for each in gains)
    least = 2 / (whole.n + 2) ** 2  # few images may all agree: two more are counted, one that gains and one that loses
    return ImagePart(whole.variance + least, apart / max(1, len(gains) * (len(gains) - 1)), whole.quantile)


def _paired_images(runs: Sequence[Sequence[Term]]) -> ImagePart | None:
    """From the predictions of each test image; None where they are not there, or not of the same images."""
    metrics = {score.rpartition("/")[2] for terms in runs for _, _, score in terms}
    if len(metrics) > 1 or not metrics <= {"top1", "top5", "per_class"}:
        return None
    metric = metrics.pop()
    found = [[predictions_of_cell(output, score) for _, output, score in terms] for terms in runs]
    first = found[0][0]
    if first is None or not all(_same_images(each, first) for terms in found for each in terms):
        return None
    gains = [
        sum(weight * each.hits(metric) for (weight, _, _), each in zip(terms, predicted, strict=True) if each)
        for terms, predicted in zip(runs, found, strict=True)
    ]
    return image_part(np.array(gains), first.groups, first.labels if metric == "per_class" else None)


def _same_images(first: Predictions | None, second: Predictions) -> bool:
    if first is None:
        return False
    return np.array_equal(first.index, second.index) and np.array_equal(first.labels, second.labels)


def _independent_images(weights: Sequence[float], scores: Sequence[Sequence[Mapping[str, Any]]]) -> ImagePart | None:
    """From the scores' own intervals as if they were independent, which is wider; None where one has no interval."""
    if any(score.get("low") is None for each in scores for score in each):
        return None
    halves = np.array([[(score["high"] - score["low"]) / 2 for score in each] for each in scores])
    return ImagePart(float(np.mean(np.square(halves) @ np.square(weights))) / Z**2)


def predictions_of_cell(output: Output, score: str) -> Predictions | None:
    """What the evaluator of a score predicted for each test image; None if that is not there."""
    rows: Path = output.folder / "results.jsonl"
    evaluator = score.rpartition("/")[0]
    return next((read_predictions(rows, row) for row in read_rows(rows) if row.evaluator == evaluator), None)
