"""Detectors on any backbone: boxes and masks."""

from selfsup.transfer.detection.detector import Detections, Detector

__all__ = ["Detections", "Detector"]
