"""A network together with the way images must be shown to it."""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from selfsup.backbones.pooling import check_layer, pool_map
from selfsup.data.input_contract import InputContract
from selfsup.errors import ConfigError
from selfsup.evaluation.extraction.feature_files import FeatureFile
from selfsup.evaluation.extraction.features import Features, device_of, extract, first_images, logger
from selfsup.evaluation.extraction.fingerprint import fingerprint as source_fingerprint
from selfsup.evaluation.extraction.inference import Inference, frozen, prepared
from selfsup.methods.base import LAYERS, Method
from selfsup.ops.dist import broadcast_object, is_main
from selfsup.ops.files import write_record
from selfsup.ops.parts import class_name, is_sharded
from selfsup.ops.precision import Precision, fast_everywhere, fast_precision
from selfsup.weights.digest import fingerprint

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
VISSL_LAYERS = ("res2:16/8", "res3:13/5", "res4:8/3", "res5:6/1", "pooled")
"""The flattened average poolings of a ResNet-50 at 224 pixels that VISSL's linear probes and SVMs read (9,216, 8,192,
9,216 and 8,192 numbers), and the pooled features. Source: VISSL, LINEAR_EVAL_FEAT_POOL_OPS_MAP of its evaluations."""
PROBED = 8  # images that decide about the precision


class Representation:
    """What is evaluated: features of images.

    A method takes uint8 images and normalizes them itself; any other module is a backbone, which is given images
    normalized by the input contract. Features of a source are computed once and kept as long as the representation:
    several evaluators share one pass; with a cache they are kept in files and found again by later runs.

    Args:
        backbone: a method, or a module that maps normalized images (B, 3, H, W) to features (B, D).
        input_contract: how images are shown.
        name: what tables call it.
        layer: ``'pooled'``; one of the four feature maps averaged over its places, ``'res2'`` (stride 4) to ``'res5'``
            (stride 32); or such a map pooled and flattened: ``'res4:8/3'`` averages windows of 8 x 8 places every 3,
            ``'res5:3x1'`` averages down to 3 x 1 places, see :data:`VISSL_LAYERS`.
        cache: a folder for features in files, which are found again by the weights, the input contract, the source's
            images, layer, flips, precision and the version of the extraction; None keeps features in memory, and hashes
            no weights.
        precision: ``'auto'`` computes in what the device does fast if on a first batch of images every cosine with the
            features in float32 is 0.999 or more (about their mean 0.99), and in float32 otherwise; a method, which may
            be in training, is always evaluated in float32. Or one of ``'fp32'``, ``'bf16'``, ``'fp16'``, whatever comes
            out.
        flips: whether the features of an image are averaged with those of its mirror image.
        batch_size: images at a time on each process.
        num_workers: threads that decode ahead.
        log: told which images cannot be decoded, and where the precision is not the fast one.

    Raises:
        ConfigError: if layer or precision is unknown, or the contract has unknown fields.
    """

    def __init__(
        self,
        backbone: nn.Module,
        input_contract: InputContract = InputContract(),  # noqa: B008 (it is frozen)
        *,
        name: str = "backbone",
        layer: str = "pooled",
        cache: Path | None = None,
        precision: Literal["auto"] | Precision = "auto",
        flips: bool = False,
        batch_size: int = 64,
        num_workers: int = 2,
        log: Callable[[str], None] = logger.warning,
    ) -> None:
        check_layer(layer)
        if precision not in PRECISIONS:
            raise ConfigError.at("precision", f"must be one of {', '.join(PRECISIONS)}", got=precision)
        input_contract.check_known("input_contract")
        self.backbone = backbone
        self.input_contract = input_contract
        self.name = name
        self.layer = layer
        self.flips = flips
        self.cache = None if cache is None else Path(cache).expanduser()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.log = log
        self._wanted = precision
        self._together: list[Representation] = [self]
        self._kept: dict[Any, tuple[Any, Any]] = {}
        self._shared: dict[str, Any] = {}  # with the same network at other layers: its digest, how it is run

    def at_layers(self, layers: Sequence[str]) -> list["Representation"]:
        """The same network at several layers; features of all of them come from one pass over the images.

        Args:
            layers: as in the constructor.

        Raises:
            ConfigError: if one is unknown.
        """
        together: list[Representation] = []
        for layer in layers:
            check_layer(layer)
            other = copy.copy(self)
            other.__dict__.pop("fingerprint", None)
            other.layer, other._kept, other._together = layer, {}, together
            together.append(other)
        return together

    @cached_property
    def fingerprint(self) -> str:
        """A digest of weights, input contract, layer and flips; of split weights, all processes ask together."""
        about = f"{self._network_name} {self.input_contract.to_dict()} {self.layer} {self._digest()}"
        about += " flips" if self.flips else ""
        return hashlib.blake2b(about.encode(), digest_size=16).hexdigest()

    @property
    def precision(self) -> Precision:
        """Of the features: what was asked for or, with ``'auto'``, what :meth:`settle` found; before, float32."""
        if self._wanted != "auto":
            return self._wanted
        return self._shared.get("precision", "fp32")

    def settle(self, source: Any) -> Precision:
        """Decide about the precision, if that is not done, by the first images of a source; all processes together.

        Args:
            source: see :class:`~selfsup.data.ImageSource`.

        Raises:
            DataError: if no image can be decoded.
        """
        if self._wanted == "auto" and "precision" not in self._shared:
            known = self._known_precision()
            self._shared["precision"] = known or self._inference(source).precision
            if known is None and self.cache is not None and is_main():
                self.cache.mkdir(parents=True, exist_ok=True)
                fast = fast_precision(device_of(self.backbone))
                write_record(self._precision_file, json.dumps({fast: self._shared["precision"]}) + "\n")
        return self.precision

    def features(self, source: Any, *, flips: bool | None = None) -> Features:
        """The features of every image of a source that can be decoded.

        Args:
            source: see :class:`~selfsup.data.ImageSource`.
            flips: instead of the representation's own.

        Raises:
            DataError: if no image can be decoded, features are not finite, or all are the same.
            RecordError: if the disk does not take them.
        """
        flips = self.flips if flips is None else flips
        key = ("features", id(source), flips)
        if key not in self._kept:
            for other, found in zip(self._together, self._extract(self._together, source, flips), strict=True):
                other._kept[key] = (source, found)
        found = self._kept[key][1]
        self.remember(("checked", *key[1:]), source, lambda: found.check(self.name))
        return found

    def extract(self, source: Any, *, flips: bool | None = None) -> Features:
        """:meth:`features`, computed anew, or taken from the cache, and whatever they are."""
        return self._extract([self], source, self.flips if flips is None else flips)[0]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, D) of uint8 images (B, 3, H, W) on the network's device."""
        inference = self._shared.get("inference") or Inference(self.backbone, "fp32")
        with inference.autocast(images.device):
            return self._compute(inference.network, [self.layer], images)[0].float()

    def remember(self, key: Any, owner: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gave when this key was first asked for; ``owner``, whose id is in the key, is kept alive."""
        if key not in self._kept:
            self._kept[key] = (owner, make())
        return self._kept[key][1]

    @property
    def _network(self) -> nn.Module:
        return self.backbone.representation if isinstance(self.backbone, Method) else self.backbone

    @property
    def _network_name(self) -> str:
        """Its class; of a network without tensors, which nothing else tells from another, its settings too."""
        has_tensors = any(True for _ in chain(self._network.parameters(), self._network.buffers()))
        return class_name(self._network) if has_tensors else repr(self._network)

    def _digest(self) -> str:
        if "digest" not in self._shared:
            whole = hasattr(self.backbone, "detect")  # a detector is evaluated with its heads
            self._shared["digest"] = fingerprint(self.backbone if whole else self._network)
        return self._shared["digest"]

    def _extract(self, together: Sequence["Representation"], source: Any, flips: bool) -> list[Features]:
        layers = [each.layer for each in together]
        files = None
        if self.cache is not None:
            self.settle(source)
            known = self._source_digest(source)
            files = [each._file(known, flips, count=len(source)) for each in together]
            if all(broadcast_object([file.complete for file in files])):
                return self._run(lambda _: [], source, files)
        with frozen(self.backbone):
            inference = self._inference(source)
            device = device_of(self.backbone)

            def compute(images: Tensor) -> list[Tensor]:
                with inference.autocast(device):
                    found = self._compute(inference.network, layers, images)
                    if flips:
                        mirrored = self._compute(inference.network, layers, images.flip(3))
                        found = [(one.float() + other.float()) / 2 for one, other in zip(found, mirrored, strict=True)]
                return found

            return self._run(compute, source, files)

    def _run(
        self, compute: Callable[[Tensor], list[Tensor]], source: Any, files: list[FeatureFile] | None
    ) -> list[Features]:
        return extract(
            compute,
            self.input_contract.view,
            source,
            device=device_of(self.backbone),
            files=files,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            sharded=is_sharded(self.backbone),
            title=f"features of {self.name}",
            log=self.log,
        )

    def _file(self, source: str, flips: bool, *, count: int) -> FeatureFile:
        assert self.cache is not None
        about = {"weights": self._digest(), "network": self._network_name, "source": source, "images": count}
        about |= {"input_contract": self.input_contract.to_dict(), "layer": self.layer, "flips": flips}
        return FeatureFile(self.cache, {**about, "precision": self.precision}, count=count)

    def _source_digest(self, source: Any) -> str:
        def digest() -> str:
            return broadcast_object(source_fingerprint(source) if is_main() else None)

        return self.remember(("digest", id(source)), source, digest)

    def _inference(self, source: Any) -> Inference:
        """How the network is run; decided once, by the first images of a source."""
        if "inference" in self._shared:
            return self._shared["inference"]
        device = device_of(self.backbone)
        if not self._may_be_fast:
            return Inference(self.backbone, "fp32" if self._wanted == "auto" else self._wanted)
        images = first_images(source, self.input_contract.view, PROBED).to(device)
        layers = list(dict.fromkeys(each.layer for each in self._together))
        wanted: Precision | None = self._shared.get("precision") if self._wanted == "auto" else self._wanted
        with frozen(self.backbone):
            found = prepared(
                self.backbone, lambda network, some: self._compute(network, layers, images[some]), wanted, device
            )
        if found.said and is_main():
            self.log(found.said)
        self._shared["inference"] = found
        if self._wanted == "auto":
            self._shared["precision"] = found.precision
        return found

    @property
    def _may_be_fast(self) -> bool:
        """Methods may be in training; a network without parameters has nothing to gain."""
        plain = isinstance(self.backbone, Method) or is_sharded(self.backbone)
        return not plain and any(True for _ in self.backbone.parameters())

    def _known_precision(self) -> Precision | None:
        """What an earlier run decided for these weights on such a device."""
        if not self._may_be_fast or (fast := fast_everywhere(device_of(self.backbone))) == "fp32":
            return "fp32"
        if self.cache is None:
            return None
        try:
            known = json.loads(self._precision_file.read_text(encoding="utf-8")) if is_main() else {}
        except (OSError, ValueError):
            known = {}
        return broadcast_object(known.get(fast))

    @property
    def _precision_file(self) -> Path:
        assert self.cache is not None
        return self.cache / f"precision-{self.fingerprint}.json"

    def _compute(self, network: Any, layers: Sequence[str], images: Tensor) -> list[Tensor]:
        """Features (B, D) at each layer, of uint8 images."""
        if isinstance(network, Method):
            plain = [layer for layer in layers if layer in LAYERS]
            if len(plain) == len(layers):
                return [network(images, mode="features", layer=layer) for layer in layers]
            (normalized,) = network._normalized([images])
            pooled, network = network.features, network.representation
        else:
            normalized, pooled = self.input_contract.normalize(images), network
        if set(layers) == {"pooled"}:
            return [pooled(normalized)] * len(layers)
        maps = network.feature_maps(normalized)
        found = {layer: pool_map(maps, layer) for layer in layers if layer != "pooled"}
        if "pooled" in layers:
            last = maps[-1].mean((2, 3))
            if "mean" not in self._shared:  # of most networks; then one pass is enough
                own = pooled(normalized)
                same = own.shape == last.shape and torch.allclose(own.float(), last.float(), rtol=1e-4, atol=1e-6)
                self._shared["mean"] = same
            found["pooled"] = last if self._shared["mean"] else pooled(normalized)
        return [found[layer] for layer in layers]


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

    @cached_property
    def fingerprint(self) -> str:
        """A digest of weights, input contract, layer, head and classes."""
        head = self.head if isinstance(self.head, nn.Module) else getattr(self.head, "__self__", None)
        weights = fingerprint(head) if isinstance(head, nn.Module) else repr(self.head)
        about = f"{Representation.fingerprint.func(self)} {weights} {self.classes}"  # type: ignore[attr-defined]
        return hashlib.blake2b(about.encode(), digest_size=16).hexdigest()

    @torch.no_grad()
    def logits(self, source: Any) -> Tensor:
        """float32 (N, C), of the images that can be decoded."""
        found = self.features(source)
        return torch.cat([self.head(part.to(found.device)).float().cpu() for part in found.features.split(4096)])

    @torch.no_grad()
    def predict(self, source: Any) -> tuple[Tensor, Tensor]:
        """Logits, float32 (N, C), of the images that can be decoded, and their positions, int64 (N,).

        Raises:
            DataError: if no image can be decoded.
        """
        found = self.extract(source)
        logits = [self.head(part.to(found.device)).float().cpu() for part in found.features.split(4096)]
        return torch.cat(logits), found.index
