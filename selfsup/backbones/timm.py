"""Any network of the timm package as a backbone."""

import importlib
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.backbones.base import NUM_STAGES, STRIDES, check_stages, quarter
from selfsup.backbones.checkpointing import calls_checkpointed
from selfsup.backbones.composition import composition
from selfsup.backbones.pyramid import simple_pyramid
from selfsup.errors import ConfigError, nearest
from selfsup.registry import BACKBONES

ROWS = ("stages", "blocks", "layers")  # what timm calls the row of stages, or of blocks without stages
NUMBERED_STAGE = re.compile(r"(layer|stage|s)[1-9]")  # or else each stage: of ResNet, Visformer and RegNet
FILLING = ("pretrained", "checkpoint_path")  # arguments that say where weights come from, not which network
CLASSES = 2  # of a classifier that is only looked at; its tensors have the same names for any number
NUMBERED = re.compile(r"b?\d+")  # children of a container, and blocks in timm's RegNet
POOLED_BEFORE_NORM = ("Hiera", "HieraDet")  # classes whose head normalizes: timm rejects a norm for their maps
SIZE = re.compile(r"\b(height|width|size)\b")  # what timm's rejections of images name


@BACKBONES.register_module()
class Timm(nn.Module):
    """A network of timm without its classifier; needs the extra ``selfsup[timm]``.

    The stages of a network that has four, such as ConvNeXt or Swin, are these; those of any other, such as EfficientNet
    or a vision transformer, are the quarters of its blocks. Where the blocks stand in no row of their own, as in
    DenseNet or Inception, they are the parts that the network is made of; the largest is taken apart until there are
    four. A network that is one row of layers, VGG, is cut where timm takes its maps.

    Args:
        name: as in ``timm.list_models()``, such as ``'convnext_tiny'``; a tag after a dot says which pretrained weights
            are meant.
        model_args: more arguments of ``timm.create_model``; ``dict(pretrained=True)`` downloads weights.
        checkpoint_stages: stages, from 1, whose blocks' activations are computed again in the backward pass. timm's own
            checkpointing is not used: it lets batch norm count every batch twice.

    Raises:
        ConfigError: if timm is missing, knows no network of that name or tag, or rejects the arguments; or if
            ``checkpoint_stages`` are given and the network has no blocks that four stages could be made of.
    """

    model: Any  # a module with timm's attributes, which no type of ours describes

    def __init__(
        self, name: str, *, model_args: dict[str, Any] | None = None, checkpoint_stages: Collection[int] = ()
    ) -> None:
        super().__init__()
        self.name = name
        self.model_args = {key: value for key, value in (model_args or {}).items() if key not in FILLING}
        self.checkpoint_stages = check_stages(checkpoint_stages)
        self.model = _create(name, dict(model_args or {}))
        if self.checkpoint_stages and not _rows(self.model):
            raise ConfigError.at(
                "checkpoint_stages",
                f"must be () for {name}, which has no four blocks of several layers to compute again",
            )
        # num_features is the width of the last map; layers between it and the classifier may change it.
        self.out_dim = int(getattr(self.model, "head_hidden_size", None) or self.model.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features, shape (B, out_dim), of images of shape (B, 3, H, W).

        Raises:
            ConfigError: if the network rejects the images' size, or its arguments make it give something else than one
                vector per image.
        """
        features = self._run(self.model, images)
        if features.shape != (images.shape[0], self.out_dim):
            raise ConfigError.at(
                "",
                f"{self.name} must give features of shape {(images.shape[0], self.out_dim)}",
                got=tuple(features.shape),
                expected="see model_args",
            )
        return features

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The last map at each of the strides 4, 8, 16 and 32, of images of shape (B, 3, H, W).

        A network that keeps one resolution, such as a vision transformer, gives its last map four times, enlarged
        bilinearly or averaged down to ``ceil(H / stride)`` rows, as ``ViT`` does. The last map is as the
        network pools it: past its final norm where that comes before the pooling, without it where the head normalizes,
        as in Hiera and ConvNeXt.

        Raises:
            ConfigError: if timm cannot give this network's maps, or it has several resolutions but none at one of the
                strides, or rejects the images' size.
        """
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError.at("feature_maps", f"timm does not give the maps of {self.name}")
        indices = self._map_indices()
        last_maps = partial(
            self.model.forward_intermediates,
            indices=indices,
            norm=type(self.model).__name__ not in POOLED_BEFORE_NORM,  # the last map as it is pooled
            output_fmt="NCHW",
            intermediates_only=True,
        )
        maps = self._run(last_maps, images)
        return maps if len(indices) > 1 else simple_pyramid(maps[0], *images.shape[2:])

    def classifier_tensors(self) -> frozenset[str]:
        """timm's names of what the network with a classifier has and this one has not, or has without rows."""
        with torch.device("meta"):
            whole = _create(self.name, self.model_args, num_classes=CLASSES)
        held = {name for name, tensor in self.model.state_dict().items() if tensor.numel()}
        return frozenset(whole.state_dict().keys() - held)

    @property
    def normalization(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Mean and standard deviation per channel that timm's own weights of this name expect; None if it has none."""
        expected = getattr(self.model, "pretrained_cfg", None) or {}
        mean, std = (expected.get(name) for name in ("mean", "std"))
        return (tuple(mean), tuple(std)) if mean and std else (None, None)

    def not_in_weights(self) -> dict[str, Any]:
        """What the network is put together of besides tensors; names and arguments may say the same in many ways."""
        return composition(self.model)

    def _run(self, network: Callable[[Tensor], Any], images: Tensor) -> Any:
        blocks = (block for number in self.checkpoint_stages for block in timm_stage(self.model, number))
        try:
            with calls_checkpointed(blocks):
                return network(images)
        except AssertionError as error:  # timm's way to say no
            raise ConfigError(self._rejection(images.shape[2], images.shape[3], str(error))) from error

    def _rejection(self, height: int, width: int, said: str) -> str:
        if SIZE.search(said) is None:
            return f"{self.name} cannot run on images of {height} x {width}: {said or 'timm gives no reason'}"
        advice = ""
        if "match model" in said:
            takes = inspect.signature(type(self.model)).parameters
            remedies = {"dynamic_img_size": "dynamic_img_size=True", "img_size": f"img_size=({height}, {width})"}
            remedy = next((remedies[name] for name in remedies if name in takes), None)
            advice = f" (often model_args=dict({remedy}) lets it)" if remedy else ""
        return f"{self.name} does not take images of {height} x {width}: {said.rstrip('.')}{advice}"

    def _map_indices(self) -> list[int]:
        """Of the last map at each stride, or of the only stride."""
        last = {stage["reduction"]: index for index, stage in enumerate(self.model.feature_info)}
        if len(last) == 1:
            return list(last.values())
        if any(stride not in last for stride in STRIDES):
            raise ConfigError.at(
                "feature_maps",
                f"must have maps at strides 4, 8, 16 and 32, or at one stride, got {sorted(last)} from {self.name}",
            )
        return [last[stride] for stride in STRIDES]


Block = nn.Module | tuple[nn.Module, ...]
"""What is computed again as one: a part of a network, or layers that follow one another."""


def timm_stage(model: nn.Module, number: int) -> list[Block]:
    """The blocks of a stage, the first is 1."""
    rows = _rows(model)
    if len(rows) == NUM_STAGES:
        return rows[number - 1]
    blocks = [block for row in rows for block in row]
    return blocks[quarter(number, len(blocks))]


def _rows(model: nn.Module) -> list[list[Block]]:
    """The blocks of each of timm's stages, or each block on its own if the network is one row of them."""
    for name in ROWS:
        if isinstance(row := getattr(model, name, None), nn.Sequential | nn.ModuleList):
            return [_blocks(stage) for stage in row]
    stages = [_blocks(part) for name, part in model.named_children() if NUMBERED_STAGE.fullmatch(name)]
    return stages or [[block] for block in (_taken_apart(model) or _cut(model))]


def _cut(model: Any) -> list[Block]:
    """The row of layers that a network is, in pieces that end where timm takes a map; none if it is no such row."""
    layers = getattr(model, "features", None)
    taken = [re.fullmatch(r"features\.(\d+)", stage["module"]) for stage in getattr(model, "feature_info", ())]
    if not isinstance(layers, nn.Sequential) or not all(taken):
        return []
    ends = [int(end[1]) + 1 for end in taken if end]
    return [tuple(layers[start:end]) for start, end in pairwise([0, *ends])]


def _taken_apart(model: nn.Module) -> list[Block]:
    """Four parts or more of several layers each, in order; none if there are fewer."""
    parts = _parts(model)
    while 0 < len(parts) < NUM_STAGES:
        largest = max(parts, key=lambda part: sum(parameter.numel() for parameter in part.parameters()))
        place, inside = parts.index(largest), _parts(largest)
        parts = [*parts[:place], *inside, *parts[place + 1 :]] if inside else []
    held = Counter(layer for part in parts for layer in part.modules())
    return [part for part in parts if held[part] == 1]  # CoaT's blocks share parts of the network


def _parts(whole: nn.Module) -> list[nn.Module]:
    """What has several layers with weights, without rows of such."""
    found = []
    for part in whole.children():
        if sum(1 for layer in part.modules() if next(layer.parameters(recurse=False), None) is not None) < 2:
            continue
        inside = _parts(part) if isinstance(part, nn.Sequential | nn.ModuleList) else []
        found += inside or [part]
    return found


def _blocks(stage: nn.Module) -> list[Block]:
    """What a stage consists of, or the stage itself if its parts are not numbered."""
    parts = dict(getattr(stage, "blocks", stage).named_children())
    return list(parts.values()) if parts and all(map(NUMBERED.fullmatch, parts)) else [stage]


def _create(name: str, model_args: dict[str, Any], *, num_classes: int = 0) -> nn.Module:
    timm = _import()
    if not timm.is_model(name):
        raise ConfigError.at("name", f"timm has no network called {name!r}", expected=nearest(name, timm.list_models()))
    if "num_classes" in model_args:
        raise ConfigError.at("model_args.num_classes", "a backbone has no classifier", expected="remove it")
    try:
        return timm.create_model(name, num_classes=num_classes, **model_args)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError.at("", f"{name} cannot be built with model_args={model_args}: {error}") from error


def _import() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's import uses what today's torch deprecates
        try:
            return importlib.import_module("timm")
        except ImportError as error:
            raise ConfigError.at(
                "", "needs the package timm", expected=f"pip install 'selfsup[timm]' ({error})"
            ) from None
