"""Detectors on any backbone: boxes and masks."""

from selfsup.transfer.detection.detector import Detections, Detector
from selfsup.transfer.detection.transfer import Detection

__all__ = ["Detection", "Detections", "Detector"]
