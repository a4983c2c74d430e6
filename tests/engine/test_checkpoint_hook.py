"""When checkpoints are saved."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.engine.runner import Runner
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.tiny_run import some_scenes, tiny_config


@pytest.mark.parametrize(
    ("changes", "saved"),
    [
        ({"min_steps": 1}, [3, 6, 9, 12, 14]),
        ({"min_steps": 3}, [3, 6, 9, 12, 14]),
        ({"min_steps": 4}, [6, 12, 14]),
        ({"min_steps": 4, "every_steps": 5}, [5, 9, 10, 14]),
        ({}, [14]),
    ],
)
def test_short_epochs_do_not_each_end_in_a_checkpoint(
    tmp_path: Path, changes: dict[str, Any], saved: list[int]
) -> None:
    config = tiny_config(tmp_path, steps=14, split=None)
    config["train_dataloader"]["dataset"] = some_scenes(24)  # three steps an epoch
    config["default_hooks"]["checkpoint"] = {"max_keep": 9, **changes}
    Runner(config).train()
    assert [Checkpoint.read(path).step for path in list_checkpoints(tmp_path)] == saved
