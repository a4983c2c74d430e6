"""Evaluation of frozen features: what is evaluated, on what, by which algorithm, and what came out."""

from selfsup.evaluation.baselines import ImageStatistics, RawPixels
from selfsup.evaluation.detection import DetectionAP
from selfsup.evaluation.evaluator import Evaluator, Finding, Predictor, Probe, evaluate_tasks, metrics_of
from selfsup.evaluation.extraction.features import Features
from selfsup.evaluation.fusion import Fusion
from selfsup.evaluation.head import Head
from selfsup.evaluation.protocols.class_subset import ClassSubset
from selfsup.evaluation.protocols.few_shot import FewShot
from selfsup.evaluation.protocols.granularity import Granularity
from selfsup.evaluation.protocols.knn import KNN, VisslKNN
from selfsup.evaluation.protocols.linear import LinearProbe, fit_logistic
from selfsup.evaluation.protocols.logistic import LogisticRegression
from selfsup.evaluation.protocols.retrieval import Retrieval
from selfsup.evaluation.protocols.robustness import Corruptions
from selfsup.evaluation.protocols.softmax_regression import LinearClassifier
from selfsup.evaluation.protocols.spread import Spread
from selfsup.evaluation.protocols.svm import SVM
from selfsup.evaluation.representation import VISSL_LAYERS, Classifier, Representation
from selfsup.evaluation.rows import Row, append_row, read_predictions, read_rows, write_predictions
from selfsup.evaluation.scores import Difference, Predictions, Result, Score, paired, paired_by
from selfsup.evaluation.standard import StandardTask
from selfsup.evaluation.task import Task

__all__ = [
    "KNN",
    "SVM",
    "VISSL_LAYERS",
    "ClassSubset",
    "Classifier",
    "Corruptions",
    "DetectionAP",
    "Difference",
    "Evaluator",
    "Features",
    "FewShot",
    "Finding",
    "Fusion",
    "Granularity",
    "Head",
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
