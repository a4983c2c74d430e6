"""The memory of a training step, found by running it on tensors that have shapes and no contents.

Every operation of a step's forward and backward pass is run on fake tensors, which takes no memory and, for a billion
parameters, seconds; what is allocated and freed is counted as it happens.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from selfsup.ops.precision import DTYPES, Precision


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes of tensors in one step of one process, beside parameters and buffers.

    Args:
        kept: alive between forward and backward pass: activations, and the images themselves.
        peak: the most that is alive at a time, without gradients of parameters.
        peak_with_gradients: likewise with them, as they arise in the backward pass.
        calls: how often each of the watched modules was called in the forward pass.
    """

    kept: int
    peak: int
    peak_with_gradients: int
    calls: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Every change of the bytes that are alive in a step.

    Args:
        changes: by how many bytes what is alive grows, and what is set apart, in order, int64 (T, 2).
        forward: how many of them are the forward pass's.
        batch_size: images, of ``image_bytes`` each with all views.
        calls: see :class:`Footprint`.
    """

    changes: np.ndarray
    forward: int
    batch_size: int
    image_bytes: int
    calls: tuple[int, ...]

    def footprint(self) -> Footprint:
        """What it comes to."""
        now, apart = self.changes.cumsum(axis=0).T
        images = self.batch_size * self.image_bytes
        return Footprint(
            kept=images + int(now[self.forward - 1]),
            peak=images + int(now.max()),
            peak_with_gradients=images + int((now + apart).max()),
            calls=self.calls,
        )

    def extended(self, other: "Trace", batch_size: int) -> "Trace | None":
        """The trace of a step with another batch, by two that differ in nothing else; None if that cannot be told.

        It can where each change is a part that stays and one in proportion to the images. What has an entry for each
        pair of images grows faster, which would leave it less than nothing to stay.
        """
        if (self.forward, self.changes.shape) != (other.forward, other.changes.shape):
            return None
        each, rest = np.divmod(other.changes - self.changes, other.batch_size - self.batch_size)
        stays = self.changes - self.batch_size * each
        if rest.any() or (np.sign(stays) * np.sign(each) < 0).any():
            return None
        return replace(self, changes=stays + batch_size * each, batch_size=batch_size)


def footprints(run: Callable[[int], Trace]) -> Callable[[int], Footprint]:
    """What steps take by their number of images; the first two asked for are run, others follow from them if they can.

    Args:
        run: a step with so many images.
    """
    traces: list[Trace] = []

    @cache
    def footprint(batch_size: int) -> Footprint:
        found = traces[0].extended(traces[1], batch_size) if len(traces) == 2 else None
        if found is None:
            found = run(batch_size)
            if len(traces) < 2:
                traces.append(found)
        return found.footprint()

    return footprint


class LiveBytes(TorchDispatchMode):
    """Writes down the bytes of tensors that operations make, when they are made and when they are gone.

    Attributes:
        changes: by how many bytes what is alive grows, and what is set apart by :meth:`set_apart`, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[tuple[int, int]] = []
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if not isinstance(results, Tensor | tuple | list):  # such as the device of a tensor, which is asked for most
            return results
        known = {self._key(each) for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)}
        for result in tree_iter(results):
            if isinstance(result, Tensor):
                self._note(result, known)
        return results

    def set_apart(self, tensor: Tensor) -> None:
        """Count a tensor that is alive apart from the others from here on, as gradients are."""
        size = self._sizes.pop(self._key(tensor), 0)
        self.changes.append((-size, size))

    def _note(self, tensor: Tensor, known: set[int]) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in known or key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.changes.append((self._sizes[key], 0))
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.changes.append((-self._sizes.pop(key, 0), 0))

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata


@contextmanager
def without_contents(module: nn.Module) -> Iterator[None]:
    """Inside, a module on the meta device has fake tensors of the CPU, and what is computed is fake."""
    cpu = torch.device("cpu")
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    empty = FakeTensor(mode, parameter.detach(), cpu)
                    part._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = FakeTensor(mode, buffer, cpu)
        yield


def step_trace(
    method: nn.Module,
    views: Sequence[tuple[int, int]],
    batch_size: int,
    precision: Precision,
    *,
    watched: Sequence[nn.Module] = (),
) -> Trace:
    """What happens to memory in one micro-batch of a method.

    Args:
        method: on the meta device; its tensors are replaced by fake ones.
        views: (side in pixels, how many) of the views of one image.
        batch_size: images.
        precision: of the forward pass.
        watched: parts of the method whose calls are counted.

    Raises:
        RuntimeError: if the method looks at values, which fake tensors do not have.
    """
    with without_contents(method):
        batch: Mapping[str, Any] = {
            "views": [_images(batch_size, size) for size, count in views for _ in range(count)],
            "index": torch.empty(batch_size, dtype=torch.int64),
            "label": torch.zeros(batch_size, dtype=torch.int64),
            "bad": [],
        }
        image_bytes = sum(3 * size**2 * count for size, count in views)
        changes, forward, calls = _traced(method, lambda: _loss(method(batch, mode="loss")), precision, watched)
    return Trace(changes=changes, forward=forward, batch_size=batch_size, image_bytes=image_bytes, calls=calls)


def backbone_activations(backbone: nn.Module, size: int, count: int, precision: Precision) -> int:
    """Bytes that a backbone on the meta device keeps of images (count, 3, size, size) for the backward pass."""
    with without_contents(backbone):
        images = torch.empty(count, 3, size, size).contiguous(memory_format=torch.channels_last)
        changes, _, _ = _traced(backbone, lambda: backbone(images).float().sum(), precision, backward=False)
    return int(changes[:, 0].sum())


def _images(count: int, size: int) -> Tensor:
    return torch.empty(count, 3, size, size, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)


def _loss(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([value.float() for name, value in parts.items() if name.startswith("loss")]).sum()


def _traced(
    method: nn.Module,
    run: Callable[[], Tensor],
    precision: Precision,
    watched: Sequence[nn.Module] = (),
    *,
    backward: bool = True,
) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """All changes, how many of them are the forward pass's, and the calls of what is watched."""
    method.train()
    live, calls = LiveBytes(), Counter[nn.Module]()
    handles = [
        parameter.register_post_accumulate_grad_hook(lambda parameter: live.set_apart(parameter.grad))
        for parameter in method.parameters()
        if parameter.requires_grad
    ]
    handles += [part.register_forward_pre_hook(lambda part, _: calls.update([part])) for part in watched]
    try:
        with live:
            with torch.autocast("cpu", DTYPES[precision], enabled=precision != "fp32", cache_enabled=False):
                loss = run()
            forward, called = len(live.changes), tuple(calls[part] for part in watched)
            if backward:
                loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    return np.array(live.changes, np.int64), forward, called
