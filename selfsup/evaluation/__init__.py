"""Evaluation of frozen features: what is evaluated, on what, by which algorithm, and what came out."""

from selfsup.evaluation.baselines import ImageStatistics, RawPixels
from selfsup.evaluation.evaluator import Evaluator, Finding, Predictor, Probe, evaluate_tasks, metrics_of
from selfsup.evaluation.features import Features
from selfsup.evaluation.few_shot import FewShot
from selfsup.evaluation.fusion import Fusion
from selfsup.evaluation.granularity import Granularity
from selfsup.evaluation.knn import KNN, VisslKNN
from selfsup.evaluation.linear import LinearProbe, fit_logistic
from selfsup.evaluation.logistic import LogisticRegression
from selfsup.evaluation.representation import VISSL_LAYERS, Classifier, Representation
from selfsup.evaluation.retrieval import Retrieval
from selfsup.evaluation.robustness import ClassSubset, Corruptions
from selfsup.evaluation.rows import Row, append_row, read_predictions, read_rows, write_predictions
from selfsup.evaluation.scores import Difference, Predictions, Result, Score, paired, paired_by
from selfsup.evaluation.softmax_regression import LinearClassifier
from selfsup.evaluation.spread import Spread
from selfsup.evaluation.standard import StandardTask
from selfsup.evaluation.svm import SVM
from selfsup.evaluation.task import Task

__all__ = [
    "KNN",
    "SVM",
    "VISSL_LAYERS",
    "ClassSubset",
    "Classifier",
    "Corruptions",
    "Difference",
    "Evaluator",
    "Features",
    "FewShot",
    "Finding",
    "Fusion",
    "Granularity",
    "ImageStatistics",
    "LinearClassifier",
    "LinearProbe",
    "LogisticRegression",
    "Predictions",
    "Predictor",
    "Probe",
    "RawPixels",
    "Representation",
    "Result",
    "Retrieval",
    "Row",
    "Score",
    "Spread",
    "StandardTask",
    "Task",
    "VisslKNN",
    "append_row",
    "evaluate_tasks",
    "fit_logistic",
    "metrics_of",
    "paired",
    "paired_by",
    "read_predictions",
    "read_rows",
    "write_predictions",
]
