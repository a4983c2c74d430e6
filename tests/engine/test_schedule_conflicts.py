"""What schedules are rejected for in a dry run: their arguments, each other, fixed rates, the length of the run."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.optim import StepLR

from selfsup.config import load_config
from selfsup.config.batch import scale_learning_rates
from selfsup.errors import ConfigError
from selfsup.planning import describe
from selfsup.registry import PARAM_SCHEDULERS
from tests.config.small import write

WARMUP = {"type": "WarmupCosine", "warmup_steps": 2}


def rejection(folder: Path, schedules: Any, **options: Any) -> str:
    config = load_config(write(folder), {"param_scheduler": schedules, **options})
    with pytest.raises(ConfigError) as caught:
        describe(config)
    return str(caught.value)


@pytest.mark.parametrize("second", [{"type": "EpochCosine"}, {"type": "StepLR", "step_size": 2}])
@pytest.mark.parametrize("order", [1, -1])
def test_a_schedule_that_overwrites_another_in_every_step_is_rejected(
    tmp_path: Path, second: dict[str, Any], order: int
) -> None:
    said = rejection(tmp_path, [WARMUP, second][::order])
    before, after = ["WarmupCosine", second["type"]][::order]
    assert said.startswith(f"param_scheduler.1: {after} and param_scheduler.0 ({before}) both set the lr of every step")


def test_schedules_that_change_what_they_find_or_move_something_else_go_together(tmp_path: Path) -> None:
    after = {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 5, "T_max": 95}
    before = {"type": "LinearLR", "by_epoch": False, "end": 5}
    momentum = {"type": "LinearMomentum", "by_epoch": False, "end": 5}
    for schedules in ([before, after], [WARMUP, momentum]):
        describe(load_config(write(tmp_path), {"param_scheduler": schedules}))


@pytest.mark.parametrize(
    ("group", "moves", "ours", "said"),
    [
        ({"kinds": "norm", "fixed_lr": True}, {"type": "PolyLR", "end": 5}, WARMUP, "with fixed_lr; use one of ours"),
        (
            {"kinds": "bias", "weight_decay": 0.0},
            {"type": "CosineAnnealingParamScheduler", "param_name": "weight_decay", "T_max": 5, "eta_min": 0.4},
            {"type": "Cosine", "param_name": "weight_decay", "end_value": 0.4},
            "with weight_decay=0; use one of ours",
        ),
    ],
)
def test_a_group_to_be_left_alone_that_a_schedule_would_move_is_rejected(
    tmp_path: Path, group: dict[str, Any], moves: dict[str, Any], ours: dict[str, Any], said: str
) -> None:
    options = {"optim_wrapper.optimizer.weight_decay": 0.04, "optim_wrapper.param_groups": [group]}
    told = rejection(tmp_path, moves, **options)
    assert told.startswith(f"param_scheduler: {moves['type']} moves the ") and said in told
    plan = describe(load_config(write(tmp_path), {"param_scheduler": ours, **options}))
    assert ours is WARMUP or plan.other_options["weight_decay"][0] == (0, pytest.approx(0.04))


@pytest.mark.parametrize(
    ("schedule", "path", "said"),
    [
        (
            {"type": "StepParamScheduler", "step_size": 1, "param_name": "momentun"},
            "param_scheduler.param_name",
            "SGD has no such option, got 'momentun'; did you mean 'momentum'?",
        ),
        ({"type": "CosineRestartLR", "periods": [3]}, "param_scheduler", "must fulfil: (eta_min is None) ^ (eta"),
        ({"type": "CosineAnnealingLR", "by_epoch": False, "begin": 5}, "param_scheduler", "end or T_max is missing"),
        ({"type": "LinearMomentum"}, "param_scheduler", "end is missing"),
    ],
)
def test_what_mmengine_would_only_stumble_over_later_is_told_with_its_place(
    tmp_path: Path, schedule: dict[str, Any], path: str, said: str
) -> None:
    assert rejection(tmp_path, schedule).startswith(f"{path}: {said}")


def test_one_made_from_mmengine_s_need_not_know_of_the_run_s_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Halving(StepLR):
        def __init__(self, optimizer: Any, **kwargs: Any) -> None:
            super().__init__(optimizer, gamma=0.5, **kwargs)

    monkeypatch.setitem(PARAM_SCHEDULERS.module_dict, "Halving", Halving)
    describe(load_config(write(tmp_path), {"param_scheduler": {"type": "Halving", "step_size": 3}}))


def test_scaling_reaches_the_rates_of_schedules_and_no_momentum(tmp_path: Path) -> None:
    schedules = [
        {"type": "OneCycleLR", "eta_max": 0.1, "total_steps": 100, "by_epoch": False},
        {"type": "CosineAnnealingMomentum", "T_max": 100, "eta_min": 0.5},
        {"type": "PolyParamScheduler", "param_name": "weight_decay", "eta_min": 0.5},
        {"type": "PolyParamScheduler", "param_name": "lr", "eta_min": 0.01},
    ]
    options = {"param_scheduler": schedules, "auto_scale_lr": {"base_batch_size": 16}}  # the batch is 32
    scaled = scale_learning_rates(load_config(write(tmp_path), options), 1).param_scheduler
    assert scaled[0]["eta_max"] == pytest.approx(0.2)
    assert [schedule["eta_min"] for schedule in scaled[1:]] == [0.5, 0.5, pytest.approx(0.02)]
