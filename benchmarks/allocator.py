"""Training steps on the CPU with the C allocator as it comes, tuned in several ways, and replaced: speed and memory.

    python -m benchmarks.allocator                                # SwAV, ResNet-50, batches of 16, 32 and 64
    python -m benchmarks.allocator --batches 16 --precision fp32
    python -m benchmarks.allocator --variants "as it comes" tuned "environment" --rounds 3

Every variant runs in processes of its own, ``--rounds`` of them, the variants in turn, so that a machine that slows
down slows all. For each batch it prints images per second of wall time and of processor time (``OMP_NUM_THREADS=1``
makes the latter comparable on a machine that others use), the seconds of a step that the system took, page faults and
peak memory, each by the median step, with the ratios to the allocator as it comes. It fails if ``tuned``, which is what
a training does, misses its targets at batch 64 in bf16 or at batch 16 in float32. Other allocators are measured where
their library is given (``--preload tcmalloc=/path/libtcmalloc.so``).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

MB = 2**20
M_ARENA_MAX = -8  # malloc.h
ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(256 * MB)}


def _mallopt(**changes: int) -> Callable[[], bool]:
    def tune() -> bool:
        from selfsup.ops import memory

        names = {"top_pad": memory.M_TOP_PAD, "arena_max": M_ARENA_MAX}
        return memory.set_allocator({**memory.TUNED, **{names[name]: value for name, value in changes.items()}})

    return tune


BASE = "as it comes"
IN_PROCESS: dict[str, Callable[[], bool]] = {
    "tuned": _mallopt(),
    "tuned, pad 128 KB": _mallopt(top_pad=128 * 1024),
    "tuned, pad 16 MB": _mallopt(top_pad=16 * MB),
    "tuned, pad 64 MB": _mallopt(top_pad=64 * MB),
    "tuned, 1 arena": _mallopt(arena_max=1),
}
"""What a process does to its own allocator, by name."""
FROM_OUTSIDE = {
    BASE: {},
    "environment": ENVIRONMENT,
    "huge pages": {"THP_MEM_ALLOC_ENABLE": "1"},  # PyTorch's own
    "environment, huge pages": {**ENVIRONMENT, "THP_MEM_ALLOC_ENABLE": "1"},
}
"""With which variables a process is started, by name."""

TARGETS = {("bf16", 64): (1.6, 1.35), ("fp32", 16): (1.2, None)}
"""At least so many times the images per second, at most so many times the memory."""


def measure(variant: str, *, config: str, batch: int, steps: int, precision: str) -> dict[str, float]:
    """Train for some steps in this process."""
    if variant in IN_PROCESS and not IN_PROCESS[variant]():
        raise SystemExit("this C library has no mallopt, or it does not take all of the options")
    import numpy as np
    import torch

    from benchmarks.train_step import Step
    from selfsup.config import load_config
    from selfsup.registry import METHODS, TRANSFORMS

    torch.manual_seed(0)
    recipe = load_config(config)
    step = Step(recipe, METHODS.build(recipe.model).train(), precision=precision, channels_last=True)
    pipeline = TRANSFORMS.build(recipe.train_dataloader.views)
    sides = [view.shape[0] for view in pipeline(np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0))]
    found: dict[str, list[float]] = {"seconds": [], "processor": [], "system": [], "faults": []}
    for number in range(steps + 1):  # the first grows the heap
        views = [torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8) for side in sides]
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        step(views)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        if number:
            system = after.ru_stime - before.ru_stime
            found["seconds"].append(seconds)
            found["system"].append(system)
            found["processor"].append(system + after.ru_utime - before.ru_utime)
            found["faults"].append(after.ru_minflt - before.ru_minflt)
    result = {name: statistics.median(values) for name, values in found.items()}
    return {**result, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def child(variant: str, variables: dict[str, str], options: argparse.Namespace, batch: int) -> dict[str, float]:
    """What :func:`measure` finds in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.allocator", "--child", variant, "--batches", str(batch)]
    command += ["--config", options.config, "--steps", str(options.steps), "--precision", options.precision]
    run = subprocess.run(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main() -> int:
    """Print the tables; 0 when the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="swav/swav_resnet50")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a process (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each variant (default: %(default)s)")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--variants", nargs="+", help="default: all")
    parser.add_argument("--preload", nargs="+", default=[], metavar="NAME=FILE", help="other allocators' libraries")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        (batch,) = options.batches
        given: dict[str, Any] = {name: getattr(options, name) for name in ("config", "steps", "precision")}
        print(json.dumps(measure(options.child, batch=batch, **given)))
        return 0
    variants = {**FROM_OUTSIDE, **{name: {} for name in IN_PROCESS}}
    variants |= {name: {"LD_PRELOAD": file} for name, _, file in (each.partition("=") for each in options.preload)}
    variants = {name: variants[name] for name in dict.fromkeys([BASE, *(options.variants or variants)])}
    reached = True
    for batch in options.batches:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
        for _ in range(options.rounds):
            for name, variables in variants.items():
                runs[name].append(child(name, variables, options, batch))
                print(f"batch {batch}, {name}: {runs[name][-1]}", file=sys.stderr)
        medians = {
            name: {key: statistics.median(run[key] for run in found) for key in found[0]}
            for name, found in runs.items()
        }
        print(f"{options.config}, {options.precision}, batch {batch}, {options.rounds} x {options.steps} steps")
        print("| allocator | img/s | times | img/s of processor time | times | system s | faults | peak GiB | times |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name, found in medians.items():
            base = medians[BASE]
            cells = [name]
            for key in ("seconds", "processor"):
                cells += [f"{batch / found[key]:.2f}", f"{base[key] / found[key]:.2f}"]
            cells += [
                f"{found['system']:.2f}",
                f"{found['faults']:,.0f}",
                f"{found['peak']:.2f}",
                f"{found['peak'] / base['peak']:.2f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
        least, most = TARGETS.get((options.precision, batch), (0.0, None))
        if "tuned" in medians:
            faster = medians[BASE]["seconds"] / medians["tuned"]["seconds"]
            larger = medians["tuned"]["peak"] / medians[BASE]["peak"]
            print(
                f"tuned: {faster:.2f} times the speed (target {least}), {larger:.2f} times the memory (target {most})"
            )
            reached &= faster >= least and (most is None or larger <= most)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
