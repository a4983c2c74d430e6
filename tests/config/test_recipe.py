"""How a run differs from its recipe, and the recipe's own scaling."""

import copy
from typing import Any

import pytest

from selfsup.config import describe, differences, effective_batch, load_config, scale_learning_rates
from selfsup.config.describe import sparkline
from selfsup.errors import ConfigError


@pytest.fixture
def config() -> dict[str, Any]:
    return load_config("swav/swav_resnet50")


def test_the_effective_batch_counts_processes_and_accumulation(config: dict[str, Any]) -> None:
    config["optim_wrapper"]["accumulative_counts"] = 4
    assert effective_batch(config, 2) == 64 * 2 * 4


def test_linear_scaling_keeps_the_curve_and_scales_every_rate(config: dict[str, Any]) -> None:
    before = copy.deepcopy(config)
    scaled = scale_learning_rates(config, 4)  # 256 images, a sixteenth
    assert config == before
    assert scaled["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.3)
    assert scaled["param_scheduler"]["start_lr"] == pytest.approx(0.3 / 16)
    assert scaled["param_scheduler"]["end_lr"] == pytest.approx(0.0048 / 16)
    assert scaled["optim_wrapper"]["optimizer"]["weight_decay"] == 1e-6
    assert scale_learning_rates(scaled, 4) == scaled


def test_square_root_scaling_follows_the_root() -> None:
    config = load_config("simclr/simclr_resnet50", {"auto_scale_lr.rule": "sqrt"})
    scaled = scale_learning_rates(config, 2)  # 256 images, a sixteenth
    assert scaled["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(4.8 / 4)  # 0.075 * sqrt(256)


def test_rates_of_parameter_groups_are_scaled_too(config: dict[str, Any]) -> None:
    config["optim_wrapper"]["param_groups"] = [{"match": "neck.*", "lr": 1.6}]
    assert scale_learning_rates(config, 4)["optim_wrapper"]["param_groups"][0]["lr"] == pytest.approx(0.1)


def test_the_recipe_itself_differs_in_nothing(config: dict[str, Any]) -> None:
    assert differences(config, 64) == []


def test_another_batch_is_told_with_what_the_rule_would_do(config: dict[str, Any]) -> None:
    config["model"]["queue_length"] = 3840
    assert differences(config, 4) == [
        "effective batch 256 = 64 x 4 x 1; the recipe's is 4096",
        "learning rate 4.8 as in the recipe; this batch wants 0.3 by the recipe's linear rule: --auto-scale-lr",
        "queue 3840: 15 batches of 256; the recipe's are of 4096",
    ]


def test_a_scaled_run_is_told_what_was_scaled(config: dict[str, Any]) -> None:
    scaled = scale_learning_rates(config, 4)
    assert differences(scaled, 4, scaled_from=config)[1] == (
        "learning rate 0.3 by the recipe's linear rule; the recipe's is 4.8"
    )


def test_too_few_samples_for_the_prototypes_are_told_with_what_to_change(config: dict[str, Any]) -> None:
    (note,) = [note for note in describe(config, processes=1).notes if "prototypes" in note]
    assert "3000 prototypes cannot be used equally by 64 samples" in note
    assert "model.queue_length" in note


def test_a_batch_larger_than_the_data_is_refused(config: dict[str, Any]) -> None:
    config["train_dataloader"]["num_images"] = 50
    with pytest.raises(ConfigError, match=r"64 images per update \(64 x 1 x 1\) are more than the 50 of the data set"):
        describe(config)


def test_what_a_component_refuses_is_a_config_error() -> None:
    config = load_config("simclr/simclr_resnet50", {"model.loss.temperature": -1.0})
    with pytest.raises(ConfigError, match="temperature"):
        describe(config)


def test_an_unknown_data_set_leaves_what_depends_on_it_open() -> None:
    config = load_config("swav/swav_resnet50", {"train_dataloader.num_images": None})
    plan = describe(config)
    assert (plan.num_images, plan.steps, plan.images_seen, plan.rates) == (None, None, None, ())


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇██"
    assert sparkline([0.0, 0.0]) == "▁▁"
