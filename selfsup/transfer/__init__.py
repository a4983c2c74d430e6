"""Training a pretrained backbone on."""

from selfsup.transfer.bit_rule import HyperRule, hyper_rule
from selfsup.transfer.detection import Detection, Detections, Detector

__all__ = ["Detection", "Detections", "Detector", "HyperRule", "hyper_rule"]
