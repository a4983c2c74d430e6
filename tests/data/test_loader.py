import multiprocessing
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.data import StepSampler, ViewDataset, build_loader
from selfsup.data.view_dataset import Batch, Sample
from selfsup.errors import DataError
from tests.data.test_view_dataset import Numbered, two_views


def batches(num_workers: int, start_step: int = 0, bad: tuple[int, ...] = (), length: int = 20) -> list[Batch]:
    dataset = ViewDataset(Numbered(length, bad), two_views, seed=3)
    sampler = StepSampler(length, 4, total_steps=7, start_step=start_step, seed=3)
    return list(build_loader(dataset, sampler, num_workers=num_workers, prefetch_factor=2))


def assert_same(actual: list[Batch], expected: list[Batch]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one["views"], other["views"], rtol=0, atol=0)
        torch.testing.assert_close(one["index"], other["index"])
        assert one["bad"] == other["bad"]


def test_workers_change_nothing_and_a_resumed_loader_goes_on_where_the_first_was() -> None:
    alone, shared = batches(0, bad=(2, 3)), batches(2, bad=(2, 3))
    assert_same(shared, alone)
    assert_same(batches(0, start_step=4, bad=(2, 3)), alone[4:])
    assert shared[0]["views"][0].is_contiguous(memory_format=torch.channels_last)


def test_a_loader_leaves_the_random_state_of_the_training_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(0)
    torch.testing.assert_close(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_data_error_of_a_worker_arrives_with_its_own_message_only(num_workers: int) -> None:
    with pytest.raises(DataError) as raised:
        batches(num_workers, bad=tuple(range(20)))
    assert "images in a row cannot be decoded" in str(raised.value)
    assert "Traceback" not in str(raised.value)


def numbers_squared(samples: Sequence[Sample]) -> dict[str, Any]:
    if any(sample["index"] == 7 for sample in samples):
        raise DataError("seven")
    return {"index": torch.tensor([sample["index"] ** 2 for sample in samples])}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_method_may_say_how_samples_become_a_batch(num_workers: int) -> None:
    dataset, sampler = ViewDataset(Numbered(6), two_views), StepSampler(6, 6, total_steps=1)
    (batch,) = build_loader(dataset, sampler, num_workers=num_workers, collate=numbers_squared)
    assert sorted(batch["index"].tolist()) == [0, 1, 4, 9, 16, 25]
    dataset, sampler = ViewDataset(Numbered(8), two_views), StepSampler(8, 8, total_steps=1)
    with pytest.raises(DataError, match=r"^seven$"):
        list(build_loader(dataset, sampler, num_workers=num_workers, collate=numbers_squared))


def broken(samples: Sequence[Sample]) -> dict[str, Any]:
    raise RuntimeError("a mistake in a plugin")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_a_worker_is_not_taken_for_its_end(num_workers: int) -> None:
    dataset, sampler = ViewDataset(Numbered(6), two_views), StepSampler(6, 6, total_steps=1)
    with pytest.raises(RuntimeError, match="a mistake in a plugin"):
        list(build_loader(dataset, sampler, num_workers=num_workers, collate=broken))


def test_a_connection_that_breaks_in_the_handover_of_a_batch_is_the_end_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reset(self: Any, timeout: float = 0.0) -> Any:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data", reset)
    with pytest.raises(DataError, match="a worker process was ended from outside"):
        batches(1)


def test_workers_are_spawned_where_there_is_no_fork_server_and_memory_is_page_locked_for_cuda_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, sampler = ViewDataset(Numbered(4), two_views), StepSampler(4, 2, total_steps=1)
    assert not build_loader(dataset, sampler).pin_memory
    assert build_loader(dataset, sampler, device="cuda:1").pin_memory
    for method in ("forkserver", "spawn"):
        loader = build_loader(dataset, sampler, num_workers=1)
        assert loader.multiprocessing_context.get_start_method() == method
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
