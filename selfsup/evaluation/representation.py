"""A network together with the way images must be shown to it."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from selfsup.data.input_contract import InputContract
from selfsup.errors import ConfigError
from selfsup.evaluation.features import Features, device_of, extract, logger
from selfsup.methods.base import LAYERS, Method
from selfsup.ops.parts import class_name, is_sharded
from selfsup.weights.digest import fingerprint


class Representation:
    """What is evaluated: features of images.

    A method takes uint8 images and normalizes them itself; any other module is a backbone, which is given images
    normalized by the input contract. Features of a source are computed once and kept as long as the representation:
    several evaluators share one pass.

    Args:
        backbone: a method, or a module that maps normalized images (B, 3, H, W) to features (B, D).
        input_contract: how images are shown.
        name: what tables call it.
        layer: ``'pooled'``, or one of the four feature maps averaged over its places, ``'res2'`` (stride 4) to
            ``'res5'`` (stride 32).
        batch_size: images at a time on each process.
        num_workers: threads that decode ahead.
        log: told which images cannot be decoded.

    Raises:
        ConfigError: if the layer is unknown, or the contract has unknown fields.
    """

    def __init__(
        self,
        backbone: nn.Module,
        input_contract: InputContract = InputContract(),  # noqa: B008 (it is frozen)
        *,
        name: str = "backbone",
        layer: str = "pooled",
        batch_size: int = 64,
        num_workers: int = 2,
        log: Callable[[str], None] = logger.warning,
    ) -> None:
        if layer not in LAYERS:
            raise ConfigError.at("layer", f"must be one of {', '.join(LAYERS)}", got=layer)
        input_contract.check_known("input_contract")
        self.backbone = backbone
        self.input_contract = input_contract
        self.name = name
        self.layer = layer
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.log = log
        self._kept: dict[Any, tuple[Any, Any]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """A digest of weights, input contract and layer; of split weights, all processes ask together."""
        about = f"{class_name(self._network)} {self.input_contract.to_dict()} {self.layer} {fingerprint(self._network)}"
        return hashlib.blake2b(about.encode(), digest_size=16).hexdigest()

    def features(self, source: Any, *, flips: bool = False) -> Features:
        """The features of every image of a source that can be decoded.

        Args:
            source: see :class:`~selfsup.data.ImageSource`.
            flips: average the features of each image and of its mirror image.

        Raises:
            DataError: if no image can be decoded, features are not finite, or all are the same.
        """
        found = self.remember(("features", id(source), flips), source, lambda: self.extract(source, flips=flips))
        found.check(self.name)
        return found

    def extract(self, source: Any, *, flips: bool = False) -> Features:
        """:meth:`features`, computed anew and whatever they are."""

        def compute(images: Tensor) -> Tensor:
            return (self(images) + self(images.flip(3))) / 2 if flips else self(images)

        return extract(
            self.backbone,
            compute,
            self.input_contract.view,
            source,
            device=device_of(self.backbone),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            sharded=is_sharded(self.backbone),
            title=f"features of {self.name}",
            log=self.log,
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, D) of uint8 images (B, 3, H, W) on the network's device."""
        if isinstance(self.backbone, Method):
            return self.backbone(images, mode="features", layer=self.layer)
        normalized = self.input_contract.normalize(images)
        if self.layer == "pooled":
            return self.backbone(normalized)
        network: Any = self.backbone
        return network.feature_maps(normalized)[LAYERS.index(self.layer) - 1].mean((2, 3))

    def remember(self, key: Any, owner: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gave when this key was first asked for; ``owner``, whose id is in the key, is kept alive."""
        if key not in self._kept:
            self._kept[key] = (owner, make())
        return self._kept[key][1]

    @property
    def _network(self) -> nn.Module:
        return self.backbone.representation if isinstance(self.backbone, Method) else self.backbone


class Classifier(Representation):
    """A representation with a head.

    Args:
        head: features (B, D) to logits (B, C).
        classes: names in the order of the logits.
        backbone, input_contract, options: as in :class:`Representation`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        input_contract: InputContract = InputContract(),  # noqa: B008
        *,
        head: Callable[[Tensor], Tensor],
        classes: Sequence[str],
        **options: Any,
    ) -> None:
        super().__init__(backbone, input_contract, **options)
        self.head = head
        self.classes = tuple(classes)

    @torch.no_grad()
    def logits(self, source: Any) -> Tensor:
        """float32 (N, C), of the images that can be decoded."""
        found = self.features(source)
        return torch.cat([self.head(part.to(found.device)).float().cpu() for part in found.features.split(4096)])
