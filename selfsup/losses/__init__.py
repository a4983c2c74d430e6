"""Losses: plain modules that know no config and no trainer."""

from selfsup.losses.cosine import CosineLoss, NegativeCosineLoss
from selfsup.losses.cross_entropy import BinaryCrossEntropyLoss, CrossEntropyLoss
from selfsup.losses.distillation import DistillationLoss
from selfsup.losses.info_nce import InBatchInfoNCELoss, InfoNCELoss
from selfsup.losses.nt_xent import NTXentLoss
from selfsup.losses.pairs import MarginTripletLoss, NTLogisticLoss
from selfsup.losses.swav import SwAVLoss

__all__ = [
    "BinaryCrossEntropyLoss",
    "CosineLoss",
    "CrossEntropyLoss",
    "DistillationLoss",
    "InBatchInfoNCELoss",
    "InfoNCELoss",
    "MarginTripletLoss",
    "NTLogisticLoss",
    "NTXentLoss",
    "NegativeCosineLoss",
    "SwAVLoss",
]
