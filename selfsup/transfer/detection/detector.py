"""A backbone under torchvision's Mask R-CNN or RetinaNet."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection import MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from selfsup.backbones.base import NUM_STAGES
from selfsup.data.preprocess import Preprocess
from selfsup.data.view_dataset import Sample
from selfsup.errors import ConfigError, nearest, require
from selfsup.layers.sync_bn import convert_sync_bn
from selfsup.methods.base import Method
from selfsup.registry import METHODS

Kind = Literal["mask_rcnn", "retinanet"]
Norm = Literal["train", "frozen", "sync"]

RATIOS = (0.5, 1.0, 2.0)
OCTAVES = 2 ** (np.arange(3) / 3)  # sizes of anchors per level: Lin et al. 2017, arXiv:1708.02002, section 4
CANONICAL = (
    224 / 32
)  # boxes of 224 pixels are read from the map of stride 16 where anchors begin at 32, arXiv:1612.03144


@dataclass(frozen=True)
class Detections:
    """What a detector finds in an image, the surest first.

    Args:
        boxes: x_min, y_min, x_max, y_max in pixels of the image, float32 (N, 4).
        labels: classes, int64 (N,), from 0.
        scores: in [0, 1], float32 (N,).
        masks: uint8 (N, H, W); None without masks.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None = None


@METHODS.register_module()
class Detector(Method):
    """A backbone under torchvision's Mask R-CNN or RetinaNet, with a feature pyramid between them.

    torchvision freezes batch norm and the first stages of its own backbones without being asked; here nothing is frozen
    but by ``norm`` and ``freeze_at``.

    Args:
        backbone: with ``feature_maps`` at four strides.
        num_classes: of the objects; the background is not counted.
        kind: ``'mask_rcnn'``, or ``'retinanet'``, which gives boxes alone.
        norm: batch norm of the backbone: ``'train'`` normalizes by the images of a process, ``'sync'`` by those of all
            processes, ``'frozen'`` by the statistics that it came with, and trains neither scale nor shift.
        freeze_at: stages of the backbone, with the stem, that stay as they are: 0 for none, 4 for the whole backbone.
            detectron2 counts the stem as a stage: its FREEZE_AT=2 is 1 here.
        fpn_dim: channels of the pyramid and of RetinaNet's heads.
        fpn_bn: batch norm in the pyramid, too; it is new and therefore always trained.
        head_dim: of the two layers that classify boxes (Mask R-CNN).
        mask_dim: channels of the four layers that draw masks (Mask R-CNN).
        anchor_size: side in pixels of the smallest anchors; they double from level to level. Mask R-CNN's levels have
            strides from 4, RetinaNet's from 8.
        min_size: pixels that the shorter side of an image is brought to for detection. Training takes images as the
            views make them.
        max_size: pixels that the longer side has at most then.
        pre_nms: proposals per level that are looked at, in training and in detection (Mask R-CNN).
        proposals: that are left of them, of all levels together (Mask R-CNN).
        sampled_anchors: per image, that the proposals are trained on (Mask R-CNN).
        sampled_boxes: per image, that the heads are trained on (Mask R-CNN).
        score_threshold: detections with a lower score are left out.
        max_detections: per image.
        preprocess: normalization.

    Raises:
        ConfigError: if an argument is out of range.

    Source: He et al. 2017, arXiv:1703.06870; Lin et al. 2017, arXiv:1612.03144 and arXiv:1708.02002.
    """

    num_views = 1
    entry_points = ("detect",)
    fresh_parts = ("detector",)

    def __init__(
        self,
        backbone: nn.Module | dict[str, Any],
        num_classes: int,
        *,
        kind: Kind = "mask_rcnn",
        norm: Norm = "train",
        freeze_at: int = 0,
        fpn_dim: int = 256,
        fpn_bn: bool = False,
        head_dim: int = 1024,
        mask_dim: int = 256,
        anchor_size: int = 32,
        min_size: int = 800,
        max_size: int = 1333,
        pre_nms: tuple[int, int] = (2000, 1000),
        proposals: int = 1000,
        sampled_anchors: int = 256,
        sampled_boxes: int = 512,
        score_threshold: float = 0.05,
        max_detections: int = 100,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, preprocess)
        for name, value, choices in (("kind", kind, get_args(Kind)), ("norm", norm, get_args(Norm))):
            if value not in choices:
                raise ConfigError.at(name, f"got {value!r}", expected=nearest(str(value), choices))
        require(num_classes >= 1, "num_classes", "must be >= 1", got=num_classes)
        require(0 <= freeze_at <= NUM_STAGES, "freeze_at", f"must be in 0..{NUM_STAGES}", got=freeze_at)
        self.kind, self.norm, self.freeze_at, self.num_classes = kind, norm, freeze_at, num_classes
        self.own_batch_norm = norm == "train"
        channels, frozen = _probe(self.backbone, freeze_at)
        if norm == "frozen":
            frozen |= _norm_parameters(self.backbone)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name not in frozen)
        options: dict[str, Any] = {
            "min_size": min_size,
            "max_size": max_size,
            "image_mean": [0.0] * 3,  # the method's own preprocess has normalized
            "image_std": [1.0] * 3,
            "_skip_resize": True,  # in training alone
        }
        norm_layer = nn.BatchNorm2d if fpn_bn else None
        self.detector: nn.Module
        if kind == "retinanet":
            pyramid = _Pyramid(self.backbone, channels, fpn_dim, LastLevelP6P7(fpn_dim, fpn_dim), norm_layer, first=1)
            options |= {"score_thresh": score_threshold, "detections_per_img": max_detections}
            self.detector = _retinanet(pyramid, num_classes, anchor_size=anchor_size, **options)
        else:
            pyramid = _Pyramid(self.backbone, channels, fpn_dim, LastLevelMaxPool(), norm_layer, first=0)
            options |= {"box_score_thresh": score_threshold, "box_detections_per_img": max_detections}
            options |= {"rpn_batch_size_per_image": sampled_anchors, "box_batch_size_per_image": sampled_boxes}
            for part, looked_at in zip(("train", "test"), pre_nms, strict=True):
                options |= {f"rpn_pre_nms_top_n_{part}": looked_at, f"rpn_post_nms_top_n_{part}": proposals}
            dims = {"head_dim": head_dim, "mask_dim": mask_dim}
            self.detector = _mask_rcnn(pyramid, num_classes, anchor_size=anchor_size, **dims, **options)
        if norm == "sync":
            convert_sync_bn(self)
        self.train()

    @staticmethod
    def collate(samples: Sequence[Sample]) -> dict[str, Any]:
        """Images of any sizes, each uint8 (3, h, w), and what each of them shows, crowds left out."""
        targets = []
        for sample in samples:
            target = sample["target"]
            kept = ~target["crowd"] & (target["boxes"][:, 2:] > target["boxes"][:, :2]).all(1)
            names = [name for name in ("boxes", "labels", "masks") if name in target]
            targets.append({name: torch.from_numpy(np.ascontiguousarray(target[name][kept])) for name in names})
        return {
            "images": [torch.from_numpy(sample["views"][0]).permute(2, 0, 1).contiguous() for sample in samples],
            "targets": targets,
            "index": torch.tensor([sample["index"] for sample in samples]),
            "bad": [bad for sample in samples for bad in sample["bad"]],
        }

    def label_classes(self) -> tuple[str, int]:
        """Those of its heads."""
        return "model.num_classes", self.num_classes

    def before_training(self, load_trained: Callable[[str, nn.Module], None]) -> None:
        """See that the heads have room for every class of the images.

        Raises:
            ConfigError: if they do not.
        """
        count = len(self.classes or ())
        expected = f"the images have {count} classes"
        require(count <= self.num_classes, "model.num_classes", "is too small", got=self.num_classes, expected=expected)

    def train(self, mode: bool = True) -> "Detector":
        """Training mode for all but what is frozen."""
        super().train(mode)
        for module in self.backbone.modules():
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        return self

    def forward(self, batch: Any, mode: Literal["loss", "features"] = "loss", *, layer: str = "pooled") -> Any:
        """Losses of a batch of :meth:`collate`; features as those of any method."""
        if mode != "loss":
            return super().forward(batch, mode, layer=layer)
        if "images" not in batch:  # a plan's batch has views alone
            raise NotImplementedError("boxes decide what a step takes")
        device = self._device
        images = self._shown(batch["images"])
        targets = [
            {name: value.to(device, non_blocking=True) for name, value in target.items()} for target in batch["targets"]
        ]
        if self.kind == "mask_rcnn":  # 0 is the background
            targets = [{**target, "labels": target["labels"] + 1} for target in targets]
        losses = self.detector(images, targets)
        return {name if name.startswith("loss") else f"loss_{name}": value for name, value in losses.items()}

    @torch.no_grad()
    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """What is in some images; the caller sees to eval mode.

        Args:
            images: uint8 (H, W, 3) RGB each, of any sizes.
        """
        given = self._shown([torch.tensor(image).permute(2, 0, 1) for image in images])
        first = 1 if self.kind == "mask_rcnn" else 0
        found = []
        for each in self.detector(given):
            masks = each.get("masks")
            found.append(
                Detections(
                    boxes=each["boxes"].float().cpu().numpy(),
                    labels=(each["labels"] - first).cpu().numpy(),
                    scores=each["scores"].float().cpu().numpy(),
                    masks=None if masks is None else (masks[:, 0] >= 0.5).to(torch.uint8).cpu().numpy(),
                )
            )
        return found

    def _shown(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Images (3, h, w) on the device, normalized."""
        return [image[0] for image in self._normalized([image[None] for image in images])]


class _Pyramid(nn.Module):
    """A backbone's maps, and the pyramid on them; the backbone stays a part of the method alone."""

    def __init__(
        self, backbone: nn.Module, channels: Sequence[int], dim: int, extra: nn.Module, norm: Any, *, first: int
    ) -> None:
        super().__init__()
        self._backbone: tuple[Any] = (backbone,)  # in a tuple, so that its weights do not count twice
        self.first = first
        self.out_channels = dim
        self.fpn = FeaturePyramidNetwork(list(channels[first:]), dim, extra_blocks=extra, norm_layer=norm)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self._backbone[0].feature_maps(images)[self.first :]
        return self.fpn(OrderedDict((str(level), each) for level, each in enumerate(maps)))


class _Probe(nn.Module):
    """A backbone's maps of some images, and the gradients of one of them, as a ``forward``: that alone can be called
    with other tensors."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor, stage: int, parameters: list[Tensor]) -> tuple[list[Tensor], Sequence[Any]]:
        maps = self.backbone.feature_maps(images)  # type: ignore[operator]
        if not stage:
            return maps, [None] * len(parameters)
        return maps, torch.autograd.grad(maps[stage - 1].sum(), parameters, allow_unused=True)


def _retinanet(pyramid: _Pyramid, num_classes: int, *, anchor_size: int, **options: Any) -> RetinaNet:
    levels = [(anchor_size * 2**level * OCTAVES).tolist() for level in range(5)]
    return RetinaNet(pyramid, num_classes, anchor_generator=_anchors(levels), **options)


def _mask_rcnn(
    pyramid: _Pyramid, num_classes: int, *, anchor_size: int, head_dim: int, mask_dim: int, **options: Any
) -> MaskRCNN:
    dim = pyramid.out_channels
    return MaskRCNN(
        pyramid,
        rpn_anchor_generator=_anchors([[anchor_size * 2**level] for level in range(5)]),
        box_roi_pool=_pooling(7, anchor_size),
        box_head=TwoMLPHead(dim * 7**2, head_dim),
        box_predictor=FastRCNNPredictor(head_dim, num_classes + 1),
        mask_roi_pool=_pooling(14, anchor_size),
        mask_head=MaskRCNNHeads(dim, (mask_dim,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(mask_dim, mask_dim, num_classes + 1),
        **options,
    )


def _anchors(levels: Sequence[Sequence[float]]) -> AnchorGenerator:
    with torch.device("cpu"):  # they are no buffers, and stay where the network is built without memory
        return AnchorGenerator(tuple(tuple(sizes) for sizes in levels), (RATIOS,) * len(levels))


def _norm_parameters(backbone: nn.Module) -> set[str]:
    """Names of the scales and shifts of batch norm."""
    norms = ((name, module) for name, module in backbone.named_modules() if isinstance(module, _BatchNorm))
    return {f"{name}.{own}" for name, module in norms for own, _ in module.named_parameters(recurse=False)}


def _pooling(side: int, anchor_size: int) -> MultiScaleRoIAlign:
    names = [str(level) for level in range(NUM_STAGES)]
    scale = round(CANONICAL * anchor_size)
    return MultiScaleRoIAlign(names, output_size=side, sampling_ratio=2, canonical_scale=scale)


def _probe(backbone: nn.Module, stages: int) -> tuple[list[int], set[str]]:
    """Channels of each map, and the names of the parameters that the first ``stages`` maps are made by.

    Nothing is computed: shapes and gradients are followed without memory, whatever the network.
    """
    parameters = {
        f"backbone.{name}": torch.empty_like(value, device="meta").requires_grad_(value.is_floating_point())
        for name, value in backbone.named_parameters()
    }
    buffers = {f"backbone.{name}": torch.empty_like(value, device="meta") for name, value in backbone.named_buffers()}
    images = torch.empty(2, 3, 64, 64, device="meta")
    with torch.set_grad_enabled(stages > 0):
        probe, given = _Probe(backbone), (images, stages, list(parameters.values()))
        maps, gradients = functional_call(probe, {**parameters, **buffers}, given)
    require(len(maps) == NUM_STAGES, "backbone", f"must give {NUM_STAGES} feature maps", got=len(maps))
    names = [name for name, _ in backbone.named_parameters()]
    used = {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
    return [each.shape[1] for each in maps], set(names) if stages == NUM_STAGES else used
