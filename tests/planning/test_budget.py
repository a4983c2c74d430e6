"""A run of so many minutes: times, steps and schedules."""

from dataclasses import replace

import pytest

from selfsup.config import Recipe, load_config
from selfsup.errors import ConfigError
from selfsup.planning.budget import MOST_EVALUATIONS, Pace, clock, parse_budget, with_steps, within
from selfsup.planning.describe import rate_curve

PACE = Pace(
    start=4.0, step=0.5, evaluation=2.0, checkpoint=0.25, looks=0.0, end=6.0,
    steps_per_epoch=3, batch=64, num_images=200, steps_timed=9,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1h 30m", 5400), ("0.5h", 1800), ("15", 900)]
)
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5x", "0m", "10m and more"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_budget(text)
    assert (found.value.problems[0].path, found.value.problems[0].got) == ("--budget", text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (131.4, "2 min 11 s"), (900, "15 min"), (7500, "2 h 5 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_config("folder/cpu_large_images")


@pytest.mark.parametrize("seconds", [60, 900, 36_000])
def test_steps_evaluations_checkpoints_and_pictures_fill_the_budget(recipe: Recipe, seconds: float) -> None:
    found = within(recipe, PACE, seconds, budget="x")
    steps = found.train_cfg.max_steps or 0
    hooks = found.default_hooks
    evaluations = (steps - 1) // hooks["evaluate"]["every_steps"] + 1 if hooks["evaluate"] else 1
    checkpoints = steps // hooks["checkpoint"]["every_steps"]
    taken = PACE.start + steps * PACE.step + evaluations * PACE.evaluation + checkpoints * PACE.checkpoint + PACE.end
    assert 0.94 * seconds < taken <= seconds
    assert evaluations <= MOST_EVALUATIONS + 1
    assert (found.budget, found.evaluate_every, found.train_cfg.max_epochs) == ("x", 0, None)


def test_the_first_picture_of_neighbors_comes_with_the_first_evaluation(recipe: Recipe) -> None:
    found = within(recipe, PACE, 900, budget="15m")
    assert found.custom_hooks[0]["first_step"] == found.default_hooks["evaluate"]["every_steps"]


def test_the_cosine_ends_when_the_run_does(recipe: Recipe) -> None:
    found = within(recipe, PACE, 900, budget="15m")
    steps = found.train_cfg.max_steps or 0
    curve = rate_curve(found, steps=steps, steps_per_epoch=3)
    assert curve is not None
    assert curve(steps) == pytest.approx(0, abs=1e-9)
    peak = max(range(steps), key=curve)
    assert peak == pytest.approx(steps * 100 / 1000, abs=2)


def test_hooks_that_are_switched_off_stay_so(recipe: Recipe) -> None:
    silent = replace(recipe, default_hooks={**recipe.default_hooks, "evaluate": None, "checkpoint": None})
    hooks = within(silent, replace(PACE, evaluation=0.0), 900, budget="15m").default_hooks
    assert hooks["evaluate"] is hooks["checkpoint"] is None


def test_a_budget_that_the_rest_uses_up_is_rejected(recipe: Recipe) -> None:
    with pytest.raises(ConfigError) as found:
        within(recipe, PACE, 14, budget="20s")
    assert found.value.problems[0].path == "--budget"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("simclr/simclr_scenes", {}, {"warmup_steps": 7}),  # 70 of 720
        ("simclr/simclr_resnet50", {}, {"warmup_steps": 1}),  # 10 of 1000 epochs
        ("supervised/supervised_resnet50", {}, {"steps": [21, 41, 62, 69], "factor": 0.1}),  # 30, 60, 90, 100 of 105
    ],
)
def test_what_schedules_count_moves_in_proportion(
    name: str, options: dict[str, object], expected: dict[str, object]
) -> None:
    found = with_steps(load_config(name, options), 72, steps_per_epoch=5)
    schedule = found.param_scheduler
    assert isinstance(schedule, dict)
    assert {key: value for key, value in schedule.items() if key in expected} == expected
    assert not any("epochs" in key and value is not None for key, value in schedule.items())


@pytest.mark.parametrize("given", [20, "4 epochs"])
def test_prototypes_rest_for_as_large_a_part_of_a_shorter_run(given: int | str) -> None:
    recipe = load_config("swav/swav_scenes", {"optim_wrapper.freeze.prototypes": given})
    assert with_steps(recipe, 140, steps_per_epoch=5).optim_wrapper["freeze"] == {"prototypes": 2}
    assert with_steps(recipe, 14_000, steps_per_epoch=5).optim_wrapper["freeze"] == {"prototypes": given}
