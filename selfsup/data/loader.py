"""The worker processes that decode and augment."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from selfsup.data.sampler import StepSampler
from selfsup.data.view_dataset import Batch, Sample, ViewDataset, collate_views
from selfsup.errors import DataError

SHARED_MEMORY = Path("/dev/shm")


class ViewLoader(DataLoader[Any]):
    """A DataLoader that raises a data error of a worker with its own message, free of the worker's traceback."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch annotates its private class
        """Batches in the order of the sampler.

        Raises:
            DataError: if too many neighboring images cannot be decoded, or a worker is gone or out of shared memory.
        """
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches, None)
            except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
                if not (self.num_workers and _is_of_a_dead_worker(error)):
                    raise
                codes = [worker.exitcode for worker in getattr(batches, "_workers", ())]
                raise _out_of_shared_memory() if -signal.SIGBUS in codes else _killed(codes) from None
            if batch is None:
                return
            if isinstance(batch, DataError):
                raise batch
            yield batch


def _is_of_a_dead_worker(error: Exception) -> bool:
    """Whether PyTorch noticed that a worker is gone, or its connection broke in the handover of a batch.

    The message of what a worker raised itself begins with "Caught".
    """
    message = str(error)
    if isinstance(error, RuntimeError):
        return message.startswith("DataLoader worker")
    return not message.startswith("Caught")


class _Collate:
    """Returns the data error of a sample or a batch, where raising it would bury it in a worker's traceback."""

    def __init__(self, collate: Callable[[Sequence[Sample]], Any]) -> None:
        self._collate = collate

    def __call__(self, samples: Sequence[Sample | DataError]) -> Any:
        good: list[Sample] = []
        for sample in samples:
            if isinstance(sample, DataError):
                return sample
            good.append(sample)
        try:
            batch = self._collate(good)
        except DataError as error:
            return error
        if get_worker_info() is not None:
            try:
                _share(batch)  # PyTorch would do so in a thread, whose error nobody hears of while all wait
            except RuntimeError:
                return _out_of_shared_memory()
        return batch


def _share(batch: Any) -> None:
    if isinstance(batch, Tensor):
        batch.share_memory_()
    elif isinstance(batch, Mapping | list | tuple):
        for item in batch.values() if isinstance(batch, Mapping) else batch:
            _share(item)


def _out_of_shared_memory() -> DataError:
    has = f"{shutil.disk_usage(SHARED_MEMORY).total / 2**20:,.0f} MiB" if SHARED_MEMORY.is_dir() else None
    return DataError.at(
        "train_dataloader.num_workers",
        f"workers hand batches over in shared memory, and {SHARED_MEMORY} is too small for them",
        got=has,
        expected="make it larger (docker run --shm-size=8g), lower prefetch_factor, or set num_workers=0",
    )


def _killed(codes: Sequence[int | None]) -> DataError:
    names = {code: signal.Signals(-code).name for code in codes if code is not None and code < 0}
    return DataError.at(
        "train_dataloader.num_workers",
        "a worker process was ended from outside, by the system as a rule because memory ran out",
        got=", ".join(names.values()) or None,
        expected="fewer workers, a lower prefetch_factor or num_workers=0 need less memory",
    )


def build_loader(
    dataset: ViewDataset,
    sampler: StepSampler,
    *,
    num_workers: int = 0,
    prefetch_factor: int = 4,
    collate: Callable[[Sequence[Sample]], Any] = collate_views,
    device: str | torch.device = "cpu",
) -> ViewLoader:
    """Batches of views, in the order of the sampler whatever the number of workers.

    Args:
        dataset: gives the samples.
        sampler: gives the batches.
        num_workers: processes that decode; 0 decodes in this one.
        prefetch_factor: batches each worker prepares ahead.
        collate: makes a batch of samples; worker processes get it.
        device: where the batches will go; page-locked memory is used for cuda only.

    Returns:
        A loader of what ``collate`` gives, by default a :class:`~selfsup.data.view_dataset.Batch`.
    """
    return ViewLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        prefetch_factor=prefetch_factor if num_workers else None,
        persistent_workers=num_workers > 0,
        multiprocessing_context=_processes() if num_workers else None,
        collate_fn=_Collate(collate),
        worker_init_fn=_prepare_worker,
        pin_memory=torch.device(device).type == "cuda",
        generator=torch.Generator(),  # starting an iterator draws a number; it must not come from the training's RNG
    )


def _processes() -> BaseContext:
    """Workers come from a server that never saw the model: a forked one would keep the weights it was born with.

    Forked from the training process, workers share its memory until the first update; then the old weights stay behind
    in them, 5.3 GiB for RegNetY-256GF. Windows has no such server and starts every worker anew.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "cv2", "selfsup.data"])
    # A closed terminal is for the main process too, see _prepare_worker; the server takes over what is ignored here.
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        forkserver.ensure_running()
        signal.signal(signal.SIGHUP, before)
    return context


def _prepare_worker(worker: int) -> None:
    threading.Thread(target=_leave_with_training, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which finishes its step
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # what a decoder complains about is in the DecodeError already
    torch.set_num_threads(1)


def _leave_with_training() -> None:
    """End the worker when the training process is gone, however it went: PyTorch only watches the fork server."""
    training = multiprocessing.parent_process()
    if training is not None:
        training.join()
        os._exit(1)
