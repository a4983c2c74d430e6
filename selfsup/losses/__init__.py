"""Losses: plain modules that know no config and no trainer."""

from selfsup.losses.cosine import CosineLoss, NegativeCosineLoss
from selfsup.losses.info_nce import InBatchInfoNCELoss, InfoNCELoss
from selfsup.losses.nt_xent import NTXentLoss
from selfsup.losses.swav import SwAVLoss

__all__ = ["CosineLoss", "InBatchInfoNCELoss", "InfoNCELoss", "NTXentLoss", "NegativeCosineLoss", "SwAVLoss"]
