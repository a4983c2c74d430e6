import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from selfsup.engine.schedules import Cosine, EpochCosine, HalveOnPlateau, MultiStep, Schedule, WarmupCosine
from selfsup.engine.schedules.build import build_schedule, scheduled_options
from selfsup.errors import ConfigError
from tests.reference import record


def optimizer_of(lr: float, *groups: dict[str, Any], weight_decay: float = 0.0) -> torch.optim.Optimizer:
    parameters = [{"params": [nn.Parameter(torch.ones(1))], **group} for group in groups or ({},)]
    return torch.optim.SGD(parameters, lr, weight_decay=weight_decay)


def build(
    kind: type[Schedule], lr: float = 1.0, *, steps_per_epoch: int = 10, total_steps: int = 100, **given: Any
) -> Any:
    schedule = {"type": kind.__name__, **given}
    return build_schedule(schedule, optimizer_of(lr), steps=total_steps, steps_per_epoch=steps_per_epoch)


def curve(schedule: Schedule, steps: list[int]) -> list[float]:
    return [schedule.curve(step) for step in steps]


def losses_to_rates(schedule: Schedule, losses: list[float]) -> list[float]:
    """The rate of each step; only the schedule that halves on a plateau looks at the losses."""
    rates = []
    for loss in losses:
        rates.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        if isinstance(schedule, HalveOnPlateau):
            schedule.observe(loss)
        schedule.step()
    return rates


EPOCHS = record("schedule/swav_800ep")["input"]
SEER = {"total_steps": 122_000, "start_lr": 0.15, "end_lr": 0.0096, "warmup_steps": 9000}
SWAV = {"start_lr": 0.3, "end_lr": 0.0048, "warmup_epochs": 10, "warmup_inclusive": True}
SWAV |= {"steps_per_epoch": EPOCHS["iters_per_epoch"], "total_steps": EPOCHS["total"]}
SIMCLR = {name: record("schedule/simclr_100ep")["expected"][name] for name in ("total_steps", "warmup_steps")}
MOCO = {"steps_per_epoch": 7, "total_steps": 1400}


@pytest.mark.parametrize(
    ("name", "part", "schedule"),
    [
        ("seer", "restart", lambda: build(WarmupCosine, 9.6, seam="rebased", **SEER)),
        ("seer", "vissl_fixed", lambda: build(WarmupCosine, 9.6, seam="vissl_fixed", **SEER)),
        ("simclr_100ep", "lr", lambda: build(WarmupCosine, 4.8, **SIMCLR)),
        ("moco_cos", None, lambda: build(EpochCosine, 0.03, **MOCO)),
        ("swav_800ep", None, lambda: build(WarmupCosine, 4.8, **SWAV)),
    ],
)
def test_the_schedules_of_the_papers(name: str, part: str | None, schedule: Callable[[], Schedule]) -> None:
    check = record(f"schedule/{name}")
    expected = check["expected"] if part is None else check["expected"][part]
    given = check["input"]
    ways = [given["iters"]] if "iters" in given else [[7 * n + last for n in given["epochs"]] for last in (0, 6)]
    for steps in ways:
        np.testing.assert_allclose(curve(schedule(), steps), expected, atol=check["tol"], rtol=0)


def test_milestones_apply_from_their_first_step_on() -> None:
    by_epoch = build(MultiStep, epochs=(3, 6), factor=0.1, warmup_epochs=0.4, start_lr=0.5)
    by_step = build(MultiStep, steps=(30, 60), factor=0.1, warmup_steps=4, start_lr=0.5)
    steps = [0, 2, 4, 29, 30, 59, 60, 99]
    expected = [0.5, 0.75, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    np.testing.assert_allclose(curve(by_epoch, steps), expected)
    np.testing.assert_allclose(curve(by_step, steps), expected)


@pytest.mark.parametrize("warmup_steps", [0, 1, 100, 9000])
def test_a_run_shorter_than_its_warm_up_only_warms_up(warmup_steps: int) -> None:
    for inclusive in (False, True):
        schedule = build(
            WarmupCosine, total_steps=1, start_lr=0.1, warmup_steps=warmup_steps, warmup_inclusive=inclusive
        )
        assert schedule.curve(0) == (0.1 if warmup_steps else 1.0)


def test_weight_decay_follows_a_cosine_and_groups_without_any_stay_without() -> None:
    groups = ({}, {"weight_decay": 0.0}, {"weight_decay": 0.08}, {"weight_decay": 0.1, "fixed_weight_decay": True})
    optimizer = optimizer_of(1.0, *groups, weight_decay=0.04)
    schedule = Cosine(optimizer, total_steps=10, param_name="weight_decay", end_value=0.4)
    for step in range(11):
        expected = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / 10))  # DINO's cosine_scheduler
        np.testing.assert_allclose(
            [g["weight_decay"] for g in optimizer.param_groups], [expected, 0, 2 * expected, 0.1]
        )
        assert scheduled_options([schedule], optimizer) == {"lr": 1.0, "weight_decay": pytest.approx(2 * expected)}
        optimizer.step()
        schedule.step()


def test_groups_follow_in_proportion_and_fixed_ones_not_at_all() -> None:
    optimizer = optimizer_of(2.0, {}, {"lr": 20.0}, {"lr": 3.0, "fixed_lr": True})
    schedule = WarmupCosine(optimizer, steps_per_epoch=1, total_steps=10, start_lr=0.5, end_lr=0.2, warmup_steps=2)
    for step in range(11):
        first, second, fixed = (group["lr"] for group in optimizer.param_groups)
        assert first == schedule.curve(step)
        assert second == pytest.approx(10 * first)
        assert fixed == 3.0
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("stopped_after", [1, 3, 5])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (WarmupCosine, {"warmup_steps": 2, "start_lr": 0.1}),
        (EpochCosine, {}),
        (MultiStep, {"epochs": (1, 2)}),
        (HalveOnPlateau, {"window": 2, "patience_steps": 2, "min_improvement": 0.0}),
    ],
)
def test_a_resumed_schedule_continues_exactly(kind: type[Schedule], given: dict[str, Any], stopped_after: int) -> None:
    context, losses = {"steps_per_epoch": 4, "total_steps": 12}, [1.0 + 0.1 * (step % 3) for step in range(12)]
    whole = losses_to_rates(build(kind, **context, **given), losses)
    first = build(kind, **context, **given)
    before = losses_to_rates(first, losses[:stopped_after])
    second = build(kind, **context, **given)
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.load_state_dict(first.state_dict())
    assert before + losses_to_rates(second, losses[stopped_after:]) == whole


def test_the_rate_is_halved_each_time_the_loss_stops_falling_and_not_before() -> None:
    falling = build(HalveOnPlateau, window=2, patience_steps=4, min_improvement=0.001)
    assert losses_to_rates(falling, [5.0 - 0.1 * step for step in range(30)]) == [1.0] * 30
    schedule = build(HalveOnPlateau, window=2, patience_steps=4, min_improvement=0.001)
    losses = [5.0, 5.0, 4.0, 4.0] + [4.0] * 8 + [3.0] * 8
    assert losses_to_rates(schedule, losses) == [1.0] * 8 + [0.5] * 4 + [0.25] * 6 + [0.125] * 2


@pytest.mark.parametrize(
    ("losses", "min_improvement", "halvings"),
    [
        ([4.0, 3.99, 3.98, 3.97, 3.96], 0.001, 0),
        ([4.0, 3.99, 3.98, 3.97, 3.96], 0.01, 1),
        ([-0.5, -0.6, -0.7, -0.8, -0.9], 0.01, 0),
        ([-0.5, -0.6, -0.6, -0.6, -0.6], 0.01, 1),
    ],
)
def test_a_fall_is_as_large_as_asked_for_also_below_zero(
    losses: list[float], min_improvement: float, halvings: int
) -> None:
    schedule = build(HalveOnPlateau, window=1, patience_steps=3, min_improvement=min_improvement)
    losses_to_rates(schedule, losses)
    assert schedule.halvings == halvings


def test_losses_of_the_warm_up_do_not_count() -> None:
    schedule = build(HalveOnPlateau, window=1, patience_steps=1, min_improvement=0.0, warmup_steps=4, start_lr=0.5)
    assert losses_to_rates(schedule, [1.0, 1.0, 1.0, 1.0, 2.0, 1.5, 1.4]) == [0.5, 0.625, 0.75, 0.875, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (WarmupCosine, {"seam": "rebase"}, r"seam: unknown 'rebase'; did you mean 'rebased'\?"),
        (WarmupCosine, {"warmup_steps": 1, "warmup_epochs": 1}, "give warmup_steps or warmup_epochs, not both"),
        (WarmupCosine, {"warmup_steps": -1}, "must not be negative, got -1"),
        (WarmupCosine, {"lr": 0.0}, "needs an optimizer with lr > 0, got 0.0"),
        (MultiStep, {}, "give the milestones as epochs or as steps"),
        (MultiStep, {"epochs": (1,), "steps": (1,)}, "give the milestones as epochs or as steps"),
        (HalveOnPlateau, {"window": 5, "patience_steps": 4, "min_improvement": 0.0}, "patience_steps: .* 5, got 4"),
    ],
)
def test_arguments_that_contradict_are_rejected(kind: type[Schedule], given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(kind, **given)
