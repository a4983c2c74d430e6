"""What glibc's allocator does with freed memory, in processes of their own."""

import multiprocessing
import platform
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.data.loader import _processes
from selfsup.engine.runner import Runner
from tests.engine.tiny_run import tiny_config

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")


def faults() -> int:
    """Pages faulted in by 64 MB that were there before; 16,384 of 4 KB, 32 of 2 MB."""
    counts = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(counts[2:])  # the system may take a few pages back in between


def keeps_memory() -> bool:
    """Whether this process has freed memory at hand."""
    return faults() < 16


def apart(context: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a new process."""
    return apart(multiprocessing.get_context("spawn"), function, *arguments)


def after_a_run(work_dir: Path) -> tuple[bool, bool]:
    """Of the process that trained, and of one that its loader would start."""
    Runner(tiny_config(work_dir, steps=1), device="cpu").train()
    return keeps_memory(), apart(_processes(), keeps_memory)


def after_a_run_that_leaves_it_alone(work_dir: Path) -> bool:
    """Although its evaluation extracts features, which would tune the allocator otherwise."""
    evaluate = {"type": "EvaluateHook", "evaluators": {"knn": {"type": "KNN", "k": 3}}, "max_images": 20}
    hooks = {"pictures": None, "collapse": None, "evaluate": evaluate}
    Runner(tiny_config(work_dir, steps=1, tune_allocator=False, default_hooks=hooks), device="cpu").train()
    return keeps_memory()


def test_a_run_keeps_what_is_freed_and_its_workers_do_not(tmp_path: Path) -> None:
    assert fresh(after_a_run, tmp_path) == (True, False)


def test_a_run_leaves_the_allocator_alone_where_the_config_says_so(tmp_path: Path) -> None:
    assert not fresh(after_a_run_that_leaves_it_alone, tmp_path)
