"""The smallest run that has everything: SwAV with multi-crop and queue on drawn scenes, half a second long."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.hooks import Hook

from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.registry import DATASETS

BACKBONE = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 16, 24, 32), "group_width": 8}
SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
SCENES = {"type": "Scenes", "split": "test", "size": 40}


def tiny_config(work_dir: Path, *, steps: int = 8, **changes: Any) -> dict[str, Any]:
    """A resolved config; ``changes`` replace top-level keys."""
    config: dict[str, Any] = {
        "model": {
            "type": "SwAV",
            "backbone": dict(BACKBONE),
            "neck": {"type": "ProjectionNeck", "hidden_dims": (32,), "out_dim": 16},
            "prototypes": {"type": "Prototypes", "num_prototypes": 12},
            "loss": {"type": "SwAVLoss", "temperature": 0.1, "epsilon": 0.05, "iterations": 3},
            "queue_length": 16,
            "queue_start_epoch": 0,
        },
        "train_dataloader": {
            "batch_size": 8,
            "num_workers": 0,
            "dataset": dict(SCENES),
            "views": {
                "type": "SwAVViews",
                "sizes": (32, 16),
                "counts": (2, 1),
                "scales": ((0.14, 1.0), (0.05, 0.14)),
            },
        },
        "optim_wrapper": {
            "precision": "fp32",
            "optimizer": dict(SGD),
            "freeze": {"prototypes": 2},
        },
        "param_scheduler": {"type": "WarmupCosine", "start_lr": 0.01, "end_lr": 0.0, "warmup_steps": 3},
        "train_cfg": {"max_steps": steps},
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "every_steps": 3},
            "pictures": None,
            "evaluate": None,
            "collapse": None,
        },
        "work_dir": str(work_dir),
        "seed": 0,
    }
    return config | changes


def moco_config(work_dir: Path, **changes: Any) -> dict[str, Any]:
    """The same with a teacher and a queue of three batches."""
    config = tiny_config(work_dir, **changes)
    parts = {"backbone": dict(BACKBONE), "neck": config["model"]["neck"], "queue_length": 24, "momentum": 0.9}
    config["model"] = {"type": "MoCo", "loss": {"type": "InfoNCELoss", "temperature": 0.2}, **parts}
    config["train_dataloader"]["views"] = {"type": "MoCoViews", "size": 32}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": dict(SGD)}
    return config


def some_scenes(count: int) -> dict[str, Any]:
    """The first of the scenes."""
    return {"type": "Subset", "dataset": SCENES, "count": count}


@DATASETS.register_module()
class Noise:
    """Images drawn by their number, by which they are called."""

    labels: Any = None
    classes: Any = None

    def __init__(self, length: int = 64) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def image(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)

    def name(self, index: int) -> str:
        return str(index)


def losses(work_dir: str | Path, name: str = "loss") -> list[tuple[int, float]]:
    """Step and loss, or another number, as they are recorded."""
    return [(line["step"], line[name]) for line in read_metrics(Path(work_dir, "metrics.jsonl")) if name in line]


def trained(config: dict[str, Any], **how: Any) -> Runner:
    """The runner after its training."""
    runner = Runner(config, **how)
    runner.train()
    return runner


def log_of(work_dir: str | Path) -> str:
    """What the one run of a work dir has logged."""
    (file,) = Path(work_dir).glob("*/rank0.log")
    return file.read_text()


class PoweredOff(Exception):
    """What stops a run as if the machine were switched off."""


class PowerOff(Hook):
    """Stops a run after so many steps and one more, in which nothing is saved."""

    priority = "LOWEST"

    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == self.step:
            raise PoweredOff


def power_off(config: dict[str, Any], step: int, *, resume: bool = False) -> None:
    """Run until the machine is switched off in the step after so many."""
    runner = Runner(config, resume=resume)
    runner.register_hook(PowerOff(step))
    with pytest.raises(PoweredOff):
        runner.train()
