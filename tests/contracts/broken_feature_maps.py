"""Backbones whose feature maps each break one promise."""

import torch
from torch import Tensor

from tests.contracts.broken_backbones import Counts
from tests.contracts.rejection import Broken
from tests.contracts.sound import Net


class NoMaps(Net):
    feature_maps = None  # type: ignore[assignment]


class MapsRaise(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        raise IndexError("no such stage")


class MapsWrite(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return super().feature_maps(images.sub_(0.5))


class MapsMoveStatistics(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        self.bn.running_mean += 1
        return super().feature_maps(images)


class MapsLeaveEvalMode(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        maps = super().feature_maps(images)
        self.train()
        return maps


class NoisyMaps(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each + torch.randn_like(each) for each in super().feature_maps(images)]


class FlatMaps(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each[0] for each in super().feature_maps(images)]


class NoChannels(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each[:, :0] for each in super().feature_maps(images)]


class OneImage(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each[:1] for each in super().feature_maps(images)]


class NotANumber(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each * float("nan") for each in super().feature_maps(images)]


class DoubleMaps(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each.double() for each in super().feature_maps(images)]


class DetachedMaps(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each.detach() for each in super().feature_maps(images)]


class CountedMaps(Counts):
    modes = ()

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        return [each * self.calls for each in super().feature_maps(images)]


class MapsOfTheBatch(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [each - each.mean(dim=0) for each in super().feature_maps(images)]


class OtherMaps(Net):
    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [2 * each for each in super().feature_maps(images)]


FEATURE_MAPS = [
    Broken(NoMaps, "must have feature_maps(images); pass strides=None if it promises none"),
    Broken(MapsRaise, "feature_maps must take images of shape (3, 3, 32, 32): IndexError: no such stage"),
    Broken(Net, "feature_maps must be a list of 2 tensors, got 1", options={"strides": (4, 8)}),
    Broken(
        Net,
        "feature_maps at strides (8,) of images of 32 x 32 pixels must be of size [(4, 4)], got [(8, 8)]",
        options={"strides": (8,)},
    ),
    Broken(MapsWrite, "feature_maps must not write to its input"),
    Broken(MapsMoveStatistics, "feature_maps must leave the state alone in eval mode"),
    Broken(MapsLeaveEvalMode, "feature_maps must leave the training flags as they were, but not of the module itself"),
    Broken(NoisyMaps, "feature_maps must leave the global random generators alone in eval mode"),
    Broken(FlatMaps, "every feature map must have shape (3, channels, height, width), got [(6, 8, 8)]"),
    Broken(NoChannels, "every feature map must have shape (3, channels, height, width), got [(3, 0, 8, 8)]"),
    Broken(OneImage, "every feature map must have shape (3, channels, height, width), got [(1, 6, 8, 8)]"),
    Broken(NotANumber, "feature map 0 must be finite for normal inputs"),
    Broken(DoubleMaps, "feature map 0 must be float32 as the input, got torch.float64"),
    Broken(DetachedMaps, "a gradient must reach parameters from feature map 0, or a detector could not train them"),
    Broken(CountedMaps, "feature_maps must give the same for the same images in eval mode"),
    Broken(
        MapsOfTheBatch, "the feature maps of an image must not depend on the others of its batch in eval mode, but "
    ),
    Broken(OtherMaps, "the features must be the mean of the last map, but differ by "),
]
