"""Frozen features of images: extraction on any number of processes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.errors import DataError, DecodeError
from selfsup.ops.dist import broadcast_object, gather, gather_objects, rank, world_size
from selfsup.ops.memory import tune_allocator
from selfsup.ops.progress import progress_after

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
SHOWN = 3  # names of images that cannot be decoded, in a message


@dataclass(frozen=True, eq=False)
class Features:
    """What a network makes of a source's images, in the memory of the CPU.

    Args:
        features: float32, (N, D).
        index: positions of the images in the source, int64 (N,): those that could be decoded.
        labels: positions in ``classes``, int64 (N,), or None.
        groups: of images that belong together, int64 (N,), or None.
        classes: names in label order, or None.
        device: where they were computed, and where more may be computed from them.
    """

    features: Tensor
    index: Tensor
    labels: Tensor | None = None
    groups: Tensor | None = None
    classes: Sequence[str] | None = None
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.features)

    def check(self, what: str) -> None:
        """Reject features of which any score would mean nothing.

        Raises:
            DataError: if a number is not finite, or all images have the same features.
        """
        finite = torch.isfinite(self.features).all(dim=1)
        if not finite.all():
            raise DataError.at(
                str(what), f"features of {int((~finite).sum()):,} of {len(self):,} images are not finite"
            )
        if len(self) > 1 and (self.features == self.features[0]).all():
            raise DataError.at(
                str(what), f"all {len(self):,} images have the same features", expected="were the weights loaded?"
            )


def joined(parts: Sequence[Features]) -> Features:
    """Features of several sources one behind the other; positions and groups are no longer those of one source."""
    labels = None if any(part.labels is None for part in parts) else torch.cat([part.labels for part in parts])  # type: ignore[misc]
    first = parts[0]
    return Features(
        torch.cat([part.features for part in parts]),
        torch.cat([part.index for part in parts]),
        labels,
        classes=first.classes,
        device=first.device,
    )


@torch.no_grad()
def extract(
    network: nn.Module,
    compute: Callable[[Tensor], Tensor],
    view: Callable[[np.ndarray], np.ndarray],
    source: Any,
    *,
    device: torch.device,
    batch_size: int = 64,
    num_workers: int = 2,
    sharded: bool = False,
    title: str = "features",
    log: Callable[[str], None] = logger.warning,
) -> Features:
    """Run a network over a source as it would be used: frozen, in eval mode, in float32.

    Every process takes a contiguous slice of the images and all of them get all features, in the order of the source.
    The network's training flags are as before afterwards. Batch norm uses the statistics of process 0 on every process,
    which are the ones a checkpoint holds. Draws no random numbers. On the CPU the C allocator is tuned, unless
    ``tune_allocator(False)`` was called before, see :func:`~selfsup.ops.memory.tune_allocator`.

    Args:
        network: whose flags and statistics are kept.
        compute: uint8 images (B, 3, H, W) on the device to features (B, D).
        view: an image of the source to what is shown, uint8 (H, W, 3).
        source: see :class:`~selfsup.data.ImageSource`.
        device: where to compute.
        batch_size: images at a time on each process.
        num_workers: threads that decode ahead.
        sharded: whether the network's weights are split, so that a process without images must take part all the same.
        title: of the progress bar, shown on a terminal after five seconds.
        log: told which images cannot be decoded, if there are any; they are left out.

    Raises:
        DataError: if not a single image can be decoded.
    """
    if device.type == "cpu":
        tune_allocator()
    per_process = -(-len(source) // world_size())
    rounds = -(-per_process // batch_size)
    start = min(rank() * per_process, len(source))
    indices = range(start, min(start + per_process, len(source)))
    parts: list[Tensor] = []
    kept: list[int] = []
    shape: tuple[int, ...] = (3, 32, 32)
    with _frozen(network), _statistics_of_main(network), torch.autocast(device.type, enabled=False):
        batches = _batches(source, indices, view, batch_size, num_workers, rounds=rounds)
        for good, images in progress_after(batches, total=rounds, title=title, enabled=rank() == 0):
            kept += good
            if good:
                shape = tuple(images.shape[1:])
                parts.append(compute(images.to(device)).float().cpu())
            elif sharded:
                compute(torch.full((1, *shape), 127, dtype=torch.uint8, device=device))
    features = _gather_uneven(torch.cat(parts) if parts else None, device)
    index = torch.tensor([number for part in gather_objects(kept) for number in part], dtype=torch.int64)
    if len(index) < len(source) and rank() == 0:
        log(_left_out(source, np.setdiff1d(np.arange(len(source)), index.numpy())))
    if features is None:
        raise DataError.at(
            "evaluation", f"none of the {len(source):,} images can be decoded", expected="at least one is needed"
        )
    labels, groups = (_of(getattr(source, name, None), index) for name in ("labels", "groups"))
    return Features(features, index, labels, groups, getattr(source, "classes", None), device)


def _of(values: Any, index: Tensor) -> Tensor | None:
    """Labels or groups of some images; None where there are none, or several a image."""
    if values is None or hasattr(values, "row"):
        return None
    return torch.as_tensor(np.asarray(values, np.int64))[index]


def _left_out(source: Any, missing: np.ndarray) -> str:
    names = ", ".join(source.name(int(index)) for index in missing[:SHOWN])
    more = ", ..." if len(missing) > SHOWN else ""
    return f"{len(missing)} of {len(source)} images could not be decoded and were left out: {names}{more}"


def device_of(module: nn.Module) -> torch.device:
    """Where a module's first parameter or buffer is; the CPU for a module that has neither."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def _batches(
    source: Any, indices: range, view: Any, batch_size: int, num_workers: int, *, rounds: int
) -> Iterator[tuple[list[int], Tensor]]:
    def load(index: int) -> np.ndarray | None:
        try:
            return view(source.image(index))
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
            images = [torch.from_numpy(np.ascontiguousarray(image)) for _, image in loaded if image is not None]
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
