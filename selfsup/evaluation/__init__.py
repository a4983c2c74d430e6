"""Evaluating a frozen backbone: evaluators, the features they look at, and the numbers they report."""

from selfsup.evaluation.base import Evaluator, FeatureEvaluator, evaluate_features
from selfsup.evaluation.features import Features, FeatureSource, extract_features
from selfsup.evaluation.knn import KNN
from selfsup.evaluation.linear import LinearClassifier, LinearProbe, fit_logistic
from selfsup.evaluation.raw_pixels import RawPixels
from selfsup.evaluation.split import stratified_split
from selfsup.evaluation.spread import Spread
from selfsup.evaluation.suite import Suite, held_out_parts

__all__ = [
    "KNN",
    "Evaluator",
    "FeatureEvaluator",
    "FeatureSource",
    "Features",
    "LinearClassifier",
    "LinearProbe",
    "RawPixels",
    "Spread",
    "Suite",
    "evaluate_features",
    "extract_features",
    "fit_logistic",
    "held_out_parts",
    "stratified_split",
]
