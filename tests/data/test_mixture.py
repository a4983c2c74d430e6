from collections import Counter

import numpy as np
import pytest

from selfsup.data import Mixture, StepSampler, split
from selfsup.errors import ConfigError
from tests.data.listed import Listed


def source(letter: str, count: int, *, labelled: bool = False) -> Listed:
    names, labels = [f"{letter}{number}" for number in range(count)], [number % 2 for number in range(count)]
    made = Listed(names, labels if labelled else None)
    made.classes = [f"{letter} even", "odd"] if labelled else None  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("sizes, weights", [((10, 40), (1, 1)), ((30, 7), (2, 1)), ((5, 5), (1, 9))])
def test_each_source_has_its_share_and_every_image_is_seen(sizes: tuple[int, int], weights: tuple[int, int]) -> None:
    mixture = Mixture({"a": source("a", sizes[0]), "b": source("b", sizes[1])}, {"a": weights[0], "b": weights[1]})
    seen = Counter(mixture.name(index) for index in range(len(mixture)))
    assert len(seen) == sum(sizes)
    assert mixture.counts[0] / mixture.counts[1] == pytest.approx(weights[0] / weights[1], rel=0.03)
    for letter in "ab":
        times = [count for name, count in seen.items() if name.startswith(letter)]
        assert max(times) - min(times) <= 1
    assert min(seen.values()) == 1


def test_without_weights_every_image_counts_alike() -> None:
    mixture = Mixture({"a": source("a", 3), "b": source("b", 8)})
    assert mixture.counts == [3, 8]
    assert len({mixture.name(index) for index in range(11)}) == 11


def test_classes_are_joined_by_name() -> None:
    mixture = Mixture({"a": source("a", 4, labelled=True), "b": source("b", 4, labelled=True)}, {"a": 1, "b": 3})
    assert mixture.classes == ["a even", "odd", "b even"]
    for index in range(len(mixture)):
        letter, number = mixture.name(index)[0], int(mixture.name(index)[3:])
        assert mixture.classes[mixture.labels[index]] == ("odd" if number % 2 else f"{letter} even")
    np.testing.assert_array_equal(mixture.labels[:], [mixture.labels[index] for index in range(len(mixture))])


def test_repeats_lie_on_one_side_of_a_split() -> None:
    parts = split(Mixture({"a": source("a", 20, labelled=True), "b": source("b", 20, labelled=True)}, {"a": 1, "b": 3}))
    names = [{part.name(index) for index in range(len(part))} for part in (parts.train, parts.val, parts.test)]
    assert all(names) and not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


def test_images_of_a_group_lie_on_one_side_whatever_their_source() -> None:
    one, other = source("a", 40, labelled=True), source("b", 12, labelled=True)
    one.groups = np.arange(40) // 4
    mixture = Mixture({"a": one, "b": other}, {"a": 1, "b": 1})
    parts = split(mixture)
    sides = [{int(mixture.groups[index]) for index in part.indices[:]} for part in (parts.train, parts.val, parts.test)]
    assert all(sides) and not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    groups = {mixture.name(index): int(mixture.groups[index]) for index in range(len(mixture))}
    assert len(set(groups.values())) == 10 + 12 and groups["a/a4"] == groups["a/a7"] == 1


@pytest.mark.parametrize("weights", [{"a": 1}, {"a": 1, "b": 0}, {"a": 1, "c": 1}])
def test_weights_that_do_not_fit_are_rejected(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as raised:
        Mixture({"a": source("a", 3), "b": source("b", 3)}, weights)
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("weights", weights)


def in_shards(letter: str, sizes: list[int]) -> Listed:
    made = source(letter, sum(sizes))
    made.shard_starts = np.cumsum([0, *sizes])  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 7, "b": 2}])
def test_shards_are_mixed_by_weight_and_read_a_few_at_a_time(weights: dict[str, float]) -> None:
    sources = {"a": in_shards("a", [5] * 12), "b": in_shards("b", [4, 8, 6] * 6)}
    asked: dict[str, list[int]] = {"a": [], "b": []}
    for name, each in sources.items():
        each.prefetch = asked[name].extend  # type: ignore[attr-defined]
    mixture = Mixture(sources, weights, by_shard=True)
    assert mixture.counts[0] / mixture.counts[1] == pytest.approx(weights["a"] / weights["b"], rel=0.03)
    names = [mixture.name(index) for index in range(len(mixture))]
    assert names == [mixture.name(int(index)) for index in np.arange(len(mixture))] and len(set(names)) == 60 + 108
    number_of = {f"{name}/{name}{image}": place for name in "ab" for place, image in enumerate(range(108))}
    starts = mixture.shard_starts
    assert starts is not None and (starts[0], starts[-1]) == (0, len(mixture))
    for shard in range(len(starts) - 1):
        inside = names[starts[shard] : starts[shard + 1]]
        numbers = [number_of[name] for name in inside]
        mixture.prefetch([shard])
        (asked_for,) = [(name, told[-1]) for name, told in asked.items() if name == inside[0][0]]
        of = sources[asked_for[0]].shard_starts  # type: ignore[attr-defined]
        assert len({name[0] for name in inside}) == 1
        assert of[asked_for[1]] == numbers[0] and numbers[-1] < of[asked_for[1] + 1]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    batches = StepSampler(len(mixture), 7, total_steps=len(mixture) // 7, shard_starts=starts, shards_at_once=3)
    order = [index for batch in batches for _, index in batch]
    assert len(set(order)) == len(order)


def test_only_what_lies_in_shards_is_mixed_by_shard() -> None:
    with pytest.raises(ConfigError) as raised:
        Mixture({"a": in_shards("a", [3, 3]), "b": source("b", 3)}, by_shard=True)
    assert (raised.value.problems[0].path, raised.value.problems[0].got) == ("by_shard", "b")


@pytest.mark.parametrize("by_shard", [False, True])
def test_on_other_numbers_of_processes_a_run_goes_on_with_the_same_images(by_shard: bool) -> None:
    mixture = Mixture(
        {"a": in_shards("a", [5] * 12), "b": in_shards("b", [9] * 9)}, {"a": 3, "b": 1}, by_shard=by_shard
    )
    shards = {"shard_starts": mixture.shard_starts, "shards_at_once": 4} if by_shard else {}

    def names(start: int, end: int, processes: int, accumulate: int = 1) -> list[str]:
        """Of the steps, each as all processes see it together."""
        parts = [
            list(
                StepSampler(
                    len(mixture),
                    8 // processes // accumulate,
                    total_steps=end,
                    start_step=start,
                    world_size=processes,
                    rank=rank,
                    accumulate=accumulate,
                    seed=4,
                    **shards,
                )
            )
            for rank in range(processes)
        ]
        batches = [pair for together in zip(*parts, strict=True) for batch in together for pair in batch]
        return [mixture.name(index) for _, index in batches]

    whole = names(0, 50, 2)
    assert len(mixture) // 8 < 50  # more than a pass
    assert names(0, 9, 2) + names(9, 25, 1) + names(25, 33, 2) + names(33, 50, 2, accumulate=2) == whole
