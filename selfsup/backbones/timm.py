"""Any network of the timm package as a backbone."""

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from selfsup.backbones.base import STRIDES
from selfsup.errors import ConfigError, did_you_mean
from selfsup.registry import BACKBONES


@BACKBONES.register_module()
class Timm(nn.Module):
    """A network of timm without its classifier; needs the extra ``selfsup[timm]``.

    There is no ``checkpoint_stages``: timm's own activation checkpointing runs batch norm twice, and its running
    statistics count every batch twice. Networks of which we have our own, RegNet, ResNet, BiTResNet and ViT, have it.

    Args:
        name: as in ``timm.list_models()``, such as ``'convnext_tiny'``; a tag after a dot says which pretrained weights
            are meant.
        model_args: more arguments of ``timm.create_model``; ``dict(pretrained=True)`` downloads weights.

    Raises:
        ConfigError: if timm is missing, knows no network of that name or tag, or refuses the arguments.
    """

    model: Any  # a module with timm's attributes, which no type of ours describes

    def __init__(self, name: str, *, model_args: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.name = name
        self.model = _create(name, dict(model_args or {}))
        # num_features is the width of the last map; layers between it and the classifier may change it.
        self.out_dim = int(getattr(self.model, "head_hidden_size", None) or self.model.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W).

        Raises:
            ConfigError: if the network refuses the images' size, or its arguments make it give something else than one
                vector per image.
        """
        features = self._run(self.model, images)
        if features.shape != (images.shape[0], self.out_dim):
            raise ConfigError(
                f"Timm: {self.name} must give features of shape {(images.shape[0], self.out_dim)}, got "
                f"{tuple(features.shape)}; see model_args"
            )
        return features

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The last map at each of the strides 4, 8, 16 and 32, of images of shape (B, 3, H, W).

        Raises:
            ConfigError: if timm cannot give this network's maps, or it has none at one of the strides, or refuses the
                images' size.
        """
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(f"Timm.feature_maps: timm does not give the maps of {self.name}")
        last_maps = partial(
            self.model.forward_intermediates,
            indices=self._map_indices(),
            norm=True,  # the last map as it is pooled
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return self._run(last_maps, images)

    def _run(self, network: Callable[[Tensor], Any], images: Tensor) -> Any:
        try:
            return network(images)
        except AssertionError as error:  # timm's way to say no
            height, width = images.shape[2:]
            raise ConfigError(
                f"Timm: {self.name} does not take images of {height} x {width}: {error} "
                "(often model_args=dict(dynamic_img_size=True) lets it)"
            ) from error

    def _map_indices(self) -> list[int]:
        last = {stage["reduction"]: index for index, stage in enumerate(self.model.feature_info)}
        if any(stride not in last for stride in STRIDES):
            raise ConfigError(
                f"Timm.feature_maps: must have maps at strides 4, 8, 16 and 32, got {sorted(last)} from {self.name}"
            )
        return [last[stride] for stride in STRIDES]


def _create(name: str, model_args: dict[str, Any]) -> nn.Module:
    timm = _import()
    if not timm.is_model(name):
        raise ConfigError(f"Timm.name: timm has no network called {name!r}{did_you_mean(name, timm.list_models())}")
    if "num_classes" in model_args:
        raise ConfigError("Timm.model_args.num_classes: a backbone has no classifier; remove it")
    try:
        return timm.create_model(name, num_classes=0, **model_args)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(f"Timm: {name} cannot be built with model_args={model_args}: {error}") from error


def _import() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's import uses what today's torch deprecates
        try:
            return importlib.import_module("timm")
        except ImportError as error:
            raise ConfigError(f"Timm: needs the package timm; pip install 'selfsup[timm]' ({error})") from None
