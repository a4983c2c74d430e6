"""Every shipped config loads, describes itself, and says what its paper says."""

import ast
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from selfsup.config import config_names, find_config, load_config
from selfsup.config.find import CONFIG_FOLDERS
from selfsup.planning import Plan, describe, print_plan
from selfsup.planning.describe import rate_curve
from selfsup.registry import DATASETS, TRANSFORMS
from tests.reference import record

NAMES = config_names()
IMAGENET = "data/imagenet/train"
SEER = [name for name in NAMES if name.startswith("swav/seer")]
PROCESSES = {
    "bit/bit_l_resnet152_w4": 512,
    "bit/bit_m_resnet101_w3": 128,
    "bit/bit_s_resnet50": 32,
    "byol/byol_resnet50": 64,
    "moco/moco_v1_resnet50": 8,
    "moco/moco_v2_resnet50": 8,
    "moco/moco_v3_resnet50": 16,
    "moco/moco_v3_vit_small": 32,
    "simclr/simclr_resnet50": 32,
    "transfer/bit_retinanet_resnet101_w3": 64,
    "transfer/seer_mask_rcnn_regnety128": 16,
    "simclr/simclr_v2_distill_resnet50": 32,
    "simclr/simclr_v2_finetune_resnet152_w3_sk": 8,
    "simclr/simclr_v2_finetune_resnet50": 8,
    "simclr/simclr_v2_resnet152_w3_sk": 32,
    "simclr/simclr_v2_resnet50": 32,
    "simsiam/simsiam_resnet50": 8,
    "supervised/supervised_regnety16": 8,
    "supervised/supervised_resnet50": 8,
    "swav/seer_regnety10b": 496,
    "swav/seer_regnety256": 512,
    "swav/seer_regnety256_stream": 512,
    "swav/swav_resnet50": 64,
    "transfer/byol_linear_resnet50": 8,
    "transfer/seer_finetune_regnety256": 32,
    "transfer/seer_finetune_regnety256_384": 32,
    "transfer/seer_linear_imagenet_regnety256": 32,
    "transfer/seer_linear_inat18_regnety256": 32,
    "transfer/seer_linear_openimages_regnety256": 64,
    "transfer/seer_linear_places205_regnety256": 32,
    "transfer/moco_linear_resnet50": 8,
    "transfer/simclr_finetune_10percent_resnet50": 32,
    "transfer/simclr_finetune_1percent_resnet50": 32,
    "transfer/simclr_linear_resnet50": 32,
    "transfer/simsiam_linear_resnet50": 8,
    "transfer/swav_finetune_10percent_resnet50": 8,
    "transfer/swav_finetune_1percent_resnet50": 8,
    "transfer/swav_linear_resnet50": 8,
}


@cache
def plan(name: str, **options: Any) -> Plan:
    processes = PROCESSES.get(name, 16 if name.startswith("transfer/seer") else 128 if "seer" in name else 1)
    return describe(load_config(name, options), processes=processes)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_described_at_the_size_it_was_made_for(name: str) -> None:
    found = plan(name)
    assert found.effective_batch == found.recipe_batch
    assert found.notes == ()
    assert found.steps is not None and len(found.rates) > 20
    assert found.precision == ("fp32" if name.endswith("_scenes") else "auto")
    print_plan(found, Console(width=120, record=True, quiet=True))
    pipeline = TRANSFORMS.build(load_config(name).train_dataloader.views)
    if hasattr(pipeline, "sides"):  # views of several sizes
        return
    views = pipeline(np.zeros((80, 70, 3), np.uint8), np.random.default_rng(0))
    sides = [view.shape[0] for view in views]
    assert found.views == tuple((side, sides.count(side)) for side in sorted(set(sides), reverse=True))


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_gives_paper_number_hardware_and_command(name: str) -> None:
    text = ast.get_docstring(ast.parse(find_config(name).read_text())) or ""
    for word in ("Paper:", "arXiv:", "Sized for", "Command:"):
        assert word in text, word
    assert any(said in text for said in ("Reported:", "no number to expect", "without a number")), text
    assert any(said in text for said in ("Not run here", "model_zoo.md"))


@pytest.mark.parametrize("folder", [folder for folder in CONFIG_FOLDERS if folder.is_dir()])
def test_composition_is_two_deep_at_most(folder: Any) -> None:
    def bases(path: Any) -> list[Any]:
        found = []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                found.append(path.parents[node.level - 1] / f"{node.module.replace('.', '/')}.py")
        return found

    def depth(path: Any) -> int:
        return max((1 + depth(base) for base in bases(path)), default=0)

    assert all(depth(path) <= 2 for path in folder.rglob("*.py"))
    fragments = folder / "_base_"
    assert all(not bases(path) for path in fragments.rglob("*.py"))


def test_detectors_follow_their_papers() -> None:
    seer, bit = plan("transfer/seer_mask_rcnn_regnety128"), plan("transfer/bit_retinanet_resnet101_w3")
    assert (seer.effective_batch, seer.steps, bit.effective_batch) == (16, 90_000, 256)
    curve = rate_curve(load_config("transfer/seer_mask_rcnn_regnety128"), steps=90_000, steps_per_epoch=None)
    steps = (0, 100, 59_999, 60_000, 79_999, 80_000)
    assert [curve(step) for step in steps] == pytest.approx([2e-5, 0.02, 0.02, 0.002, 0.002, 0.0002])
    curve = rate_curve(load_config("transfer/bit_retinanet_resnet101_w3"), steps=30 * 462, steps_per_epoch=462)
    rates = [curve(462 * epoch + step) for epoch, step in ((0, 0), (15, 461), (16, 0), (21, 461), (22, 0))]
    assert rates == pytest.approx([0.08, 0.08, 0.008, 0.008, 0.0008])
    for name in ("transfer/seer_mask_rcnn_regnety128", "transfer/bit_retinanet_resnet101_w3"):
        optimizer = load_config(name).optim_wrapper["optimizer"]
        assert (optimizer["momentum"], optimizer["weight_decay"]) == (0.9, 1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if "scenes" in name])
def test_the_stated_number_of_scenes_is_right(name: str) -> None:
    loader = load_config(name).train_dataloader
    assert len(DATASETS.build(loader.dataset)) == loader.num_images


@pytest.mark.parametrize("size", ["8", "16", "32", "64", "128", "256", "10b"])
def test_seer_has_the_parameters_of_the_conformance_records(size: str) -> None:
    key = {"256": "regnety_256gf_seer", "10b": "regnety_10B_seer"}.get(size, f"regnety_{size}gf")
    trunk, rest = record(f"regnet/{key}")["expected"], record("seer/head_params")["expected"][key]
    assert plan(f"swav/seer_regnety{size}").parameters == {
        "backbone": trunk["trunk_params"],
        "neck": rest["mlp"],
        "prototypes": rest["prototypes_16k"],
        "total": rest["total"],
    }


def test_swav_and_simclr_have_the_parameters_of_the_conformance_record() -> None:
    expected = record("params/ssl_r50")["expected"]
    assert plan("swav/swav_resnet50").parameters["total"] == expected["swav_r50"]["total"]
    assert plan("simclr/simclr_resnet50").parameters["neck"] == expected["simclr_v1_head_tf"]


def test_seer_256_follows_the_papers_learning_rate() -> None:
    checks = record("schedule/seer")
    curve = rate_curve(load_config("swav/seer_regnety256"), steps=122_000, steps_per_epoch=None)
    rates = [curve(step) for step in checks["input"]["iters"]]
    assert rates == pytest.approx(checks["expected"]["restart"], rel=checks["tol"])


def test_seer_10b_follows_the_arithmetic_of_its_code() -> None:
    expected = record("schedule/seer_arith")["expected"]
    found = plan("swav/seer_regnety10b")
    assert found.effective_batch == expected["ten_b_batch"]
    assert found.steps == int(expected["ten_b_iters"])
    curve = rate_curve(load_config("swav/seer_regnety10b"), steps=found.steps, steps_per_epoch=None)
    peak, warm_up = expected["ten_b_peak"], round(expected["ten_b_warmup"])
    assert curve(0) == pytest.approx(0.15)
    assert curve(warm_up - 1) == pytest.approx(peak - (peak - 0.15) / warm_up)
    fallen = 0.5 * (1 + np.cos(np.pi * warm_up / found.steps))  # read at the progress of the whole run
    assert curve(warm_up) == pytest.approx(0.0093 + (peak - 0.0093) * fallen)
    assert curve(found.steps) == pytest.approx(0.0093)


def test_swav_follows_its_codes_learning_rate() -> None:
    checks = record("schedule/swav_800ep")
    found = plan("swav/swav_resnet50")
    assert (found.steps, found.steps_per_epoch) == (checks["input"]["total"], checks["input"]["iters_per_epoch"])
    curve = rate_curve(load_config("swav/swav_resnet50"), steps=249_600, steps_per_epoch=312)
    assert [curve(step) for step in checks["input"]["iters"]] == pytest.approx(checks["expected"], rel=checks["tol"])


def test_swav_s_prototypes_rest_for_one_update_more_than_an_epoch_and_its_queue_holds_15_batches() -> None:
    expected = record("schedule/swav_freeze")["expected"]
    recipe = plan("swav/swav_resnet50")
    small = plan("swav/swav_resnet50", **{"train_dataloader.batch_size": 256 // PROCESSES["swav/swav_resnet50"]})
    assert (recipe.steps_per_epoch, small.steps_per_epoch) == (expected["ipe_4096"], expected["ipe_256"])
    for name in ("swav/swav_resnet50", *SEER):
        assert load_config(name).optim_wrapper["freeze"] == {"prototypes": expected["freeze_4096"]}, name
    text = find_config("swav/swav_resnet50").read_text()  # which says what the small batch needs
    assert f"optim_wrapper.freeze.prototypes={expected['freeze_256']}``" in text
    queue = int(re.findall(r"model\.queue_length=(\d+)", text)[0])
    assert queue == expected["queue_batches"] * 256 == expected["queue_per_rank_4gpu"] * 4


def test_imagenet_has_the_recorded_number_of_images_whole_and_its_hundredth() -> None:
    expected = record("eval/subsets")["expected"]
    loaders = {name: load_config(name).train_dataloader for name in NAMES}
    whole = {name: each.num_images for name, each in loaders.items() if each.dataset.get("root") == IMAGENET}
    assert len(whole) >= 10
    assert set(whole.values()) == {expected["train"]}
    assert loaders["simclr/simclr_v2_finetune_resnet50"].num_images == expected["one_pct"]
    assert f"{expected['one_pct']:,} file names" in find_config("simclr/simclr_v2_finetune_resnet50").read_text()
    assert f"all {expected['val']:,} of val" in find_config("_base_/evals/imagenet").read_text()


@pytest.mark.parametrize("name", ["swav/seer_regnety128", "simclr/simclr_resnet50"])
def test_the_rest_peak_at_three_tenths_for_256_images(name: str) -> None:
    assert max(rate for _, rate in plan(name).rates) == pytest.approx(0.3 * 4096 / 256)


@pytest.mark.parametrize("name", SEER)
def test_seer_keeps_what_its_paper_says(name: str) -> None:
    config = load_config(name)
    model, optimizer = config.model, config.optim_wrapper["optimizer"]
    assert model["neck"]["hidden_dims"] == (8192, 8192) and model["neck"]["bn"] is False
    assert model["prototypes"]["num_prototypes"] == 16_000
    assert (model["loss"]["iterations"], model["loss"]["epsilon"]) == (10, 0.03 if "10b" in name else 0.05)
    assert (optimizer["variant"], optimizer["weight_decay"]) == ("larc", 1e-5)
    assert "param_groups" not in config.optim_wrapper  # biases and batch norm are decayed and adapted too
    assert config.sync_bn == ("all" if "10b" in name else 64)
    assert config.optim_wrapper["freeze"] == {"prototypes": 313}
