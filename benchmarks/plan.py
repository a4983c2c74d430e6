"""What `selfsup plan` works out against what is measured on this machine.

    python -m benchmarks.plan                # live tensor bytes of real steps, six networks and ways to train them
    python -m benchmarks.plan --split y_64gf # peak of a process with all of a RegNetY, and of each of two with a half

Live bytes are those that PyTorch's allocator has given out: between forward and backward pass, and at most, beside
parameters and buffers. The peak of a process is its resident memory over two steps of SwAV on small images with LARC,
counted from what the process takes before the method is built.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from selfsup.engine.distributed import build_on_main, shard
from selfsup.engine.optim import PrecisionOptimWrapper
from selfsup.ops.dist import is_main, world_size
from selfsup.ops.launch import init_process_group, leave_process_group
from selfsup.ops.precision import DTYPES, Precision
from selfsup.planning.memory import step_trace
from selfsup.registry import METHODS

LIMIT = 0.1
NECK = {"type": "ProjectionNeck", "hidden_dims": (2048,), "out_dim": 128}
SIMCLR: dict[str, Any] = {"type": "SimCLR", "neck": NECK, "loss": {"type": "NTXentLoss"}}
SWAV: dict[str, Any] = {
    "type": "SwAV",
    "neck": NECK,
    "prototypes": {"type": "Prototypes", "num_prototypes": 3000},
    "loss": {"type": "SwAVLoss"},
}


@dataclass(frozen=True)
class Case:
    """A method, the sides and counts of its views, images per process, precision."""

    model: dict[str, Any]
    views: tuple[tuple[int, int], ...]
    batch: int
    precision: Precision = "fp32"


def _with(method: dict[str, Any], kind: str, **arguments: Any) -> dict[str, Any]:
    return method | {"backbone": {"type": kind, **arguments}}


CASES = {
    "ResNet-50, SimCLR": Case(_with(SIMCLR, "ResNet", depth=50), ((224, 2),), 4),
    "ResNet-50, SwAV": Case(_with(SWAV, "ResNet", depth=50), ((160, 2), (96, 4)), 4, "bf16"),
    "RegNetY-4GF": Case(_with(SWAV, "RegNet", arch="y_4gf"), ((160, 2), (96, 4)), 4),
    "RegNetY-8GF, stages 1 to 4 again": Case(
        _with(SWAV, "RegNet", arch="y_8gf", checkpoint_stages=(1, 2, 3, 4)), ((224, 2), (96, 6)), 2, "bf16"
    ),
    "BiT-R50x1": Case(_with(SIMCLR, "BiTResNet", depth=50), ((160, 2),), 4),
    "BiT-R50x1, stages 1 and 2 again": Case(
        _with(SIMCLR, "BiTResNet", depth=50, checkpoint_stages=(1, 2)), ((128, 2),), 8, "bf16"
    ),
}


def measured(case: Case) -> tuple[int, int]:
    """Bytes given out between the passes of a real step, and at most."""
    method = METHODS.build(case.model).train().to(memory_format=torch.channels_last)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        images = [
            torch.zeros(case.batch, 3, side, side, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
            for side, count in case.views
            for _ in range(count)
        ]
        batch = {"views": images, "index": torch.arange(case.batch), "label": torch.zeros(case.batch).long()}
        with torch.autocast("cpu", DTYPES[case.precision], enabled=case.precision != "fp32", cache_enabled=False):
            loss = method(batch, mode="loss")["loss"]
        with record_function("between"):
            torch.empty(3)
        loss.backward()
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    between = next(event.start_ns() for event in events if event.name() == "between")
    now = kept = peak = 0
    for event in events:
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
            kept = now if event.start_ns() < between else kept
    return kept, peak


def compare_steps() -> int:
    """Print predicted and measured bytes; 0 if all are within the limit."""
    worst = 0.0
    print(
        f"{'MiB':34}{'views':>16}{'images':>7} {'':5}{'kept, plan':>11}{'real':>7}{'':8}{'peak, plan':>11}{'real':>7}"
    )
    for name, case in CASES.items():
        with torch.device("meta"):
            method = METHODS.build(case.model)
        method.channels_last = True
        planned = step_trace(method, case.views, case.batch, case.precision).footprint()
        kept, peak = measured(case)
        off = [planned.kept / kept - 1, planned.peak_with_gradients / peak - 1]
        worst = max(worst, *map(abs, off))
        views = " + ".join(f"{count}x{side}" for side, count in case.views)
        cells = f"{planned.kept / 2**20:>11.0f}{kept / 2**20:>7.0f}{off[0]:>+7.1%} "
        cells += f"{planned.peak_with_gradients / 2**20:>11.0f}{peak / 2**20:>7.0f}{off[1]:>+7.1%}"
        print(f"{name:34}{views:>16}{case.batch:>7} {case.precision:5}{cells}", flush=True)
    print(f"largest difference {worst:.1%}")
    return 0 if worst <= LIMIT else 1


def resident(field: str) -> int:
    """Bytes by a field of the process's status: ``VmRSS`` now, ``VmHWM`` at most since it was cleared."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) * 2**10


def step_of_part(arch: str, folder: str) -> None:
    """What each process of ``--split`` does: two steps with its part of the method."""
    init_process_group()
    torch.set_num_threads(1)
    before = resident("VmRSS")
    model = _with(SWAV, "RegNet", arch=arch, checkpoint_stages=(1, 2, 3, 4))
    section = {"precision": "fp32", "optimizer": {"type": "LARS", "variant": "larc", "lr": 0.1}}
    if world_size() > 1:
        method = shard(build_on_main(lambda: METHODS.build(model)), torch.device("cpu"), min_parameters=1_000_000)
    else:
        method = METHODS.build(model)
    wrapper = PrecisionOptimWrapper.for_method(method, section)
    Path("/proc/self/clear_refs").write_text("5")
    views = [torch.zeros(4 // world_size(), 3, 64, 64, dtype=torch.uint8) for _ in range(2)]
    for _ in range(2):
        with wrapper.optim_context(method):
            loss = method({"views": views, "index": torch.arange(len(views[0]))}, mode="loss")["loss"]
        wrapper.update_params(loss)
    found = {"peak": resident("VmHWM") - before, "parameters": sum(p.numel() for p in method.parameters())}
    Path(folder, f"{os.environ.get('RANK', 'alone')}.json").write_text(json.dumps(found))
    if is_main():
        print(f"{world_size()} process(es) done", flush=True)
    leave_process_group()


def compare_processes(arch: str) -> int:
    """Print the peak of one process, and of each of two that hold a half."""
    import tempfile

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back
    peaks: dict[int, list[int]] = {}
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            program = ["-m", "benchmarks.plan", "--part", arch, folder]
            launcher = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
            subprocess.run([sys.executable, *launcher, *program], check=True, env=environment)
            found = [json.loads(file.read_text()) for file in sorted(Path(folder).iterdir())]
        peaks[processes] = [each["peak"] for each in found]
    print(f"RegNet {arch}, {found[0]['parameters']:,} parameters with neck and prototypes, LARC, float32")
    print(f"one process: {peaks[1][0] / 2**30:.2f} GiB")
    shares = ", ".join(f"{peak / 2**30:.2f} GiB ({peak / peaks[1][0]:.0%})" for peak in peaks[2])
    print(f"each of two, sharded: {shares}")
    return 0


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", metavar="ARCH", help="of RegNet")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        step_of_part(*chosen.part)
        return 0
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}")
    return compare_processes(chosen.split) if chosen.split else compare_steps()


if __name__ == "__main__":
    raise SystemExit(main())
