from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.config import changes, plain

CONFIG: dict[str, Any] = {
    "model": {"type": "SwAV", "loss": {"temperature": 0.1}, "sizes": (224, 96), "queue_length": 0},
    "param_scheduler": [{"type": "WarmupCosine", "warmup_steps": 1}, {"type": "MultiStep", "steps": [4]}],
    "work_dir": "here",
    "load_from": None,
}


def with_values(**values: Any) -> dict[str, Any]:
    return CONFIG | {"model": CONFIG["model"] | values}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (CONFIG, None),
        (CONFIG | {"work_dir": "there", "load_from": "weights.pth"}, None),
        (with_values(sizes=[224, 96]), None),
        (with_values(sizes=(224, 160)), "model.sizes (224, 96) -> (224, 160)"),
        (with_values(loss={"temperature": 0.2}), "model.loss.temperature 0.1 -> 0.2"),
        (with_values(loss=None), "model.loss {'temperature': 0.1} -> None"),
        (with_values(momentum=0.9), "model.momentum unset -> 0.9"),
        ({key: value for key, value in CONFIG.items() if key != "model"}, f"model {CONFIG['model']} -> unset"),
        (
            CONFIG | {"param_scheduler": [{"type": "WarmupCosine", "warmup_steps": 10}, CONFIG["param_scheduler"][1]]},
            "param_scheduler[0].warmup_steps 1 -> 10",
        ),
        (
            with_values(**{f"option_{number}": number for number in range(10)}),
            ", ".join(f"model.option_{number} unset -> {number}" for number in range(8)) + ", and 2 more",
        ),
    ],
)
def test_the_paths_that_differ_are_named(now: dict[str, Any], said: str | None) -> None:
    assert changes(CONFIG, now) == said


def test_a_plain_config_passes_the_allow_list_and_shows_what_is_no_plain_value(tmp_path: Path) -> None:
    class Text(str):
        pass

    numbers = {"lr": np.float64(0.5), "flag": True, "count": 3, "none": None, "name": Text("a")}
    config = {**numbers, "views": (1, [2.5]), "built": object(), 3: torch.float32, "array": np.int64(7)}
    found = plain(config)
    torch.save(found, tmp_path / "config.pth")
    again = torch.load(tmp_path / "config.pth", weights_only=True)
    assert again == {
        "lr": 0.5,
        "flag": True,
        "count": 3,
        "none": None,
        "name": "a",
        "views": (1, [2.5]),
        "built": "<object object>",
        "3": "torch.float32",
        "array": "np.int64(7)",
    }
    assert [type(again[name]) for name in ("lr", "flag", "count", "name")] == [float, bool, int, str]
    assert changes(found, plain(config)) is None
