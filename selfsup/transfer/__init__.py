"""Training a pretrained backbone on."""

from selfsup.transfer.bit_rule import HyperRule, hyper_rule
from selfsup.transfer.detection import Detections, Detector

__all__ = ["Detections", "Detector", "HyperRule", "hyper_rule"]
