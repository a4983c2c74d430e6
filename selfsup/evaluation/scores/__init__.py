"""Numbers with intervals, what an evaluator finds, and two of them compared."""

from selfsup.evaluation.scores.found import Predictions, Result, Score
from selfsup.evaluation.scores.intervals import (
    REPLICATES,
    Z,
    bootstrap,
    classification_scores,
    mean,
    mean_per_class,
    over_draws,
    proportion,
    student_quantile,
    student_tail,
    wilson,
)
from selfsup.evaluation.scores.paired import Difference, matched, paired, paired_by, tango

__all__ = [
    "REPLICATES",
    "Difference",
    "Predictions",
    "Result",
    "Score",
    "Z",
    "bootstrap",
    "classification_scores",
    "matched",
    "mean",
    "mean_per_class",
    "over_draws",
    "paired",
    "paired_by",
    "proportion",
    "student_quantile",
    "student_tail",
    "tango",
    "wilson",
]
