"""Ways to train a config, and the memory of a process in each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from selfsup.config.recipe import Recipe, Sharding
from selfsup.engine.distributed import blocks
from selfsup.planning.memory import Footprint
from selfsup.planning.trial import lone_optimizer

ROOM = 0.9
"""Share of a device's memory that tensors may fill: the rest is for the context, workspaces and gaps between tensors,
of which nothing is known beforehand."""
FLOAT32 = 4
_TRIES = 5  # of batches, each a step
_CLOSE = 0.02  # of the images that fit: so few more are not looked for


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train the config, and the memory of each process, in bytes.

    Args:
        checkpoint_stages: stages of the backbone whose activations are computed again.
        split: over how many processes parameters, gradients and the optimizer's state are split; 1 for not at all. With
            fewer than all there are several copies.
        parts: bytes by what they are for; None for what is not known.
        batch_size: the images per process and micro-batch that this is for.
        largest_batch: the most that fit; 0 if not one does, None if that is not known.
    """

    checkpoint_stages: tuple[int, ...]
    split: int
    parts: dict[str, int | None]
    batch_size: int
    largest_batch: int | None

    @property
    def total(self) -> int | None:
        """Bytes of all parts; None if one is not known."""
        known = [size for size in self.parts.values() if size is not None]
        return sum(known) if len(known) == len(self.parts) else None


@dataclass(frozen=True)
class Sizes:
    """Bytes of a method's tensors in one process that holds all of them."""

    weights: int
    gradients: int
    optimizer: int | None
    buffers: int
    blocks: tuple[tuple[int, bool], ...]  # what is gathered at a time: its weights, and whether they are trained

    @classmethod
    def of(cls, method: nn.Module, recipe: Recipe) -> "Sizes":
        """Those of a recipe's method, on the meta device or not."""
        trained = sum(FLOAT32 * p.numel() for p in method.parameters() if p.requires_grad)
        copies = _state_per_parameter(recipe)
        return cls(
            weights=sum(p.numel() * p.element_size() for p in method.parameters()),
            gradients=trained,
            optimizer=None if copies is None else copies * trained,
            buffers=sum(b.numel() * b.element_size() for b in method.buffers()),
            blocks=tuple((_bytes(part), _trained(part)) for part in gathered_blocks(method, recipe)),
        )

    def exchanged(self, calls: Sequence[int], split: int, processes: int, accumulate: int) -> int:
        """What each process sends for one update, by the ring algorithms of NCCL and gloo."""
        copies = processes // split
        between = 2 * (copies - 1) / copies * self.gradients / split  # once an update
        if split == 1:
            return round(between)
        rest = self.weights - sum(size for size, _ in self.blocks)
        gathered = 3 * rest  # there, back, and its gradients
        for (size, trained), count in zip(self.blocks, calls, strict=True):
            gathered += count * size * (3 if trained else 1)
        return round((split - 1) / split * accumulate * gathered + between)

    def way(
        self,
        stages: tuple[int, ...],
        step: Callable[[int], Footprint],
        batch: int,
        *,
        split: int,
        processes: int,
        memory: float | None,
        known: dict[int, int],
    ) -> Way:
        """Memory in one way of training, from what a step with a number of images takes."""
        parts: dict[str, int | None]
        if split > 1:
            largest = max((size for size, _ in self.blocks), default=0)
            rest = self.weights - sum(size for size, _ in self.blocks)
            parts = {
                "parameters": self.weights // split,
                "gradients": self.gradients // split,
                "optimizer": None if self.optimizer is None else self.optimizer // split,
                "gathered": 3 * largest + 2 * rest,  # a block, the next one, and gradients; what is in none of them
            }
        else:
            parts = {"parameters": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}
        alone = processes == 1  # gradients arise as activations go; DistributedDataParallel has room for all of them

        def peak(images: int) -> int:
            found = step(images)
            return max(found.kept, found.peak_with_gradients - self.gradients) if alone else found.peak

        parts |= {"buffers": self.buffers, "activations": peak(batch)}
        fits = None
        others = [size for name, size in parts.items() if name != "activations"]
        if memory is not None and None not in others:
            fits = _largest(peak, ROOM * memory - sum(size for size in others if size is not None), known, batch)
        return Way(checkpoint_stages=stages, split=split, parts=parts, batch_size=batch, largest_batch=fits)


def _largest(peak: Callable[[int], int], room: float, known: dict[int, int], batch: int) -> int:
    """The most images of which a step was seen to fit; within a few of a hundred the most that do.

    Args:
        peak: of a step with so many images, in bytes.
        room: for it.
        known: peaks that were worked out already, by the number of images; more are added.
        batch: where to begin.
    """
    for images in (batch, 2 * batch):
        known.setdefault(images, peak(images))
    for _ in range(_TRIES):
        low = max((images for images, size in known.items() if size <= room), default=0)
        above = [images for images in known if images > low]
        below = sorted(images for images in known if images <= low)
        high = min(above) if above else below[-2]  # beyond all of them by the line through the last two
        at_low, at_high = known.get(low, 0), known[high]
        slope = max((at_high - at_low) / (high - low), 1)
        guess = int(low + (room - at_low) / slope)
        guess = min(guess, high - 1) if above else guess
        if guess in known or guess - low <= _CLOSE * low:
            return low
        known[guess] = peak(guess)
    return max((images for images, size in known.items() if size <= room), default=0)


def gathered_blocks(method: nn.Module, recipe: Recipe) -> list[nn.Module]:
    """What sharding gathers at a time; by the defaults where the recipe has none."""
    return blocks(method, (recipe.sharding or Sharding()).min_parameters)


def _bytes(part: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in part.parameters())


def _trained(part: nn.Module) -> bool:
    return any(p.requires_grad for p in part.parameters())


def _state_per_parameter(recipe: Recipe) -> int | None:
    """How many numbers the optimizer keeps of each, found by one update of one; None if it cannot be made."""
    try:
        optimizer: Any = lone_optimizer(recipe)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    except (RuntimeError, TypeError, ValueError):
        return None
    kept = [value for state in optimizer.state.values() for value in state.values()]
    return sum(isinstance(value, torch.Tensor) and value.shape == (1,) for value in kept)
