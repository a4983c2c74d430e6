"""Training a pretrained backbone on."""

from selfsup.transfer.bit_rule import HyperRule, hyper_rule
from selfsup.transfer.classifier import export_classifier, load_classifier
from selfsup.transfer.detection import Detection, Detections, Detector
from selfsup.transfer.fine_tune import FineTune
from selfsup.transfer.hyper_rule_transfer import HyperRuleTransfer
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.linear_sgd import LinearSGD
from selfsup.transfer.low_shot import LowShot
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Transfer, Transferred

__all__ = [
    "Detection",
    "Detections",
    "Detector",
    "FineTune",
    "HyperRule",
    "HyperRuleTransfer",
    "Labelled",
    "LinearSGD",
    "LowShot",
    "Start",
    "Transfer",
    "Transferred",
    "export_classifier",
    "hyper_rule",
    "load_classifier",
]
