"""Training a pretrained backbone on."""

from selfsup.transfer.bit_rule import HyperRule, hyper_rule
from selfsup.transfer.classifier import export_classifier, load_classifier
from selfsup.transfer.fine_tune import FineTune
from selfsup.transfer.labelled import Labelled
from selfsup.transfer.start import Start
from selfsup.transfer.transfer import Transfer, Transferred

__all__ = [
    "FineTune",
    "HyperRule",
    "Labelled",
    "Start",
    "Transfer",
    "Transferred",
    "export_classifier",
    "hyper_rule",
    "load_classifier",
]
