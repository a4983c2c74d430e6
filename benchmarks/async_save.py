"""How long a save in a thread holds training up, against copying the same state in memory.

    python -m benchmarks.async_save [--arch y_32gf] [--saves 4]

SwAV on a RegNetY as SEER trains it, LARC's momentum included, on noise of 32 x 32 pixels: the state is whole, the steps
are short. The first save makes room for the copy, the later ones have it. Two copies are timed beside it: into new
memory and into memory that has been written to before.
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from selfsup.engine.runner import Runner
from selfsup.engine.saver import ShardedSaver
from selfsup.weights.checkpoint import list_checkpoints
from selfsup.weights.sharded import flattened

LIMIT = 1.5  # memory copies


class Timed(ShardedSaver):
    """Notes how long it holds training up, without what it waits for an earlier save."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.held: list[float] = []
        self.written: list[float] = []

    def save(self, runner: Any, step: int) -> None:
        """Save, and wait for the disk afterwards, on the side."""
        began = time.perf_counter()
        self.finish()
        waited = time.perf_counter() - began
        super().save(runner, step)
        self.held.append(time.perf_counter() - began - waited)
        began = time.perf_counter()
        self.wait()
        self.written.append(time.perf_counter() - began)


class Copies(Hook):
    """Times copies of the state after each step, before it is saved."""

    priority = "LOW"

    def __init__(self) -> None:
        self.fresh: list[float] = []
        self.again: list[float] = []
        self.bytes = 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Copy twice."""
        tensors, _ = flattened(runner.method.state_dict(), runner.optim_wrapper.state_dict())
        self.bytes = sum(tensor.nbytes for tensor in tensors.values())
        began = time.perf_counter()
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        self.fresh.append(time.perf_counter() - began)
        began = time.perf_counter()
        for name, tensor in tensors.items():
            copies[name].copy_(tensor)
        self.again.append(time.perf_counter() - began)


def main() -> int:
    """Print the figures; 0 if no save held training up for more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="y_32gf")
    parser.add_argument("--saves", type=int, default=4)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(config(chosen.arch, chosen.saves, folder), device="cpu")
        copies = Copies()
        runner.register_hook(copies)
        build = runner._build_training

        def with_timed(saved: Any = None) -> None:
            build(saved)
            made = next(hook for hook in runner._hooks if type(hook).__name__ == "CheckpointHook")
            made.before_run = lambda runner: setattr(runner, "saver", timed)  # type: ignore[method-assign]

        from datetime import timedelta

        timed = Timed(asynchronous=True, max_keep=1, timeout=timedelta(minutes=10))
        runner._build_training = with_timed  # type: ignore[method-assign]
        runner.train()
        size = sum(file.stat().st_size for file in list_checkpoints(folder)[-1].iterdir())
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"state {copies.bytes / 1e9:.3f} GB, checkpoint with its backbone {size / 1e9:.3f} GB")
    fresh, again = statistics.median(copies.fresh), statistics.median(copies.again)
    print(f"a copy: {fresh:.3f} s into new memory, {again:.3f} s into old")
    print(f"held up: first {timed.held[0]:.3f} s, later {', '.join(f'{held:.3f}' for held in timed.held[1:])} s")
    print(f"written in the thread after it: {statistics.median(timed.written):.1f} s")
    later = statistics.median(timed.held[1:])
    print(f"in copies: first {timed.held[0] / fresh:.2f} (new memory), later {later / again:.2f} (old memory)")
    return 0 if timed.held[0] <= LIMIT * fresh and later <= LIMIT * again else 1


def config(arch: str, saves: int, work_dir: str) -> dict[str, Any]:
    """SEER's method with the smallest images."""
    hooks: dict[str, Any] = dict.fromkeys(("pictures", "evaluate", "collapse"))
    hooks["checkpoint"] = {"every_steps": 1, "sharded": True, "asynchronous": True}
    return {
        "model": {
            "type": "SwAV",
            "backbone": {"type": "RegNet", "arch": arch},
            "neck": {"type": "ProjectionNeck", "hidden_dims": (8192, 8192), "out_dim": 256},
            "prototypes": {"type": "Prototypes", "num_prototypes": 16000},
            "loss": {"type": "SwAVLoss"},
        },
        "train_dataloader": {
            "batch_size": 2,
            "num_workers": 0,
            "dataset": {"type": "Scenes", "split": "test", "size": 40},
            "views": {"type": "SwAVViews", "sizes": (32,), "counts": (2,), "scales": ((0.14, 1.0),)},
        },
        "optim_wrapper": {"precision": "fp32", "optimizer": {"type": "LARS", "variant": "larc", "lr": 0.01}},
        "train_cfg": {"max_steps": saves},
        "default_hooks": hooks,
        "work_dir": str(Path(work_dir)),
        "seed": 0,
    }


if __name__ == "__main__":
    raise SystemExit(main())
