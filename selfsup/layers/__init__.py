"""Modules shared by backbones, necks and methods."""

from selfsup.layers.drop_path import DropPath, set_drop_path
from selfsup.layers.feature_queue import FeatureQueue
from selfsup.layers.he_conv import HeConv2d
from selfsup.layers.mlp import MLP
from selfsup.layers.ring import RingBuffer
from selfsup.layers.selective_kernel import SelectiveKernelConv2d
from selfsup.layers.squeeze_excite import SqueezeExcite
from selfsup.layers.std_conv import StdConv2d
from selfsup.layers.sync_bn import SyncBatchNorm, convert_sync_bn

__all__ = [
    "MLP",
    "DropPath",
    "FeatureQueue",
    "HeConv2d",
    "RingBuffer",
    "SelectiveKernelConv2d",
    "SqueezeExcite",
    "StdConv2d",
    "SyncBatchNorm",
    "convert_sync_bn",
    "set_drop_path",
]
