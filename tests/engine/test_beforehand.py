"""What is said, or rejected, before the first step of a run."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.config import Recipe
from selfsup.engine.beforehand import said_beforehand
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from tests.engine.tiny_run import log_of, tiny_config


def said(config: dict[str, Any], *, num_images: int | None = 100, steps: int = 50, queue: int = 0) -> list[str]:
    method = type("Queued", (), {"queue_length": queue})()
    lines = said_beforehand(Recipe.of(config), method, num_images=num_images, steps=steps, steps_per_epoch=10)
    return [line.partition(": ")[0] for line in lines]


def test_lengths_that_go_together_need_no_word(tmp_path: Path) -> None:
    assert said(tiny_config(tmp_path), queue=100) == []


@pytest.mark.parametrize("warmup", [{"warmup_steps": 50}, {"warmup_epochs": 5}])
def test_a_warm_up_as_long_as_the_run_is_said(tmp_path: Path, warmup: dict[str, int]) -> None:
    schedule = {"type": "WarmupCosine", "start_lr": 0.01, **warmup}
    assert said(tiny_config(tmp_path, param_scheduler=schedule)) == ["param_scheduler"]
    assert said(tiny_config(tmp_path, param_scheduler=schedule), steps=51) == []


def test_a_queue_longer_than_the_data_and_a_lone_image_are_said(tmp_path: Path) -> None:
    assert said(tiny_config(tmp_path), queue=101) == ["model.queue_length"]
    assert said(tiny_config(tmp_path), num_images=None, queue=101) == []
    assert said(tiny_config(tmp_path), num_images=1) == ["train_dataloader.dataset"]


def test_a_run_says_so_before_its_first_step(tmp_path: Path) -> None:
    Runner(tiny_config(tmp_path, steps=1), device="cpu").train()
    log = log_of(tmp_path)
    assert 0 <= log.find("the warm-up takes 3 steps and the run has 1") < log.find("exported")


NECK = {"type": "ProjectionNeck", "hidden_dims": (8,), "out_dim": 8}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"queue_length": 0}, "model"),
        ({"type": "SimCLR", "neck": NECK, "loss": {"type": "NTXentLoss", "temperature": 0.1}}, "model"),
        (
            {"type": "BYOL", "neck": NECK, "predictor": {**NECK}, "loss": {"type": "CosineLoss"}},
            "train_dataloader.batch_size",
        ),
    ],
)
def test_a_batch_of_one_image_is_rejected_where_it_teaches_nothing(
    tmp_path: Path, model: dict[str, Any], path: str
) -> None:
    made = tiny_config(tmp_path)
    made["train_dataloader"]["batch_size"] = 1
    backbone = made["model"]["backbone"]
    made["model"] = {**made["model"], **model} if "type" not in model else {**model, "backbone": backbone}
    with pytest.raises(ConfigError) as caught:
        Runner(made, device="cpu")
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [(path, 1)]
