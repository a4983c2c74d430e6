"""What the official codes of MoCo, BYOL and SimSiam say, in their recipes."""

import re
from itertools import pairwise
from typing import Any

import pytest

from selfsup.config import find_config, load_config
from selfsup.engine.optim.groups import parameter_groups
from selfsup.planning.describe import build_on_meta, rate_curve
from tests.configs.test_recipes import plan
from tests.reference import record

COUNTS = record("params/ssl_r50")["expected"]
BASE_RATES = record("schedule/base_lrs")["expected"]


def peak(name: str) -> float:
    return max(rate for _, rate in plan(name).rates)


@pytest.mark.parametrize("version, encoder", [(1, "mocov1_encoder"), (2, "mocov2_encoder")])
def test_moco_has_two_encoders_of_the_official_size(version: int, encoder: str) -> None:
    parts = plan(f"moco/moco_v{version}_resnet50").parameters
    assert parts["backbone"] + parts["neck"] == parts["teacher"] == COUNTS[encoder]
    assert parts["total"] == 2 * COUNTS[encoder]
    assert version == 1 or parts["total"] == COUNTS["mocov2_both_encoders"]


def test_byol_has_the_official_parameters() -> None:
    parts = plan("byol/byol_resnet50").parameters
    assert parts["neck"] == COUNTS["byol_projector_haiku"]
    assert parts["predictor"] == COUNTS["byol_predictor_haiku"]
    assert parts["total"] == COUNTS["byol_both_nets_plus_predictor"]


@pytest.mark.parametrize(
    "name, neck, predictor", [("resnet50", (2048, 4096, 256), False), ("vit_small", (384, 4096, 4096, 256), True)]
)
def test_moco_v3_has_the_heads_of_its_code(name: str, neck: tuple[int, ...], predictor: bool) -> None:
    def heads(sizes: tuple[int, ...]) -> int:  # linear layers without bias; scale and shift after the hidden ones only
        return sum(a * b for a, b in pairwise(sizes)) + sum(2 * size for size in sizes[1:-1])

    config = load_config(f"moco/moco_v3_{name}")
    parts = plan(f"moco/moco_v3_{name}").parameters
    assert parts["neck"] == heads(neck)
    assert parts["predictor"] == heads((256, 4096, 256))
    assert parts["teacher"] == parts["backbone"] + parts["neck"]
    assert config.model["predictor"].get("last_bn", False) is predictor


def test_simsiam_trains_the_official_parameters() -> None:
    method = build_on_meta(load_config("simsiam/simsiam_resnet50"))
    trained = {name: p.numel() for name, p in method.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == COUNTS["simsiam_total"]
    assert sum(n for name, n in trained.items() if name.startswith("neck.")) == COUNTS["simsiam_projector"]
    assert sum(n for name, n in trained.items() if name.startswith("predictor.")) == COUNTS["simsiam_predictor"]


def test_simsiams_predictor_alone_keeps_its_learning_rate() -> None:
    config = load_config("simsiam/simsiam_resnet50")
    method = build_on_meta(config)
    names = {parameter: name for name, parameter in method.named_parameters()}
    groups = parameter_groups(method, config.optim_wrapper["param_groups"])
    assert len(groups) == 2
    for group in groups:
        assert {names[p].startswith("predictor.") for p in group["params"]} == {bool(group.get("fixed_lr"))}


def test_moco_v2_follows_its_codes_cosine_by_epochs() -> None:
    check = record("schedule/moco_cos")
    curve = rate_curve(load_config("moco/moco_v2_resnet50"), steps=200 * 5004, steps_per_epoch=5004)
    for within in (0, 5003):
        rates = [curve(epoch * 5004 + within) for epoch in check["input"]["epochs"]]
        assert rates == pytest.approx(check["expected"], rel=1e-12)


def test_moco_v1_drops_after_120_and_160_epochs() -> None:
    curve = rate_curve(load_config("moco/moco_v1_resnet50"), steps=200 * 5004, steps_per_epoch=5004)
    rates = [curve(epoch * 5004 + offset) for epoch, offset in ((0, 0), (120, -1), (120, 0), (160, -1), (160, 0))]
    assert rates == pytest.approx([0.03, 0.03, 0.003, 0.003, 0.0003])


@pytest.mark.parametrize(
    "name, rate",
    [
        ("moco/moco_v2_resnet50", BASE_RATES["mocov2_256"]),
        ("byol/byol_resnet50", BASE_RATES["byol_1000ep_4096"]),
        ("simsiam/simsiam_resnet50", BASE_RATES["simsiam_512"]),
        ("moco/moco_v3_resnet50", 0.3 * 4096 / 256),
        ("moco/moco_v3_vit_small", 1.5e-4 * 4096 / 256),
    ],
)
def test_the_highest_learning_rate_is_the_official_one(name: str, rate: float) -> None:
    assert peak(name) == pytest.approx(rate)
