import time
from collections import Counter
from itertools import combinations, islice

import numpy as np
import pytest

from selfsup.data.sampler import FeistelPermutation, ShardPermutation, StepSampler, steps_per_epoch
from selfsup.errors import ConfigError, DataError


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 17, 100, 1000, 1024, 1025, 65_537, 300_000])
def test_every_image_comes_exactly_once(length: int) -> None:
    permutation = FeistelPermutation(length, (0, 0))
    images = permutation(np.arange(length))
    assert [permutation.at(position) for position in range(min(length, 500))] == images[:500].tolist()
    np.testing.assert_array_equal(np.sort(images), np.arange(length))


@pytest.mark.parametrize("length", [5, 10, 100])
def test_every_image_is_equally_likely_at_every_position(length: int) -> None:
    draws = 2000
    counts = np.zeros((length, length))
    for epoch in range(draws):
        counts[np.arange(length), FeistelPermutation(length, (7, epoch))(np.arange(length))] += 1
    expected = draws / length
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = (length - 1) ** 2
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_all_orders_of_four_images_are_equally_likely() -> None:
    orders = Counter(tuple(FeistelPermutation(4, (3, epoch))(np.arange(4)).tolist()) for epoch in range(4800))
    assert len(orders) == 24
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 24 + 5 * np.sqrt(2 * 24)


def test_an_order_is_as_unordered_as_a_true_shuffle() -> None:
    length = 100_000
    order = FeistelPermutation(length, (0, 0))(np.arange(length))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 5 / np.sqrt(length)
    assert abs(np.corrcoef(order, np.arange(length))[0, 1]) < 5 / np.sqrt(length)
    assert abs((np.diff(order) == 1).sum() - 1) < 8  # a shuffle leaves one pair of neighbors together on average
    orders = [FeistelPermutation(1000, key)(np.arange(1000)) for key in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for one, other in combinations(orders, 2):
        assert (one == other).sum() < 10  # one is expected; ten or more have a chance of 1e-7


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("start", [0, 1, 4, 5, 11])
def test_starting_at_a_step_gives_the_tail_of_the_whole_sequence(start: int, accumulate: int) -> None:
    def sampler(start_step: int) -> StepSampler:
        part = {"world_size": 2, "rank": 1, "accumulate": accumulate}
        return StepSampler(50, 3, total_steps=12, start_step=start_step, seed=5, **part)

    whole, tail = list(sampler(0)), list(sampler(start))
    assert tail == whole[start * accumulate :]
    assert len(sampler(start)) == len(tail)


@pytest.mark.parametrize("world_size, accumulate", [(2, 1), (4, 1), (1, 2), (2, 4), (8, 1)])
def test_processes_and_micro_batches_partition_the_batch_of_one_process(world_size: int, accumulate: int) -> None:
    alone = list(StepSampler(100, 16, total_steps=10, seed=1))
    small = 16 // world_size // accumulate
    of_each = {"total_steps": 10, "seed": 1, "world_size": world_size, "accumulate": accumulate}
    parts = [list(StepSampler(100, small, rank=rank, **of_each)) for rank in range(world_size)]
    for step, expected in enumerate(alone):
        micro_batches = range(step * accumulate, (step + 1) * accumulate)
        together = [pair for micro in micro_batches for part in parts for pair in part[micro]]
        assert together == expected


def test_an_epoch_shows_no_image_twice_and_drops_the_rest() -> None:
    batches = list(StepSampler(103, 10, total_steps=20))
    for epoch in (0, 1):
        pairs = [pair for batch in batches[epoch * 10 : epoch * 10 + 10] for pair in batch]
        assert {shown_in for shown_in, _ in pairs} == {epoch}
        assert len({index for _, index in pairs}) == 100
    assert batches[0] != batches[10]


def test_a_start_deep_in_a_billion_images_costs_nothing() -> None:
    sampler = StepSampler(1_000_000_000, 256, total_steps=10**9, start_step=987_654_321, world_size=512, rank=511)
    started = time.perf_counter()
    batches = list(islice(sampler, 3))
    assert time.perf_counter() - started < 1.0
    epoch = 987_654_321 // (1_000_000_000 // (256 * 512))
    assert all(0 <= index < 1_000_000_000 and shown_in == epoch for batch in batches for shown_in, index in batch)


@pytest.mark.parametrize(
    "length, batch, world, accumulate, steps", [(100, 10, 1, 1, 10), (109, 5, 2, 1, 10), (1281167, 64, 64, 1, 312)]
)
def test_steps_of_an_epoch(length: int, batch: int, world: int, accumulate: int, steps: int) -> None:
    assert steps_per_epoch(length, batch, world, accumulate) == steps


def test_a_batch_larger_than_the_data_is_rejected_with_what_to_change() -> None:
    with pytest.raises(DataError) as rejected:
        StepSampler(1000, 256, total_steps=1, world_size=8)
    (problem,) = rejected.value.problems
    assert problem.path == "train_dataloader.batch_size" and "batch_size=125" in problem.expected
    with pytest.raises(ConfigError, match=r"batch_size: must be >= 1, got 0"):
        steps_per_epoch(100, 0)
    with pytest.raises(DataError, match="use fewer processes, less accumulation or more images"):
        steps_per_epoch(3, 1, world_size=4)


@pytest.mark.parametrize("sizes, at_once", [([5], 1), ([4, 1, 7, 0, 3, 9], 2), ([10] * 30, 4), ([3, 3], 5)])
def test_shards_are_permuted_and_a_few_are_read_at_once(sizes: list[int], at_once: int) -> None:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    total = int(starts[-1])
    order = ShardPermutation(starts, at_once, (3, 0))(np.arange(total))
    np.testing.assert_array_equal(np.sort(order), np.arange(total))
    alone = [ShardPermutation(starts, at_once, (3, 0))(np.array([position]))[0] for position in range(total)]
    assert alone == order.tolist()
    shard_of = np.searchsorted(starts, order, side="right") - 1
    spans = [np.flatnonzero(shard_of == shard) for shard in np.unique(shard_of)]
    longest = max(
        sum(sizes[shard] for shard in group) for group in combinations(range(len(sizes)), min(at_once, len(sizes)))
    )
    assert all(np.ptp(span) < longest for span in spans)
    if total > 50:
        assert not np.array_equal(order, ShardPermutation(starts, at_once, (3, 1))(np.arange(total)))


@pytest.mark.parametrize("world_size, accumulate", [(2, 1), (4, 2)])
def test_processes_share_the_shards_as_one_process_would_read_them(world_size: int, accumulate: int) -> None:
    shards = {"shard_starts": np.arange(0, 101, 10), "shards_at_once": 3, "seed": 1}
    alone = list(StepSampler(100, 16, total_steps=12, **shards))
    small = 16 // world_size // accumulate
    of_each = {"total_steps": 12, "start_step": 5, "world_size": world_size, "accumulate": accumulate, **shards}
    parts = [list(StepSampler(100, small, rank=rank, **of_each)) for rank in range(world_size)]
    for step, expected in enumerate(alone[5:]):
        micro_batches = range(step * accumulate, (step + 1) * accumulate)
        assert [pair for micro in micro_batches for part in parts for pair in part[micro]] == expected


def test_a_billion_images_in_shards_go_on_at_step_a_million_at_once() -> None:
    started = time.monotonic()
    starts = np.arange(100_001) * 10_000
    sampler = StepSampler(
        10**9, 256, total_steps=2_000_000, start_step=1_000_000, shard_starts=starts, shards_at_once=100
    )
    batch = next(iter(sampler))
    assert len({index for _, index in batch}) == 256
    assert time.monotonic() - started < 5


def test_shards_at_once_needs_shards() -> None:
    with pytest.raises(DataError) as raised:
        StepSampler(100, 10, total_steps=1, shards_at_once=2)
    assert raised.value.problems[0].path == "train_dataloader.shards_at_once"
