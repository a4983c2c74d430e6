"""Which images make up which step: a function of the step alone, so that training can resume from any step at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from selfsup.errors import ConfigError, DataError, require

# Chi-square over 2,000 epochs: 4 rounds leave the orders of 5 or 10 images far from even, 8 those of 5 still a little.
_ROUNDS = 12
_SHARDS = 0x5A4D  # in the keys of shards, so that they repeat none of images
_WORD = (1 << 64) - 1  # Python's integers do not wrap around by themselves


class FeistelPermutation:
    """A pseudo-random permutation of ``range(length)`` that can be evaluated at any position, in no memory.

    A Feistel network permutes the numbers of ``b`` bits, where ``2**b`` is the next power of two; a result outside the
    range is sent through again until it falls inside ("cycle walking", twice on average at worst). Each round mixes one
    half, with the other and a key, by the finaliser of SplitMix64.

    Args:
        length: > 0.
        key: any number of non-negative integers; each gives another permutation.

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", methods 2 and 3; Steele et al. 2014,
    "Fast splittable pseudorandom number generators", figure 16 (mixing constants).
    """

    def __init__(self, length: int, key: tuple[int, ...]) -> None:
        if length <= 0:
            raise ValueError(f"length must be > 0, got {length}")
        self.length = length
        bits = max(2, (length - 1).bit_length())
        self._low_bits = bits // 2
        self._low_mask = (1 << bits // 2) - 1
        self._high_mask = (1 << bits - bits // 2) - 1
        self._keys = np.random.SeedSequence(key).generate_state(_ROUNDS, np.uint64).tolist()

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The images at these positions.

        Args:
            positions: integers in [0, length), any shape.

        Returns:
            int64 of the same shape, in [0, length); different positions give different values.
        """
        values = self._permute(np.asarray(positions).astype(np.uint64))
        outside = values >= self.length
        while outside.any():
            values[outside] = self._permute(values[outside])
            outside = values >= self.length
        return values.astype(np.int64)

    def at(self, position: int) -> int:
        """The image at one position, in [0, length): what a call gives, without the cost of arrays."""
        value = self._permute(position)
        while value >= self.length:
            value = self._permute(value)
        return value

    def _permute(self, values: Any) -> Any:
        """Of an int, or of uint64."""
        low, high = values & self._low_mask, values >> self._low_bits
        for number, key in enumerate(self._keys):
            if number % 2:
                high = high ^ (_mix(low + key & _WORD) & self._high_mask)
            else:
                low = low ^ (_mix(high + key & _WORD) & self._low_mask)
        return high << self._low_bits | low


def _mix(values: Any) -> Any:
    values = (values ^ values >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    values = (values ^ values >> 27) * 0x94D049BB133111EB & _WORD
    return values ^ values >> 31


class ShardPermutation:
    """A permutation of images in shards that works through a few shards at a time.

    The shards are permuted; so many of them one behind the other are a block, and within a block its images are
    permuted whole. Whoever reads in this order needs the shards of one block, or of two where they meet.

    Args:
        starts: the number of each shard's first image, and of all images at the end, int64, shape (S + 1,).
        shards_at_once: of a block, >= 1; the last block has what is left.
        key: as of :class:`FeistelPermutation`.
    """

    def __init__(self, starts: np.ndarray, shards_at_once: int, key: tuple[int, ...]) -> None:
        self._key = (*key, 0, _SHARDS)
        order = FeistelPermutation(len(starts) - 1, self._key)(np.arange(len(starts) - 1))
        self._first = np.asarray(starts, np.int64)[order]  # of each shard, in the order in which they are read
        sizes = np.diff(starts)[order]
        self._before = np.concatenate([[0], np.cumsum(sizes)])
        self._bounds = np.append(self._before[:-1:shards_at_once], self._before[-1])
        self._order, self._at_once = order, shards_at_once
        self._blocks: dict[int, FeistelPermutation] = {}

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The images at these positions: int64, shape (N,); different positions give different values."""
        positions = np.asarray(positions, np.int64)
        block_of = np.searchsorted(self._bounds, positions, side="right") - 1
        places = np.empty_like(positions)
        for block in np.unique(block_of).tolist():
            chosen, start = block_of == block, self._bounds[block]
            places[chosen] = start + self._permutation(block)(positions[chosen] - start)
        shard = np.searchsorted(self._before, places, side="right") - 1
        return self._first[shard] + places - self._before[shard]

    def half_block(self, position: int) -> int:
        """In which half block an image is: two to a block."""
        block = int(np.searchsorted(self._bounds, position, side="right")) - 1
        return 2 * block + int(2 * position >= self._bounds[block] + self._bounds[block + 1])

    def shards_from(self, half_block: int) -> list[int]:
        """The shards to be at hand from a half block on: those of its block, or in its second half the next."""
        block = (half_block + 1) // 2
        return self._order[block * self._at_once : (block + 1) * self._at_once].tolist()

    def _permutation(self, block: int) -> FeistelPermutation:
        if block not in self._blocks:
            length = int(self._bounds[block + 1] - self._bounds[block])
            self._blocks = {
                **dict([*self._blocks.items()][-1:]),
                block: FeistelPermutation(length, (*self._key, block)),
            }
        return self._blocks[block]


def steps_per_epoch(length: int, batch_size: int, world_size: int = 1, accumulate: int = 1) -> int:
    """Optimizer steps that one pass over the data makes; what is left over is dropped.

    Args:
        length: images in the data set.
        batch_size: images per process and micro-batch.
        world_size: processes.
        accumulate: micro-batches per optimizer step.

    Raises:
        ConfigError: if the batch size is not positive.
        DataError: if the data do not fill a single step.
    """
    require(batch_size >= 1, "train_dataloader.batch_size", "must be >= 1", got=batch_size)
    needed = batch_size * world_size * accumulate
    if needed > length:
        fitting = length // (world_size * accumulate)
        advice = (
            f"use a batch_size of at most {fitting}, as in --cfg-options train_dataloader.batch_size={fitting}"
            if fitting
            else "use fewer processes, less accumulation or more images"
        )
        raise DataError.at(
            "train_dataloader.batch_size",
            f"batch larger than the data: {batch_size} images x {world_size} process(es) x {accumulate} "
            f"micro-batch(es) = {needed:,} per step, the data set has {length:,}",
            expected=advice,
        )
    return length // needed


class StepSampler(Sampler[list[tuple[int, int]]]):
    """The batches of one process, from any step on.

    The images of a step are a fixed slice of that epoch's permutation, cut by micro-batch and then by process: one
    process with batch N sees in each step the same images as two with N/2, or one with N/2 and two micro-batches.

    Args:
        length: images in the data set.
        batch_size: images per process and micro-batch.
        total_steps: optimizer steps of the whole training.
        start_step: steps done already.
        seed: gives the permutations, together with the epoch.
        world_size: processes.
        rank: which of them this is.
        accumulate: micro-batches per optimizer step; each is one batch of this sampler.
        shard_starts: of images that lie in shards, see :class:`ShardPermutation`; with ``shards_at_once``.
        shards_at_once: work through so many shards at a time; None permutes all images.
        in_order: take the images one after the other, once, as of a stream that has its own order.
        most_shards_at_once: of shards that are fetched, so many may be mixed; None for shards that are here.
        prefetch: told which shards will be needed next, half a block ahead.

    Raises:
        ConfigError: if more than one pass over a stream is asked for, or more shards at once than can be kept.
        DataError: if the data do not fill a single step, or do not lie in shards of which some are to be read at once.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        total_steps: int,
        start_step: int = 0,
        seed: int = 0,
        world_size: int = 1,
        rank: int = 0,
        accumulate: int = 1,
        shard_starts: np.ndarray | None = None,
        shards_at_once: int | None = None,
        in_order: bool = False,
        most_shards_at_once: int | None = None,
        prefetch: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
        if shards_at_once is not None and shard_starts is None:
            raise DataError.at(
                "train_dataloader.shards_at_once",
                "the images lie in no shards",
                got=shards_at_once,
                expected="leave it out",
            )
        if most_shards_at_once is not None and not 1 <= (shards_at_once or 0) <= most_shards_at_once:
            raise ConfigError.at(
                "train_dataloader.shards_at_once",
                "shards that are fetched are read a few at a time",
                got=shards_at_once,
                expected=f"{most_shards_at_once} at most, of which twice as many fit into the cache",
            )
        self.length = length
        self.batch_size = batch_size
        self.total_steps = total_steps
        self.start_step = start_step
        self.seed = seed
        self.world_size = world_size
        self.rank = rank
        self.accumulate = accumulate
        self.shard_starts = shard_starts
        self.shards_at_once = shards_at_once
        self.in_order = in_order
        self.prefetch = prefetch
        self.steps_per_epoch = steps_per_epoch(length, batch_size, world_size, accumulate)
        if in_order and total_steps > self.steps_per_epoch:
            raise ConfigError.at(
                "train_cfg",
                "a stream is passed over once",
                got=total_steps,
                expected=f"{self.steps_per_epoch} steps at most",
            )

    def __len__(self) -> int:
        return max(0, self.total_steps - self.start_step) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Batches of (epoch, index)."""
        permutation: FeistelPermutation | ShardPermutation | None = None
        permutation_epoch, half_block = -1, -1
        for step in range(self.start_step, self.total_steps):
            epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
            if permutation is None or epoch != permutation_epoch:
                permutation, permutation_epoch, half_block = self._permutation(epoch), epoch, -1
            for micro_batch in range(self.accumulate):
                slices = (step_in_epoch * self.accumulate + micro_batch) * self.world_size + self.rank
                positions = np.arange(slices * self.batch_size, (slices + 1) * self.batch_size)
                if self.prefetch is not None and isinstance(permutation, ShardPermutation):
                    first, last = (permutation.half_block(int(positions[end])) for end in (0, -1))
                    if half_block < 0:
                        half_block = first - first % 2 - 1
                    for entered in range(half_block + 1, last + 1):
                        self.prefetch(permutation.shards_from(entered))
                    half_block = last
                indices = positions if self.in_order else permutation(positions)
                yield [(epoch, index) for index in indices.tolist()]

    def _permutation(self, epoch: int) -> FeistelPermutation | ShardPermutation:
        if self.shards_at_once is None or self.shard_starts is None:
            return FeistelPermutation(self.length, (self.seed, epoch))
        return ShardPermutation(self.shard_starts, self.shards_at_once, (self.seed, epoch))
