"""Losses: plain modules that know no config and no trainer."""

from selfsup.losses.cosine import CosineLoss
from selfsup.losses.info_nce import InfoNCELoss
from selfsup.losses.nt_xent import NTXentLoss
from selfsup.losses.swav import SwAVLoss

__all__ = ["CosineLoss", "InfoNCELoss", "NTXentLoss", "SwAVLoss"]
