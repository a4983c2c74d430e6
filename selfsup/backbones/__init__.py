"""Networks from images to feature vectors."""

from selfsup.backbones.base import Backbone
from selfsup.backbones.bit_resnet import BiTResNet
from selfsup.backbones.checkpointing import run_blocks, run_checkpointed
from selfsup.backbones.regnet import RegNet
from selfsup.backbones.resnet import ResNet
from selfsup.backbones.timm import Timm
from selfsup.backbones.vit import ViT

__all__ = [
    "Backbone",
    "BiTResNet",
    "RegNet",
    "ResNet",
    "Timm",
    "ViT",
    "run_blocks",
    "run_checkpointed",
]
