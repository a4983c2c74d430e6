"""What a study may find, as contrasts between cells, and what its rows say about each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from selfsup.evaluation.rows import read_predictions, read_rows
from selfsup.evaluation.scores import Predictions, paired, student_quantile
from selfsup.studies.cells import Cell, Output

Word = Literal["holds", "the opposite holds", "cannot tell", "not measured"]
Finished = Sequence[tuple[Cell, Output]]


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

    Each seed gives one difference. Its interval joins two sources: the spread of the differences over seeds, by
    Student's t, and the test images, which all seeds share and which more seeds therefore do not average out. The
    images' part is that of the paired test where two scores are compared, and otherwise the scores' own intervals as
    if they were independent, which is wider.
    """
    found = {}
    for seed in sorted({cell.seed for cell, _ in finished}):
        here = [(cell, output) for cell, output in finished if cell.seed == seed]
        terms = [(weight, fitting(here, factors, score), score) for weight, factors, score in claim.named()]
        if all(output is not None for _, output, _ in terms):
            found[seed] = _contrast([(weight, output, score) for weight, output, score in terms if output is not None])
    if not found:
        return Verdict(claim, "not measured")
    values = np.array([value for value, _, _ in found.values()])
    images = max(n for _, _, n in found.values())
    halves = [half for _, half, _ in found.values() if half is not None]
    value, count = float(values.mean()), len(values)
    if not halves:
        return Verdict(claim, "cannot tell", value, seeds=count, images=images)
    half = float(np.mean(halves))
    if count > 1:
        spread = student_quantile(count - 1) * float(values.std(ddof=1)) / math.sqrt(count)
        half = math.hypot(half, spread)
    low, high = value - half, value + half
    word: Word = "holds" if low > 0 else "the opposite holds" if high < 0 else "cannot tell"
    grouped = any(
        score.get("spread") == "groups" for _, output in finished for score in output.kept.get("scores", {}).values()
    )
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


def _contrast(terms: Sequence[tuple[float, Output, str]]) -> tuple[float, float | None, int]:
    """Value, half of the interval that the test images give, and how many they are, of one seed."""
    scores = [output.kept["scores"][score] for _, output, score in terms]
    value = sum(weight * score["value"] for (weight, _, _), score in zip(terms, scores, strict=True))
    images = max(int(score.get("n") or 0) for score in scores)
    if sorted(weight for weight, _, _ in terms) == [-1, 1]:
        minus, plus = sorted(terms, key=lambda term: term[0])
        first, second = (predictions_of_cell(output, score) for _, output, score in (minus, plus))
        metrics = {score.rpartition("/")[2] for _, _, score in terms}
        if first is not None and second is not None and metrics <= {"top1", "top5", "per_class"} and len(metrics) == 1:
            found = paired(first, second, metric=metrics.pop())  # type: ignore[arg-type]
            if found.low is not None and found.high is not None and not found.unpaired:
                return found.value, (found.high - found.low) / 2, images
    halves = [
        None if score.get("low") is None else abs(weight) * (score["high"] - score["low"]) / 2
        for (weight, _, _), score in zip(terms, scores, strict=True)
    ]
    known = [half for half in halves if half is not None]
    return value, math.hypot(*known) if len(known) == len(halves) else None, images


def predictions_of_cell(output: Output, score: str) -> Predictions | None:
    """What the evaluator of a score predicted for each test image; None if that is not there."""
    rows: Path = output.folder / "results.jsonl"
    evaluator = score.rpartition("/")[0]
    return next((read_predictions(rows, row) for row in read_rows(rows) if row.evaluator == evaluator), None)
