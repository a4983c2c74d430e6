"""The worker processes that decode and augment."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from selfsup.data.sampler import StepSampler
from selfsup.data.view_dataset import Batch, Sample, ViewDataset, collate_views
from selfsup.errors import DataError


class ViewLoader(DataLoader[Any]):
    """A DataLoader that raises a data error of a worker with its own message, free of the worker's traceback."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch annotates its private class
        """Batches in the order of the sampler.

        Raises:
            DataError: if too many neighboring images cannot be decoded.
        """
        for batch in super().__iter__():
            if isinstance(batch, DataError):
                raise batch
            yield batch


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
            return self._collate(good)
        except DataError as error:
            return error


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
