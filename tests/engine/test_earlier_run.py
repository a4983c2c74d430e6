"""A run that was begun at commit 41b416a, before the parts of a checkpoint had a schema, is resumed by today's code."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook

from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from tests.engine.tiny_run import tiny_config

EARLIER = Path(__file__).with_name("earlier_run")


class Order(Hook):
    """Notes the names of the images of each step."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.names.append([runner.train_images.name(int(index)) for batch in data_batch for index in batch["index"]])


def config_of_then(work_dir: Path) -> dict[str, Any]:
    """The config of the run, as it was written then."""
    config = tiny_config(work_dir, steps=10)
    widths = {"depths": (1, 1, 1, 1), "widths": (8, 8, 8, 16), "group_width": 8}
    config["model"] |= {"backbone": {"type": "RegNet", **widths}, "queue_length": 8}
    scenes = {"type": "Scenes", "split": "train", "size": 40}
    config["train_dataloader"]["dataset"] = {"type": "Subset", "dataset": scenes, "count": 64}
    config["evaluators"] = {"knn": {"type": "KNN", "k": 3}}
    checkpoint = {"type": "CheckpointHook", "every_steps": 4, "max_keep": 9}
    config["default_hooks"] = {"checkpoint": checkpoint, "pictures": None, "collapse": None}
    return config | {"recipe": "tiny"}


def test_it_is_resumed_with_its_images_in_their_order_its_rates_and_its_losses(tmp_path: Path) -> None:
    recorded = json.loads((EARLIER / "recorded.json").read_text())
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(EARLIER / "step_000000004.pth", tmp_path / "checkpoints")
    runner = Runner(config_of_then(tmp_path), resume=True, device="cpu")
    order = Order()
    runner.register_hook(order)
    runner.train()
    steps = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line and line["step"] > 4]
    assert order.names == recorded["images"][4:]
    assert [line["lr"] for line in steps] == pytest.approx(recorded["rates"][4:], rel=1e-12)
    assert [line["loss"] for line in steps] == pytest.approx(recorded["losses"][4:], rel=2e-3)  # another CPU rounds
