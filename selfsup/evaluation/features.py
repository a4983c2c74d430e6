"""Frozen features of a data set."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.data.preprocess import Preprocess
from selfsup.errors import DataError, DecodeError
from selfsup.evaluation.progress import progress_after
from selfsup.ops.dist import broadcast_object, gather, gather_objects, rank, world_size
from selfsup.ops.memory import tune_allocator
from selfsup.ops.parts import is_split
from selfsup.registry import DATASETS, TRANSFORMS

logger = logging.getLogger(__name__)

SHOWN = 3  # names of images that cannot be decoded, in a message
MATTE = 127  # mid-grey: what a transparent image is laid on, the level that normalises to about zero


class Features(NamedTuple):
    """What a backbone makes of a data set, in memory of the CPU.

    Attributes:
        features: float32, (N, D).
        labels: int64, (N,), or None.
        device: where they were computed, and where more may be computed from them.
    """

    features: Tensor
    labels: Tensor | None
    device: torch.device = torch.device("cpu")

    def with_labels(self) -> tuple[Tensor, Tensor]:
        """Both, where there must be labels.

        Raises:
            DataError: if there are none.
        """
        if self.labels is None:
            raise DataError("evaluation: these images have no labels, and this evaluator needs them")
        return self.features, self.labels


@dataclass(frozen=True, eq=False)
class FeatureSource:
    """A data set and how its images are shown to a backbone; two equal sources have equal features.

    Args:
        dataset: images, and labels where there are any.
        size: side of the square shown, in pixels.
        resize: length the shorter side is resized to before the centre is cut out; None for 256/224 of ``size``.
        preprocess: what normalises; None for ImageNet's mean and standard deviation.
        batch_size: images at a time on each process.
        num_workers: threads that decode ahead.
    """

    dataset: Any
    size: int = 224
    resize: int | None = None
    preprocess: Preprocess | None = None
    batch_size: int = 64
    num_workers: int = 2

    @classmethod
    def build(
        cls,
        dataset: Any,
        *,
        size: int,
        resize: int | None,
        preprocess: Preprocess | dict | None,
        batch_size: int,
        num_workers: int,
    ) -> "FeatureSource":
        """A source from objects or dicts.

        Raises:
            ConfigError: if a dict does not fit what it names.
        """
        if isinstance(preprocess, dict):
            preprocess = Preprocess(**preprocess)
        return cls(DATASETS.build(dataset), size, resize, preprocess, batch_size, num_workers)

    def of(self, dataset: Any) -> "FeatureSource":
        """The same way of showing images, of another data set (or its dict)."""
        return replace(self, dataset=DATASETS.build(dataset))

    def _key(self) -> tuple[Any, ...]:
        return id(self.dataset), self.size, self.resize, id(self.preprocess), self.batch_size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureSource) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def extract(self, backbone: nn.Module, *, log: Callable[[str], None] = logger.warning) -> Features:
        """The features of every image that can be decoded; the others are told to ``log``."""
        return extract_features(
            backbone,
            self.dataset,
            size=self.size,
            resize=self.resize,
            preprocess=self.preprocess,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            log=log,
        )


@torch.no_grad()
def extract_features(
    backbone: nn.Module,
    dataset: Any,
    *,
    size: int = 224,
    resize: int | None = None,
    preprocess: nn.Module | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    num_workers: int = 2,
    progress: bool = True,
    log: Callable[[str], None] = logger.warning,
) -> Features:
    """Run a backbone over a data set, as it would be used: frozen, in eval mode, in float32.

    Every process takes a contiguous slice of the images and all of them get all features, in the order of the data
    set. The backbone's training flags are as before afterwards. Batch norm uses the statistics of process 0 on every
    process, which are the ones a checkpoint holds. Draws no random numbers. On the CPU the C allocator is tuned, unless
    ``tune_allocator(False)`` was called before, see :func:`~selfsup.ops.memory.tune_allocator`.

    Args:
        backbone: maps normalised images (B, 3, H, W) to features (B, D).
        dataset: ``len()``, ``image(index)`` and ``labels``; an image with an alpha channel is laid on mid-grey.
        size: side of the square shown, in pixels.
        resize: length the shorter side is resized to before the centre is cut out; None for 256/224 of ``size``.
        preprocess: normalises a list of uint8 batches; None for ImageNet's mean and standard deviation.
        batch_size: images at a time on each process.
        device: where to run; None for where the backbone is.
        num_workers: threads that decode ahead; they draw nothing from any random generator.
        progress: show a bar with the time left once it has taken five seconds, on a terminal.
        log: told which images cannot be decoded, if there are any.

    Returns:
        Features (N, D) and labels (N,) or None. Images that cannot be decoded are left out.

    Raises:
        DataError: if not a single image can be decoded.
    """
    device = torch.device(device) if device is not None else device_of(backbone)
    if device.type == "cpu":
        tune_allocator()
    normalise = (preprocess if preprocess is not None else Preprocess()).to(device)
    view = evaluation_view(size, resize)
    per_process = -(-len(dataset) // world_size())
    rounds = -(-per_process // batch_size)
    start = min(rank() * per_process, len(dataset))
    indices = range(start, min(start + per_process, len(dataset)))

    parts: list[Tensor] = []
    kept: list[int] = []
    with _frozen(backbone), _statistics_of_main(backbone), torch.autocast(device.type, enabled=False):
        for good, images in progress_after(
            _batches(dataset, indices, view, batch_size, num_workers, rounds=rounds),
            total=rounds,
            title="features",
            enabled=progress and rank() == 0,
        ):
            kept += good
            if good:
                parts.append(backbone(normalise([images.to(device)])[0]).float().cpu())
            elif any(map(is_split, backbone.parameters())):  # the others need this process to gather weights
                backbone(normalise([torch.full((1, 3, size, size), MATTE, dtype=torch.uint8, device=device)])[0])
    features = _gather_uneven(torch.cat(parts) if parts else None, device)
    index = torch.tensor([i for part in gather_objects(kept) for i in part])
    if len(index) < len(dataset) and rank() == 0:
        log(_left_out(dataset, np.setdiff1d(np.arange(len(dataset)), index.numpy())))
    if features is None:
        raise DataError(f"evaluation: none of the {len(dataset)} images can be decoded; at least one is needed")
    labels = getattr(dataset, "labels", None)
    known = None if labels is None else torch.as_tensor(np.asarray(labels, np.int64))[index]
    return Features(features, known, device)


def _left_out(dataset: Any, missing: np.ndarray) -> str:
    name = getattr(dataset, "name", str)
    names = ", ".join(name(int(index)) for index in missing[:SHOWN])
    more = ", ..." if len(missing) > SHOWN else ""
    return f"{len(missing)} of {len(dataset)} images could not be decoded and were left out: {names}{more}"


def evaluation_view(size: int, resize: int | None) -> Any:
    """What turns an image into the square shown: uint8 (H, W, 3) to (size, size, 3); see :func:`extract_features`."""
    return TRANSFORMS.build({"type": "EvaluationView", "size": size, "resize": resize or round(size * 256 / 224)})


def load_view(dataset: Any, index: int, view: Any) -> np.ndarray:
    """One image as evaluation shows it, uint8 (size, size, 3).

    Raises:
        DecodeError: if the image cannot be decoded.
    """
    return view(opaque(dataset.image(index)))


def opaque(image: np.ndarray) -> np.ndarray:
    """The image without its alpha channel, laid on mid-grey; uint8 (H, W, 3)."""
    if image.shape[-1] == 3:
        return image
    alpha = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * alpha + MATTE * (255 - alpha) + 127) // 255).astype(np.uint8)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's first parameter or buffer is; the CPU for a module that has neither."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def _batches(
    dataset: Any, indices: range, view: Any, batch_size: int, num_workers: int, *, rounds: int
) -> Iterator[tuple[list[int], Tensor]]:
    def load(index: int) -> np.ndarray | None:
        try:
            return load_view(dataset, index, view)
        except DecodeError:
            return None

    chunks = [indices[number * batch_size : (number + 1) * batch_size] for number in range(rounds)]
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        ahead = [pool.map(load, chunk) for chunk in chunks[:1]]
        for number, chunk in enumerate(chunks):
            if number + 1 < len(chunks):
                ahead.append(pool.map(load, chunks[number + 1]))
            loaded = list(zip(chunk, ahead.pop(0), strict=True))
            good = [index for index, image in loaded if image is not None]
            images = [torch.from_numpy(image) for _, image in loaded if image is not None]
            yield good, torch.stack(images).permute(0, 3, 1, 2) if images else torch.empty(0)


def _gather_uneven(features: Tensor | None, device: torch.device) -> Tensor | None:
    if world_size() == 1:
        return features
    shapes = gather_objects(None if features is None else tuple(features.shape))
    known = [shape for shape in shapes if shape is not None]
    if not known:
        return None
    longest = max(count for count, _ in known)
    padded = torch.zeros(longest, known[0][1], device=device)
    if features is not None:
        padded[: len(features)] = features.to(device)
    everyone = gather(padded).cpu().split(longest)
    return torch.cat([part[: shape[0]] for part, shape in zip(everyone, shapes, strict=True) if shape is not None])


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    flags = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in flags.items():
            part.training = training


@contextmanager
def _statistics_of_main(module: nn.Module) -> Iterator[None]:
    """Running statistics drift apart between processes until DistributedDataParallel's next broadcast."""
    own = {n: b for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var"))}
    if world_size() == 1 or not own:
        yield
        return
    before = {name: buffer.clone() for name, buffer in own.items()}
    main = broadcast_object({name: buffer.cpu() for name, buffer in own.items()} if rank() == 0 else None)
    for name, buffer in own.items():
        buffer.copy_(main[name])
    try:
        yield
    finally:
        for name, buffer in own.items():
            buffer.copy_(before[name])
