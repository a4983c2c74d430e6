"""The memory of a training step, found by running it on tensors that have shapes and no contents.

Every operation of a step's forward and backward pass is run on fake tensors, which takes no memory and, for a billion
parameters, seconds; what is allocated and freed is counted as it happens.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from selfsup.ops.precision import Precision

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, for as long as they are alive.

    Attributes:
        now: alive, without what was there before and what was set apart.
        peak: the most that ``now`` has been.
        apart: bytes set apart by :meth:`set_apart`.
        peak_of_all: the most that ``now`` and ``apart`` have been together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.apart = self.peak_of_all = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        known = {self._key(each) for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)}
        for result in tree_iter(results):
            if isinstance(result, Tensor):
                self._note(result, known)
        return results

    def set_apart(self, tensor: Tensor) -> None:
        """Count a tensor that is alive apart from the others from here on, as gradients are."""
        size = self._sizes.pop(self._key(tensor), 0)
        self.now -= size
        self.apart += size

    def _note(self, tensor: Tensor, known: set[int]) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in known or key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.now += self._sizes[key]
        self.peak = max(self.peak, self.now)
        self.peak_of_all = max(self.peak_of_all, self.now + self.apart)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata


@contextmanager
def without_contents(module: nn.Module) -> Iterator[None]:
    """Inside, a module on the meta device has fake tensors of the CPU, and what is computed is fake."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    empty = torch.empty_like(parameter, device="cpu")
                    part._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = torch.empty_like(buffer, device="cpu")
        yield


def step_footprint(
    method: nn.Module,
    views: Sequence[tuple[int, int]],
    batch_size: int,
    precision: Precision,
    *,
    watched: Sequence[nn.Module] = (),
) -> Footprint:
    """What one micro-batch of a method takes.

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
        images = sum(view.numel() for view in batch["views"])
        return _footprint(method, lambda: _loss(method(batch, mode="loss")), precision, images, watched)


def backbone_activations(backbone: nn.Module, size: int, count: int, precision: Precision) -> int:
    """Bytes that a backbone on the meta device keeps of images (count, 3, size, size) for the backward pass."""
    with without_contents(backbone):
        images = torch.empty(count, 3, size, size).contiguous(memory_format=torch.channels_last)
        return _footprint(backbone, lambda: backbone(images).float().sum(), precision, 0, (), backward=False).kept


def _images(count: int, size: int) -> Tensor:
    return torch.empty(count, 3, size, size, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)


def _loss(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([value.float() for name, value in parts.items() if name.startswith("loss")]).sum()


def _footprint(
    method: nn.Module,
    run: Callable[[], Tensor],
    precision: Precision,
    images: int,
    watched: Sequence[nn.Module],
    *,
    backward: bool = True,
) -> Footprint:
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
            kept, called = live.now + images, tuple(calls[part] for part in watched)
            if backward:
                loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    peak, of_all = live.peak + images, live.peak_of_all + images
    return Footprint(kept=kept, peak=peak, peak_with_gradients=of_all, calls=called)
