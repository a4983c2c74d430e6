"""Components for selfsup; importing the package registers them."""

from example_plugin.backbone import ConvMixer
from example_plugin.evaluator import NearestMean
from example_plugin.hook import WeightNormHook
from example_plugin.loss import AlignUniformLoss
from example_plugin.transform import Posterize

__all__ = ["AlignUniformLoss", "ConvMixer", "NearestMean", "Posterize", "WeightNormHook"]
