"""kNN and logistic regression at ImageNet's size, projected from slices: seconds, and memory beyond the features' file.

    python -m benchmarks.evaluation_scale                  # slices of 40,000 and 160,000 keys, 1,000 queries
    python -m benchmarks.evaluation_scale --keys 20000 80000 --queries 2000

Features are drawn into a file and read as a memory map. Each slice runs in a process of its own; its memory is the
anonymous part of the resident set at its highest, sampled: pages of the file can be given back at any time and do not
count. Logistic regression goes two steps of its path, with line search. Growth from the smaller to the larger slice
must be linear within a quarter; slices of a few blocks would show how memory fills up, not how it grows. Targets:
50,000 queries against 1,281,167 keys of 2,048 numbers, and logistic regression of as many images of 1,000 classes, each
under 2 GiB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

KEYS, QUERIES, CLASSES = 1_281_167, 50_000, 1000
LIMIT = 2.0  # GiB
SMALLEST = 20_000  # keys of a slice


class Peak:
    """The highest anonymous memory of this process while inside, in GiB; Linux only."""

    def __enter__(self) -> "Peak":
        self.base, self.value, self._ended = _anonymous(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.value = max(self.value, _anonymous() - self.base)


def _anonymous() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 2**20
    raise SystemExit("this system does not tell anonymous memory")


def write(path: Path, rows: int, dim: int) -> None:
    """A file of features, in blocks."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, 8192):
            block = np.maximum(rng.standard_normal((min(8192, rows - start), dim), np.float32), 0)
            file.write(block.tobytes())


def measure(what: str, path: Path, *, keys: int, queries: int, dim: int, held: bool) -> dict[str, float]:
    """One slice in this process."""
    import torch

    from selfsup.evaluation import KNN
    from selfsup.evaluation.extraction.features import Features, Stacked
    from selfsup.evaluation.protocols import softmax_regression
    from selfsup.evaluation.protocols.softmax_regression import SoftmaxProblem, solve_path

    rows = np.memmap(path, np.float32, mode="c").reshape(-1, dim)
    features = torch.from_numpy(rows[:keys])
    labels = torch.arange(keys) % CLASSES
    voters = Features(features, torch.arange(keys), labels)
    if what == "knn":
        asked = torch.from_numpy(rows[-queries:])
        predictor = KNN().fit(voters, None)
        with Peak() as peak:
            start = time.perf_counter()
            predictor(asked)
            seconds = time.perf_counter() - start
        return {"seconds": seconds, "peak": peak.value}
    with Peak() as peak:
        start = time.perf_counter()
        problem = SoftmaxProblem(Stacked(voters), standardize=False, held=held)
        preparing = time.perf_counter() - start
        weight, bias = problem.start()
        start = time.perf_counter()
        problem.evaluate(weight, bias)
        evaluating = time.perf_counter() - start
        start = time.perf_counter()
        problem.product(torch.ones_like(weight, dtype=torch.float32), torch.ones_like(bias, dtype=torch.float32))
        multiplying = time.perf_counter() - start
        softmax_regression.MAX_PRODUCTS = 2
        for _ in solve_path(problem, [1e-2, 5e-3], tolerance=1e-9, max_iterations=1):
            pass
    return {"preparing": preparing, "evaluation": evaluating, "product": multiplying, "peak": peak.value}


def main() -> int:
    """Print what was measured and what it comes to; 0 when memory and growth are as they should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, nargs=2, default=[40_000, 160_000], help="of the two slices")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--folder", type=Path, help="for the file of features (default: the temporary folder)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        what, path, keys = options.child
        sizes = {"keys": int(keys), "queries": options.queries, "dim": options.dim}
        print(json.dumps(measure(what, Path(path), held=False, **sizes)))
        return 0
    if options.keys[0] < SMALLEST:
        parser.error(f"--keys must be {SMALLEST:,} or more each")
    reached = True
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "features.f32")
        write(path, options.keys[1] + options.queries, options.dim)
        for what in ("knn", "logistic"):
            slices = []
            for keys in options.keys:
                command = [sys.executable, "-m", "benchmarks.evaluation_scale", "--child", what, str(path), str(keys)]
                command += ["--queries", str(options.queries), "--dim", str(options.dim)]
                run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                slices.append(json.loads(run.stdout.splitlines()[-1]))
                print(f"{what}, {keys:,} keys: {slices[-1]}")
            small, large = slices
            times, grown = KEYS / options.keys[1], options.keys[1] / options.keys[0]
            for name in (name for name in large if name != "peak"):
                growth = large[name] / small[name] / grown
                scale = times * (QUERIES / options.queries if what == "knn" else 1)
                print(f"{what}, {name}: {large[name] * scale / 60:.1f} min at full size, growth {growth:.2f} of linear")
                reached &= growth < 1.25
            per_key = max(0.0, large["peak"] - small["peak"]) / (options.keys[1] - options.keys[0])
            memory = large["peak"] + per_key * (KEYS - options.keys[1])
            if what == "knn":  # similarities, indices and votes of the queries that are more
                memory += (QUERIES - options.queries) * (20 * 12 * 2 + CLASSES * 8) / 2**30
            print(f"{what}: {memory:.2f} GiB beyond the file at full size (target: under {LIMIT:g})")
            reached &= memory < LIMIT
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
