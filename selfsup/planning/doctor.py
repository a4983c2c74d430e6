"""What a machine has for training, measured in half a minute, and what each thing would limit."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist

import selfsup
from selfsup.data.decode.decoder import decode_image
from selfsup.data.loader import SHARED_MEMORY
from selfsup.data.sources.pictures import photograph_names
from selfsup.data.views.method_views import SimCLRViews
from selfsup.engine.logging.utilization import measured_peak
from selfsup.ops import precision
from selfsup.ops.cpus import available_cpus, number_of_workers
from selfsup.ops.dist import barrier, gather_objects, world_size
from selfsup.ops.launch import local_device

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless", "mmengine")
_SECONDS = 2.0  # of each measurement that repeats something
_FILE = 128 * 2**20  # bytes written to see how fast the disk is
_REDUCED = 64 * 2**20  # bytes exchanged, as a bucket of gradients or a little more
_FEW_FILES = 4096
_SMALL_SHARED_MEMORY = 2 * 2**30
_SLOW = 0.8  # of the median of all processes, below which one holds up the others
_SKEW = 1.0  # seconds between clocks from which on times in logs and files mislead


@dataclass(frozen=True)
class Finding:
    """One thing of the machine.

    Args:
        what: what was looked at.
        found: what there is.
        limits: what that would limit, empty where it is enough or says nothing.
    """

    what: str
    found: str
    limits: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Look at the machine, one thing after the other; where several processes were started, all of them call this.

    Args:
        folder: whose disk is measured; a file is written there and removed.
    """
    device = local_device()
    yield _versions()
    yield _devices(device)
    fast = precision.fast_everywhere(device)
    yield Finding("precision", f"{fast}: {precision.reason(fast, device)}")
    cpus = available_cpus()
    yield Finding(
        "processors", f"{cpus}, {number_of_workers(None, cpus, device)} of them for images without num_workers"
    )
    yield _memory()
    yield from _images(cpus)
    yield _shared_memory()
    yield _open_files()
    yield from _disk(folder)
    if world_size() > 1:
        yield from _processes(device)


def _versions() -> Finding:
    found = [f"selfsup {selfsup.__version__}", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found.append(f"CUDA {torch.version.cuda}")
    return Finding("versions", ", ".join(found))


def _devices(device: torch.device) -> Finding:
    if device.type == "cpu":
        limits = "a GPU is there for whoever installs PyTorch for it" if Path("/dev/nvidia0").exists() else ""
        return Finding("device", f"the processor, {torch.get_num_threads()} threads", limits)
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return Finding("devices", ", ".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus))


def _memory() -> Finding:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(lines[name].split()[0]) * 2**10 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return Finding("memory", "unknown")
    return Finding("memory", f"{free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB free")


def _images(cpus: int) -> Iterator[Finding]:
    """How many photographs one core decodes, alone and with two views of each."""
    contents = [(files("selfsup.data") / "photos" / name).read_bytes() for name in photograph_names()]
    height, width = decode_image(contents[0]).shape[:2]
    views = SimCLRViews(size=224)
    rng = np.random.default_rng(0)

    def both(number: int) -> None:
        views(decode_image(contents[number % len(contents)]), rng)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in worker processes
    decoded = _rate(lambda number: decode_image(contents[number % len(contents)]))
    shown = _rate(both)
    cv2.setNumThreads(threads)
    yield Finding("decoding", f"{decoded:.0f} photographs a second a core, as large as {width} x {height}")
    yield Finding(
        "decoding and views", f"{shown:.0f} a second a core", f"at most about {shown * cpus:.0f} images a second here"
    )


def _rate(work: Callable[[int], object]) -> float:
    """How often a second something can be done."""
    work(0)
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < _SECONDS:
        work(count)
        count += 1
    return count / passed


def _shared_memory() -> Finding:
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", "not as a folder")
    free = shutil.disk_usage(SHARED_MEMORY).free
    limits = (
        "workers hand batches over there: docker run --shm-size=8g, or few workers"
        if free < _SMALL_SHARED_MEMORY
        else ""
    )
    return Finding("shared memory", f"{free / 2**30:.1f} GiB free in {SHARED_MEMORY}", limits)


def _open_files() -> Finding:
    if resource is None:
        return Finding("open files", "no limit known")
    most, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = f"many workers need more: ulimit -n {min(65_536, highest)}" if most < _FEW_FILES else ""
    return Finding("open files", f"{most:,} for a process", limits)


def _disk(folder: Path) -> Iterator[Finding]:
    """Room, and the speed of one large file: a checkpoint's."""
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk", f"{free / 2**30:.1f} GiB free in {folder.absolute()}", "" if free > 10 * _FILE else "checkpoints"
    )
    if free < 2 * _FILE:
        return
    file, content = folder / f".selfsup-doctor-{os.getpid()}", os.urandom(_FILE // 8)
    try:
        start = time.perf_counter()
        with file.open("wb") as written:
            for _ in range(8):
                written.write(content)
            written.flush()
            os.fsync(written.fileno())
        write = _FILE / (time.perf_counter() - start)
        with file.open("rb", buffering=0) as read:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(read.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            while read.read(1 << 22):
                pass
            speed = _FILE / (time.perf_counter() - start)
    except OSError as error:
        yield Finding("disk speed", f"unknown: {error.strerror or error}", "nothing can be saved there")
        return
    finally:
        file.unlink(missing_ok=True)
    gigabyte = f"{1e9 / write:.1f} s for each GB of a checkpoint"
    yield Finding("disk speed", f"{write / 1e6:,.0f} MB/s written to the disk, {speed / 1e6:,.0f} MB/s read", gigabyte)


def _processes(device: torch.device) -> Iterator[Finding]:
    """Whether all have the same, how fast gradients are exchanged, who is slow, and how far clocks are apart."""
    machines = gather_objects((platform.node(), _versions().found))
    others = sorted({node for node, found in machines if found != machines[0][1]})
    differing = f"other versions than process 0: {', '.join(others)}"
    yield Finding("versions of all", differing if others else "the same", "results may differ" if others else "")
    processes = world_size()
    tensor = torch.ones(_REDUCED // 4, device=device)
    dist.all_reduce(tensor)  # connections are made
    barrier()
    start, rounds = time.perf_counter(), 3
    for _ in range(rounds):
        dist.all_reduce(tensor)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / rounds
    rate = 2 * (processes - 1) / processes * _REDUCED / max(gather_objects(seconds))
    time_of_gradients = f"{100e6 * 4 * 2 * (processes - 1) / processes / rate:.2g} s for each 100 million parameters"
    yield Finding("all-reduce", f"{rate / 1e9:.2f} GB/s sent by each of {processes} processes", time_of_gradients)
    rates = gather_objects(measured_peak(device, "fp32"))
    slow = int(np.argmin(rates))
    share = rates[slow] / float(np.median(rates))
    limits = f"all wait for process {slow} on {machines[slow][0]}" if share < _SLOW else ""
    yield Finding("slowest process", f"number {slow}, {share:.0%} of the median in a matrix product", limits)
    barrier()
    clocks = gather_objects((platform.node(), time.time()))
    times = [seconds for _, seconds in clocks]
    apart = max(times) - min(times)
    slowest = clocks[int(np.argmin(times))][0]
    limits = f"the clock of {slowest} is behind: logs and times of files mislead" if apart > _SKEW else ""
    yield Finding("clocks", f"at most {apart:.3f} s apart", limits)
