"""Frozen features of images: extraction on any number of processes, in memory or in files."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from selfsup.data.views.image_check import check_source_image
from selfsup.errors import DataError, DecodeError
from selfsup.evaluation.extraction.feature_files import FeatureFile
from selfsup.ops.dist import (
    broadcast_object,
    from_main,
    gather,
    gather_objects,
    is_main,
    raise_together,
    rank,
    world_size,
)
from selfsup.ops.memory import tune_allocator
from selfsup.ops.parts import computed_on
from selfsup.ops.progress import progress_after

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Batch = tuple[list[int], list[int], Tensor]  # positions, those of them that can be decoded, and these images

CPU = torch.device("cpu")
GATHERED_ROWS = 4096  # of each process that are on a device at once
CHECKED_ROWS = 65_536
SECONDS_BETWEEN_LINES = 60.0
SHOWN = 3  # names of images that cannot be decoded, in a message


@dataclass(frozen=True, eq=False)
class Features:
    """What a network makes of a source's images, on the CPU.

    Args:
        features: float32, (N, D); in memory, or a memory map of a file that may be larger than the memory.
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
        bad, same = 0, True
        for block in self.features.split(CHECKED_ROWS):
            bad += int((~torch.isfinite(block).all(dim=1)).sum())
            same = same and bool((block == self.features[0]).all())
        if bad:
            raise DataError.at(str(what), f"features of {bad:,} of {len(self):,} images are not finite")
        if len(self) > 1 and same:
            raise DataError.at(
                str(what), f"all {len(self):,} images have the same features", expected="were the weights loaded?"
            )


class Stacked:
    """Features of several sources one behind the other, without a copy of them.

    Args:
        parts: with labels.
    """

    def __init__(self, *parts: Features | None) -> None:
        self.parts = [part for part in parts if part is not None]
        self.labels = torch.cat([part.labels for part in self.parts if part.labels is not None])
        self.dim = self.parts[0].features.shape[1]
        self.device = self.parts[0].device

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self, size: int) -> Iterator[Tensor]:
        """The features in blocks of at most ``size`` rows, in order."""
        for part in self.parts:
            yield from part.features.split(size)

    def rows(self, index: np.ndarray | Tensor) -> Tensor:
        """Some rows, copied."""
        index = torch.as_tensor(index)
        found = torch.empty(len(index), self.dim, dtype=self.parts[0].features.dtype)
        start = 0
        for part in self.parts:
            here = (index >= start) & (index < start + len(part))
            found[here] = part.features[index[here] - start]
            start += len(part)
        return found


@torch.no_grad()
def extract(
    compute: Callable[[Tensor], Sequence[Tensor]],
    view: Callable[[np.ndarray], np.ndarray],
    source: Any,
    *,
    device: torch.device,
    files: Sequence[FeatureFile] | None = None,
    batch_size: int = 64,
    num_workers: int = 2,
    sharded: bool = False,
    title: str = "features",
    log: Callable[[str], None] = logger.warning,
) -> list[Features]:
    """Run a frozen network over a source as it would be used, all processes together.

    Every process takes a contiguous slice of the images that are left to do. Into ``files`` each writes its own part,
    and all read the whole as memory maps; without files all of them get all features, through blocks of bounded size.
    An error on one process is raised on all. Draws no random numbers. On the CPU the C allocator is tuned, unless
    ``tune_allocator(False)`` was called before, see :func:`~selfsup.ops.memory.tune_allocator`.

    Args:
        compute: uint8 images (B, 3, H, W) on the device to features (B, D), for each layer.
        view: an image of the source to what is shown, uint8 (H, W, 3).
        source: see :class:`~selfsup.data.ImageSource`.
        device: where to compute.
        files: for each layer; what they hold already is not computed again.
        batch_size: images at a time on each process.
        num_workers: threads that decode ahead.
        sharded: whether the network's weights are split, so that a process without images must take part all the same.
        title: of the progress bar, shown on a terminal after five seconds; elsewhere a line a minute is logged.
        log: told which images cannot be decoded, if there are any; they are left out.

    Returns:
        The features at each layer.

    Raises:
        DataError: if not a single image can be decoded.
        RecordError: if the disk does not take the features.
    """
    if device.type == "cpu":
        tune_allocator()
    own, rounds = _share(len(source), files, batch_size)
    batches: Iterator[Batch] = _batches(source, own, view, batch_size, num_workers, rounds=rounds)
    if is_main():
        batches = progress_after(_reported(batches, len(own), batch_size, title), total=rounds, title=title)
    parts: list[Sequence[Tensor]] = []
    kept: list[int] = []
    fault: Exception | None = None
    try:
        for chunk, good, found in _computed(compute, batches, device, sharded=sharded):
            if files is None:
                kept += good
                parts += [found] if good else []
            else:
                _write(files, chunk, good, found)
    except Exception as error:
        if world_size() == 1:
            raise
        fault = error
    finally:
        for file in files or ():
            file.close()
    raise_together(fault)
    if files is not None:
        counts = from_main(lambda: [file.finish(source) for file in files])
        _say_left_out(source, files[0].read()[1] if counts[0] else torch.empty(0), log)
        return [_features(*file.read(), source, device) for file in files]
    index = torch.tensor([number for part in gather_objects(kept) for number in part], dtype=torch.int64)
    _say_left_out(source, index, log)
    layers = max(gather_objects(len(parts[0]) if parts else 0))
    own_layers = [torch.cat([part[number] for part in parts]) if parts else None for number in range(layers)]
    return [_features(_gather_uneven(each, device), index, source, device) for each in own_layers]


def _share(count: int, files: Sequence[FeatureFile] | None, batch_size: int) -> tuple[list[int], int]:
    """The images that this process computes, and how many batches of them the busiest process has."""
    todo = np.arange(count)
    if files is not None:
        todo = broadcast_object(_to_do(files) if is_main() else None)
    size = -(-len(todo) // world_size())
    return todo[min(rank() * size, len(todo)) :][:size].tolist(), -(-size // batch_size)


def _computed(
    compute: Callable[[Tensor], Sequence[Tensor]], batches: Iterator[Batch], device: torch.device, *, sharded: bool
) -> Iterator[tuple[list[int], list[int], Sequence[Tensor]]]:
    """The positions of each batch, those that could be decoded, and their features at each layer, on the CPU."""
    shape: tuple[int, ...] = (3, 32, 32)
    for chunk, good, images in batches:
        found: Sequence[Tensor] = ()
        if good:
            shape = tuple(images.shape[1:])
            found = [each.float().cpu() for each in compute(images.to(device))]
        elif sharded:
            compute(torch.full((1, *shape), 127, dtype=torch.uint8, device=device))
        yield chunk, good, found


def _write(files: Sequence[FeatureFile], chunk: list[int], good: list[int], found: Sequence[Tensor]) -> None:
    bad = sorted(set(chunk) - set(good))
    for number, file in enumerate(files):
        file.write(good, found[number] if good else torch.empty(0, 0), bad)


def _to_do(files: Sequence[FeatureFile]) -> np.ndarray:
    """Images that one of the files lacks."""
    lacking = [file.remaining() for file in files if not file.complete]
    return np.unique(np.concatenate(lacking)) if lacking else np.zeros(0, np.int64)


def _features(features: Tensor, index: Tensor, source: Any, device: torch.device) -> Features:
    labels, groups = (_of(getattr(source, name, None), index) for name in ("labels", "groups"))
    return Features(features, index, labels, groups, getattr(source, "classes", None), device)


def _say_left_out(source: Any, index: Tensor, log: Callable[[str], None]) -> None:
    if len(index) < len(source) and is_main():
        log(_left_out(source, np.setdiff1d(np.arange(len(source)), index.numpy())))
    if not len(source):
        raise DataError.at("evaluation", "there is no image to evaluate", expected="more labelled images of each class")
    if not len(index):
        raise DataError.at(
            "evaluation", f"none of the {len(source):,} images can be decoded", expected="at least one is needed"
        )


def _of(values: Any, index: Tensor) -> Tensor | None:
    """Labels or groups of some images; None where there are none, or several a image."""
    if values is None or hasattr(values, "row"):
        return None
    return torch.from_numpy(np.array(values, np.int64))[index]


def _left_out(source: Any, missing: np.ndarray) -> str:
    names = ", ".join(source.name(int(index)) for index in missing[:SHOWN])
    more = ", ..." if len(missing) > SHOWN else ""
    return f"{len(missing)} of {len(source)} images could not be decoded and were left out: {names}{more}"


def device_of(module: nn.Module) -> torch.device:
    """Where a module's first parameter or buffer is; the CPU for a module that has neither."""
    for tensor in (*module.parameters(), *module.buffers()):
        return computed_on(tensor)
    return torch.device("cpu")


def _batches(
    source: Any, indices: list[int], view: Any, batch_size: int, num_workers: int, *, rounds: int
) -> Iterator[Batch]:
    """Images as they are shown, uint8 (B, 3, H, W), decoded ahead."""

    def load(index: int) -> np.ndarray | None:
        try:
            image = source.image(index)
        except DecodeError:
            return None
        check_source_image(image, source.name(index))
        return view(image)

    chunks = [indices[number * batch_size : (number + 1) * batch_size] for number in range(rounds)]
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        ahead = [pool.map(load, chunk) for chunk in chunks[:1]]
        for number, chunk in enumerate(chunks):
            if number + 1 < len(chunks):
                ahead.append(pool.map(load, chunks[number + 1]))
            loaded = list(zip(chunk, ahead.pop(0), strict=True))
            good = [index for index, image in loaded if image is not None]
            images = [torch.from_numpy(np.ascontiguousarray(image)) for _, image in loaded if image is not None]
            yield chunk, good, torch.stack(images).permute(0, 3, 1, 2) if images else torch.empty(0)


def first_images(source: Any, view: Callable[[np.ndarray], np.ndarray], count: int) -> Tensor:
    """Some images of a source as they are shown, uint8 (B, 3, H, W): spread over it, all as large as the first.

    Raises:
        DataError: if none can be decoded.
    """
    shown: list[Tensor] = []
    step = max(1, len(source) // count)
    for index in (place for start in range(step) for place in range(start, len(source), step)):
        try:
            image = source.image(index)
        except DecodeError:
            continue
        check_source_image(image, source.name(index))
        image = view(image)
        if not shown or image.shape == shown[0].shape:
            shown.append(torch.from_numpy(np.ascontiguousarray(image)))
        if len(shown) == count:
            break
    if not shown:
        _say_left_out(source, torch.empty(0), lambda _: None)
    return torch.stack(shown).permute(0, 3, 1, 2)


def _reported(batches: Iterator[Item], count: int, batch_size: int, title: str) -> Iterator[Item]:
    """Batches as they are; a line a minute says how far it is, where no terminal shows it."""
    begun = said = time.monotonic()
    for number, batch in enumerate(batches):
        yield batch
        now, done = time.monotonic(), min((number + 1) * batch_size, count)
        if now - said > SECONDS_BETWEEN_LINES:
            said, speed = now, done / (now - begun)
            left = timedelta(seconds=round((count - done) / speed))
            logger.info(f"{title}: {done:,} of {count:,} images of this process, {speed:.3g} a second, {left} left")


def _gather_uneven(features: Tensor | None, device: torch.device) -> Tensor:
    """The rows of all processes, on the CPU of each; the device holds a block of them at a time."""
    if world_size() == 1:
        assert features is not None
        return features
    shapes = gather_objects(None if features is None else tuple(features.shape))
    dim = next(shape[1] for shape in shapes if shape is not None)
    counts = [0 if shape is None else shape[0] for shape in shapes]
    everyone: list[list[Tensor]] = [[] for _ in counts]
    for start in range(0, max(counts), GATHERED_ROWS):
        size = min(GATHERED_ROWS, max(counts) - start)
        padded = torch.zeros(size, dim, device=device)
        if features is not None and start < len(features):
            own = features[start : start + size]
            padded[: len(own)] = own.to(device)
        for number, part in enumerate(gather(padded).cpu().split(size)):
            everyone[number].append(part[: max(0, counts[number] - start)].clone())
    return torch.cat([part for parts in everyone for part in parts])
