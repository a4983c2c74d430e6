"""Real optimization steps of a SEER recipe on photographs from a folder: seconds and peak memory.

    python -m benchmarks.seer_step                                     # RegNetY-256GF, one step
    python -m benchmarks.seer_step --config swav/seer_regnety32 --steps 5
    python -m benchmarks.seer_step --against ../before                 # another checkout, in turn, for ratios
    python -m benchmarks.seer_step --against ../before --config swav/swav_resnet50 --batch 64 --steps 4 --rounds 2

Runs ``tools/train.py``, the recipe unchanged but for the batch and the number of steps, in a process of its own, and
adds up the memory of that process and its workers while it runs. The work dir, with a checkpoint of everything, needs
17 GB of disk for 256GF and is removed afterwards.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PHOTOS = (ROOT.parent / "shared" / "data" / "bench_photos", ROOT / "selfsup" / "data" / "photos")
MEMORY_LIMIT = 22.0  # GiB


def resident_gib(pid: int) -> float:
    """Memory of a process and all its descendants in GiB, pages they share counted once."""
    total = 0
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        waiting += children.get(current, [])
        try:
            lines = Path(f"/proc/{current}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 2**20


def train(root: Path, options: argparse.Namespace) -> tuple[float, float, int]:
    """Run the recipe from a checkout: median seconds of a step, peak memory in GiB, and how many steps were done."""
    with tempfile.TemporaryDirectory() as work_dir:
        command = [sys.executable, str(root / "tools" / "train.py"), options.config, "--data", str(options.photos)]
        command += ["--work-dir", work_dir, "--cfg-options", f"train_dataloader.batch_size={options.batch}"]
        command += [f"train_cfg.max_steps={options.steps}", *options.cfg_options]
        print(" ".join(command[1:]), flush=True)
        start, peak = time.monotonic(), 0.0
        run = subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
        while run.poll() is None:
            peak = max(peak, resident_gib(run.pid))
            time.sleep(2)  # adding up the pages of 18 GiB takes time from the step itself
        whole = time.monotonic() - start
        if run.returncode:
            raise SystemExit(f"the training ended with exit code {run.returncode}")
        lines = [json.loads(line) for line in Path(work_dir, "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "images_per_second" in line]
    timed = steps[1:] or steps  # the first grows the heap
    seconds = statistics.median(options.batch / line["images_per_second"] for line in timed)
    print(f"{len(steps)} step(s), losses " + ", ".join(f"{line['loss']:.4f}" for line in steps))
    print(f"median {seconds:.2f} s a step, {whole:.0f} s in all, peak {peak:.2f} GiB (limit {MEMORY_LIMIT} GiB)")
    return seconds, peak, len(steps)


def main() -> int:
    """Print the figures; 0 when every step was done within the memory limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="swav/seer_regnety256")
    parser.add_argument("--photos", type=Path, default=next(path for path in PHOTOS if path.is_dir()))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another checkout, trained first, for ratios")
    parser.add_argument("--rounds", type=int, default=1, help="how often the two are trained in turn")
    parser.add_argument("--cfg-options", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    ours, others = [], []
    for _ in range(options.rounds):
        if options.against is not None:
            others.append(train(options.against.absolute(), options))
        ours.append(train(ROOT.absolute(), options))
    if others:
        times, memory = (
            statistics.median(run[place] for run in others) / statistics.median(run[place] for run in ours)
            for place in (0, 1)
        )
        print(f"{times:.2f} times as fast ({1 / times:.2f} of the time), {1 / memory:.2f} times the peak memory")
    return 0 if all(peak <= MEMORY_LIMIT and done == options.steps for _, peak, done in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
