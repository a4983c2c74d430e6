"""Methods: a backbone, a neck, a loss, and the state their paper needs; and what authors build their own from."""

from selfsup.methods.base import Method, Progress
from selfsup.methods.batch_checks import check_view_count, check_views
from selfsup.methods.byol import BYOL
from selfsup.methods.distillation import Distillation
from selfsup.methods.linear_heads import LinearHeads
from selfsup.methods.moco import MoCo
from selfsup.methods.moco_v3 import MoCoV3
from selfsup.methods.multi_view import forward_by_size
from selfsup.methods.parts import build_loss, build_part, build_predictor
from selfsup.methods.simclr import SimCLR
from selfsup.methods.simsiam import SimSiam
from selfsup.methods.supervised import Supervised
from selfsup.methods.swav import SwAV
from selfsup.methods.teacher import Teacher, check_momentum, copy_student

__all__ = [
    "BYOL",
    "Distillation",
    "LinearHeads",
    "Method",
    "MoCo",
    "MoCoV3",
    "Progress",
    "SimCLR",
    "SimSiam",
    "Supervised",
    "SwAV",
    "Teacher",
    "build_loss",
    "build_part",
    "build_predictor",
    "check_momentum",
    "check_view_count",
    "check_views",
    "copy_student",
    "forward_by_size",
]
