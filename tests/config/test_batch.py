"""How a run differs from its recipe, and the recipe's own scaling."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from selfsup.config import Recipe, effective_batch, load_config, scale_learning_rates, sync_bn_group
from selfsup.config.batch import differences
from selfsup.errors import ConfigError
from selfsup.planning import describe
from tests.reference import record


@pytest.fixture
def config() -> Recipe:
    return load_config("swav/swav_resnet50")


def test_the_effective_batch_counts_processes_and_accumulation(config: Recipe) -> None:
    config.optim_wrapper["accumulative_counts"] = 4
    assert effective_batch(config, 2) == 64 * 2 * 4


def test_linear_scaling_keeps_the_curve_and_scales_every_rate(config: Recipe) -> None:
    config.optim_wrapper["param_groups"] = [{"match": "neck.*", "lr": 1.6}]
    before = copy.deepcopy(config)
    scaled = scale_learning_rates(config, 4)  # 256 images, a sixteenth
    assert config == before
    assert scaled.optim_wrapper["optimizer"]["lr"] == pytest.approx(0.3)
    assert scaled.param_scheduler["start_lr"] == pytest.approx(0.3 / 16)
    assert scaled.param_scheduler["end_lr"] == pytest.approx(0.0048 / 16)
    assert scaled.optim_wrapper["param_groups"][0]["lr"] == pytest.approx(0.1)
    assert scaled.optim_wrapper["optimizer"]["weight_decay"] == 1e-6
    assert scale_learning_rates(scaled, 4) == scaled
    assert differences(scaled, 4, scaled_from=config)[1].startswith("learning rate 0.3 ")


@pytest.mark.parametrize(("rule", "key"), [("linear", "lin"), ("sqrt", "sqrt")])
def test_both_rules_of_simclr_give_the_recorded_rate_at_every_batch(rule: str, key: str) -> None:
    config = load_config("simclr/simclr_resnet50", {"auto_scale_lr.rule": rule})
    for batch, rate in record("schedule/simclr_100ep")["expected"][key].items():
        scaled = scale_learning_rates(config, int(batch) // config.train_dataloader.batch_size)
        assert scaled.auto_scale_lr.base_batch_size == int(batch)
        assert scaled.optim_wrapper["optimizer"]["lr"] == pytest.approx(rate, rel=1e-9)


def test_another_batch_is_told_with_what_the_rule_would_do(config: Recipe) -> None:
    assert differences(config, 64) == []  # the recipe's own
    config.model["queue_length"] = 3840
    assert differences(config, 4) == [
        "effective batch 256 = 64 x 4 x 1; the recipe's is 4,096",
        "learning rate 4.8 as in the recipe; this batch wants 0.3 by the recipe's linear rule: --auto-scale-lr",
        "sync_bn: batch norm sees the 256 images of all 4 processes; the recipe's groups are of 8 processes",
        "queue 3,840: 15 batches of 256; the recipe's are of 4,096",
    ]


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ({"sync_bn": "all"}, True),
        ({"sync_bn": 8}, True),
        ({"sync_bn": 1}, False),
        ({}, False),
        ({"sync_bn": "all", "model.shuffle_bn": False}, False),
    ],
)
def test_batch_norm_over_processes_is_told_where_each_should_have_its_own(
    options: dict[str, Any], is_told: bool
) -> None:
    notes = describe(load_config("moco/moco_v2_resnet50", options), processes=8).notes
    said = "sync_bn: in MoCo batch norm is meant to be each process's own; leave sync_bn unset"
    assert notes.count(said) == is_told


@pytest.mark.parametrize(
    ("name", "options", "processes", "note"),
    [
        ("swav/swav_resnet50", {"optim_wrapper.accumulative_counts": 64}, 1, "by 64 samples"),
        ("swav/swav_resnet50", {"model.prototypes.num_prototypes": 4096}, 64, None),
        ("swav/swav_resnet50", {"model.queue_length": 3840}, 1, None),
        (
            "swav/seer_regnety256",
            {"optim_wrapper.accumulative_counts": 2},
            256,
            "(the recipe has 0.51 samples for each)",
        ),
        ("swav/seer_regnety256", {"optim_wrapper.accumulative_counts": 2}, 512, None),
    ],
)
def test_samples_of_a_micro_batch_for_each_prototype_are_compared_with_the_recipes(
    name: str, options: dict[str, Any], processes: int, note: str | None
) -> None:
    notes = describe(load_config(name, options), processes=processes, original=load_config(name)).notes
    found = [said for said in notes if said.startswith("model.prototypes.num_prototypes")]
    assert len(found) == (note is not None)
    assert note is None or note in found[0]


@pytest.mark.parametrize(
    ("wanted", "processes", "group"),
    [(None, 8, None), (8, 1, None), ("all", 1, None), ("all", 6, 6), (8, 2, 2), (64, 6, 6), (4, 8, 4), (1, 8, None)],
)
def test_a_batch_norm_group_larger_than_the_run_is_the_run(wanted: Any, processes: int, group: int | None) -> None:
    assert sync_bn_group(replace(load_config("swav/swav_scenes"), sync_bn=wanted), processes) == group


def test_batch_norm_groups_that_do_not_divide_the_processes_are_rejected_in_the_dry_run(config: Recipe) -> None:
    with pytest.raises(ConfigError) as caught:
        describe(config, processes=12)
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [("sync_bn", 8)]


def test_a_batch_larger_than_the_data_is_rejected() -> None:
    config = load_config("swav/swav_resnet50", {"train_dataloader.num_images": 50})
    with pytest.raises(ConfigError) as caught:
        describe(config)
    assert [(problem.path, problem.got) for problem in caught.value.problems] == [("train_dataloader.batch_size", 64)]


def test_an_unknown_data_set_leaves_what_depends_on_it_open() -> None:
    config = load_config("swav/swav_resnet50", {"train_dataloader.num_images": None})
    plan = describe(config)
    assert (plan.num_images, plan.steps, plan.images_seen, plan.rates) == (None, None, None, ())
