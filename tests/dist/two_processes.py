"""Run a test's function in two real processes that talk over gloo."""

import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import torch
import torch.distributed

# A fork server imports torch once, without threads, and forks from there: as safe as 'spawn', fast the second time.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch", "torch.distributed", "selfsup.methods"])


def _child(
    rank: int, world_size: int, backend: str, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        backend,
        init_method=f"file://{folder}/meeting_point",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
        device_id=torch.device("cuda", rank) if backend == "nccl" else None,
    )
    try:
        outcome = (True, function(*arguments))
    except Exception:  # whatever the function raises is shown by the parent
        outcome = (False, traceback.format_exc())
    Path(folder, f"rank{rank}").write_bytes(pickle.dumps(outcome))
    if not outcome[0]:
        sleep(60)  # until the parent ends it: leaving would make the others fail too, of a lost connection
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def run_in_processes(
    function: Callable[..., Any], *arguments: Any, world_size: int = 2, timeout: float = 90.0, backend: str = "gloo"
) -> list[Any]:
    """Call ``function(*arguments)`` in every one of ``world_size`` processes of one gloo group.

    The function finds its rank in ``selfsup.ops.dist.rank()``.

    Args:
        function: defined at the top level of a module, so that it can be pickled.
        arguments: the same for every process; picklable.
        world_size: number of processes.
        timeout: seconds after which the processes are ended and the test fails.
        backend: ``'nccl'`` gives each process the GPU with its number.

    Returns:
        What the function returned, by rank; tensors must be detached.

    Raises:
        AssertionError: with the traceback of the first rank that failed, or if the time is up.
    """
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            _context.Process(target=_child, args=(rank, world_size, backend, folder, function, arguments), daemon=True)
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        end = monotonic() + timeout
        failed = False
        while any(process.is_alive() for process in processes) and monotonic() < end and not failed:
            for process in processes:
                process.join(0.05)
            failed = any(process.exitcode not in (None, 0) for process in processes) or any(
                not ok for ok, _ in _outcomes(folder).values()
            )
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()
        outcomes = _outcomes(folder)
        for rank, (ok, result) in sorted(outcomes.items()):
            assert ok, f"rank {rank} failed:\n{result}"
        missing = sorted(set(range(world_size)) - set(outcomes))
        assert not missing, f"ranks {missing} gave no result within {timeout:g} s"
        return [outcomes[rank][1] for rank in range(world_size)]


def _outcomes(folder: str) -> dict[int, tuple[bool, Any]]:
    found = {}
    for file in Path(folder).glob("rank*"):
        try:
            found[int(file.name[4:])] = pickle.loads(file.read_bytes())
        except (EOFError, pickle.UnpicklingError):  # still being written
            continue
    return found
