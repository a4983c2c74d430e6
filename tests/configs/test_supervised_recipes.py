"""The recipes with labels, and SimCLR v2's three steps, say what their papers and codes say."""

import math
from dataclasses import replace

import pytest
import torch

from selfsup.config import load_config
from selfsup.data.preprocess import Preprocess
from selfsup.planning.describe import build_on_meta, rate_curve
from tests.configs.test_recipes import plan
from tests.reference import record


def curve(name: str) -> tuple:
    """The learning rate by step, the steps of the run, and those of an epoch."""
    found = plan(name)
    steps, per_epoch = found.steps, found.steps_per_epoch
    assert steps is not None and per_epoch is not None
    return rate_curve(load_config(name), steps=steps, steps_per_epoch=per_epoch), steps, per_epoch


def test_supervised_resnet50_falls_tenfold_after_30_60_90_and_100_of_105_epochs() -> None:
    rate, steps, per_epoch = curve("supervised/supervised_resnet50")
    assert (steps, per_epoch) == (105 * 5004, 1_281_167 // 256)
    for drops, epoch in enumerate((30, 60, 90, 100)):
        assert rate(epoch * per_epoch - 1) == pytest.approx(0.1 * 0.1**drops)
        assert rate(epoch * per_epoch) == pytest.approx(0.01 * 0.1**drops)


def test_supervised_resnet50_has_the_recorded_number_of_parameters() -> None:
    expected = record("params/ssl_r50")["expected"]
    assert plan("supervised/supervised_resnet50").parameters["total"] == expected["resnet50_fc1000"]


def test_regnety_follows_vissl_s_two_schedulers() -> None:
    rate, steps, _ = curve("supervised/supervised_regnety16")
    for step in (0, 1, 10_000, steps // 20 - 1, steps // 20, steps // 2, steps - 1):
        where = step / steps  # linear: rescaled to its own length; cosine: fixed, read at the run's progress
        linear = 0.1 + (0.2 - 0.1) * where / 0.05
        expected = linear if where < 0.05 else 0.2 * 0.5 * (1 + math.cos(math.pi * where))
        assert rate(step) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "name, epochs, drops",
    [
        ("bit/bit_s_resnet50", 90, (30, 60, 80)),
        ("bit/bit_m_resnet101_w3", 90, (30, 60, 80)),
        ("bit/bit_l_resnet152_w4", 40, (10, 23, 30, 37)),
    ],
)
def test_bit_warms_up_for_5000_updates_and_drops_when_the_paper_says(
    name: str, epochs: int, drops: tuple[int, ...]
) -> None:
    peak = record("schedule/base_lrs")["expected"]["bit_upstream_4096"]
    rate, steps, per_epoch = curve(name)
    assert steps == epochs * per_epoch
    assert [rate(step) for step in (0, 2500, 5000)] == pytest.approx([0, peak / 2, peak])
    for number, epoch in enumerate(drops):
        assert rate(epoch * per_epoch - 1) == pytest.approx(peak * 0.1**number)
        assert rate(epoch * per_epoch) == pytest.approx(peak * 0.1 ** (number + 1))


def test_simclr_v2_has_three_layers_and_the_rate_of_both_rules() -> None:
    parameters = plan("simclr/simclr_v2_resnet50").parameters
    expected = record("params/ssl_r50")["expected"]
    assert parameters["neck"] == expected["simclr_v2_head_tf_3layer"]
    assert parameters["backbone"] == expected["resnet50_trunk"]["w1"]
    rates = record("schedule/simclr_100ep")["expected"]
    rate, _, per_epoch = curve("simclr/simclr_v2_resnet50")
    assert rate(10 * per_epoch) == pytest.approx(rates["sqrt"]["4096"]) == pytest.approx(rates["lin"]["4096"])


def test_fine_tuning_follows_the_readme_s_command() -> None:
    rate, steps, _ = curve("simclr/simclr_v2_finetune_resnet50")
    assert steps == 60 * (12_811 // 1024)
    for step in (0, 360, 719):
        expected = 0.005 * math.sqrt(1024) * 0.5 * (1 + math.cos(math.pi * step / steps))
        assert rate(step) == pytest.approx(expected)
    assert plan("simclr/simclr_v2_finetune_resnet50").parameters["neck"] == 2048 * 2048 + 2 * 2048


@pytest.mark.parametrize("network", ["resnet50", "resnet152_w3_sk", "scenes"])
def test_simclr_v2_s_steps_hand_their_weights_on(network: str) -> None:
    pretrained = build_on_meta(load_config(f"simclr/simclr_v2_{network}")).state_dict()
    tuned = build_on_meta(load_config(f"simclr/simclr_v2_finetune_{network}"))
    for name, tensor in tuned.state_dict().items():
        if not name.startswith("classifier."):
            assert pretrained[name].shape == tensor.shape, name


@pytest.mark.parametrize(("student", "tuned_network"), [("resnet50", "resnet152_w3_sk"), ("scenes", "scenes")])
def test_the_distillation_s_teacher_is_what_fine_tuning_leaves(student: str, tuned_network: str) -> None:
    config = load_config(f"simclr/simclr_v2_distill_{student}")
    tuned = build_on_meta(load_config(f"simclr/simclr_v2_finetune_{tuned_network}")).state_dict()
    teacher = build_on_meta(replace(config, model=config.model["teacher"])).state_dict()
    assert {name: tensor.shape for name, tensor in teacher.items()} == {n: t.shape for n, t in tuned.items()}
    assert config.model["teacher_checkpoint"].endswith(f"simclr_v2_finetune_{tuned_network}")


@pytest.mark.parametrize("name", ["bit_s_resnet50", "bit_m_resnet101_w3", "bit_l_resnet152_w4", "bit_scenes"])
def test_bit_sees_pixels_in_minus_1_to_1(name: str) -> None:
    check = record("bit/preprocess")
    preprocess = Preprocess(**load_config(f"bit/{name}").model["preprocess"])
    pixels = torch.tensor(check["input"]["v"], dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    expected = torch.tensor(check["expected"]).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    torch.testing.assert_close(preprocess(pixels), expected, rtol=0, atol=1e-6)  # float32
