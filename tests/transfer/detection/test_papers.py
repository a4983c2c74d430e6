"""The papers' detectors at their full size without memory, and narrowed through one step and an evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, retinanet_resnet50_fpn

from selfsup.config import load_config
from selfsup.engine import Runner
from selfsup.engine.evaluate import evaluate
from selfsup.planning.describe import rate_curve
from selfsup.planning.trial import build_on_meta
from selfsup.registry import TRANSFORMS
from selfsup.weights.checkpoint import checkpoint_path
from tests.configs.test_recipes import plan
from tests.transfer.detection.coco_files import scenes, written

pytest.importorskip("pycocotools")

SEER, BIT = "transfer/seer_mask_rcnn_regnety128", "transfer/bit_retinanet_resnet101_w3"
NARROW: dict[str, dict[str, Any]] = {
    SEER: {
        "backbone": {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8},
        "head_dim": 16,
        "mask_dim": 8,
        "pre_nms": (50, 20),
        "proposals": 20,
    },
    BIT: {"backbone": {"type": "BiTResNet", "depth": 14, "width": 0.125, "num_groups": 4}},
}
VIEWS = {
    SEER: {"type": "ShortSideViews", "sides": (48, 64), "longest": 96},
    BIT: {"type": "ScaleJitterViews", "size": 64, "scale": (0.8, 1.25)},
}

RATES: dict[str, list[tuple[int, int, float]]] = {
    SEER: [(100, 60_000, 0.02), (60_000, 80_000, 0.002), (80_000, 90_000, 0.0002)],
    BIT: [(0, 16 * 462, 0.08), (16 * 462, 22 * 462, 0.008), (22 * 462, 30 * 462, 0.0008)],  # 462 = 118,287 // 256
}
"""From a step on, up to another, the rate."""
WARM_UP = [(0, 0.00002), (25, 0.005015), (50, 0.01001), (75, 0.015005), (99, 0.0198002)]
"""SEER's: detectron2's line from a thousandth of the rate."""


@pytest.mark.parametrize(("name", "batch"), [(SEER, 16), (BIT, 256)])
def test_the_rate_is_the_papers_over_the_whole_training(name: str, batch: int) -> None:
    found, recipe = plan(name), load_config(name)
    last = RATES[name][-1][1]
    assert (found.effective_batch, found.steps) == (batch, last)
    rate = rate_curve(recipe, steps=last, steps_per_epoch=found.steps_per_epoch)
    assert rate is not None
    for start, end, expected in RATES[name]:
        actual = [rate(step) for step in range(start, end)]
        np.testing.assert_allclose(actual, expected, rtol=1e-9)
    for step, expected in WARM_UP if name == SEER else ():
        assert rate(step) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("name", "undecayed"), [(SEER, [{"kinds": ("norm",), "weight_decay": 0.0}]), (BIT, [])])
def test_the_optimizer_is_the_papers(name: str, undecayed: list[Any]) -> None:
    found = load_config(name).optim_wrapper
    expected = {"type": "SGD", "lr": {SEER: 0.02, BIT: 0.08}[name], "momentum": 0.9, "weight_decay": 1e-4}
    assert expected.items() <= found["optimizer"].items() and not found["optimizer"].get("nesterov")
    assert list(found.get("param_groups", ())) == undecayed


def test_seers_images_norm_and_proposals_are_the_papers() -> None:
    recipe, detector = load_config(SEER), build_on_meta(load_config(SEER))
    views = TRANSFORMS.build(dict(recipe.train_dataloader.views))
    assert (min(views.sides), max(views.sides), views.longest, views.flip) == (640, 800, 1333, 0.5)
    model = recipe.model
    assert (model["norm"], model["freeze_at"], model["fpn_bn"]) == ("sync", 0, True)
    assert all(parameter.requires_grad for parameter in detector.parameters())
    assert (model["min_size"], model["max_size"]) == (800, 1333)
    assert np.round(255 * np.array(model["preprocess"]["mean"]), 3).tolist() == [123.675, 116.28, 103.53]
    assert np.round(255 * np.array(model["preprocess"]["std"]), 3).tolist() == [58.395, 57.12, 57.375]
    inner: Any = detector.detector  # type: ignore[union-attr]
    assert inner.rpn.anchor_generator.sizes == ((32,), (64,), (128,), (256,), (512,))
    assert inner.rpn.anchor_generator.aspect_ratios == ((0.5, 1.0, 2.0),) * 5
    assert inner.rpn._pre_nms_top_n == {"training": 2000, "testing": 1000}
    assert inner.rpn._post_nms_top_n == {"training": 1000, "testing": 1000}


def test_bits_images_norm_and_anchors_are_the_papers_or_said_to_be_torchvisions() -> None:
    recipe, detector = load_config(BIT), build_on_meta(load_config(BIT))
    views = TRANSFORMS.build(dict(recipe.train_dataloader.views))
    assert (views.size, views.scale, views.flip) == (1024, (0.8, 1.25), 0.5)
    model = recipe.model
    assert (model["norm"], model.get("freeze_at", 0), model["min_size"], model["max_size"]) == ("train", 0, 1024, 1024)
    assert not any("BatchNorm" in type(part).__name__ for part in detector.modules())
    assert all(parameter.requires_grad for parameter in detector.parameters())
    anchors: Any = detector.detector.anchor_generator  # type: ignore[union-attr]
    assert [sizes[0] for sizes in anchors.sizes] == [32, 64, 128, 256, 512]
    np.testing.assert_allclose(np.array(anchors.sizes)[:, 2] / [32, 64, 128, 256, 512], 2 ** (2 / 3), rtol=0.02)
    assert anchors.aspect_ratios == ((0.5, 1.0, 2.0),) * 5


@pytest.mark.parametrize(("name", "reference"), [(SEER, maskrcnn_resnet50_fpn), (BIT, retinanet_resnet50_fpn)])
def test_the_heads_are_torchvisions(name: str, reference: Any) -> None:
    built: Any = build_on_meta(load_config(name))
    with torch.device("meta"):
        classes = 81 if name == SEER else 80  # the background is a class of Mask R-CNN's there
        known = reference(weights=None, weights_backbone=None, num_classes=classes)
    heads = ("rpn.", "roi_heads.", "head.")
    ours, theirs = (
        {key: value.shape for key, value in each.state_dict().items() if key.startswith(heads)}
        for each in (built.detector, known)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", [SEER, BIT])
def test_narrowed_it_trains_a_step_and_is_evaluated(name: str, tmp_path: Path) -> None:
    source = scenes(num_images=4)
    written(tmp_path, source)
    images = {"annotations": str(tmp_path / "annotations.json"), "root": str(tmp_path)}
    narrow = {"num_classes": len(source.classes), "fpn_dim": 8, "anchor_size": 8, "min_size": 64, "max_size": 96}
    options: dict[str, Any] = {f"model.{key}": value for key, value in {**NARROW[name], **narrow}.items()}
    options |= {f"train_dataloader.dataset.{key}": value for key, value in images.items()}
    options |= {f"tasks.coco.test.{key}": value for key, value in images.items()}
    options |= {
        "model.score_threshold": 0.0,
        "train_dataloader.batch_size": 2,
        "train_dataloader.num_workers": 0,
        "train_dataloader.views": VIEWS[name],
        "param_scheduler": {"type": "MultiStep", "steps": (1,)},
        "train_cfg": {"max_steps": 1},
        "optim_wrapper.precision": "fp32",
        "evaluators.detection.replicates": 0,
        "work_dir": str(tmp_path / "run"),
    }
    recipe = load_config(name, options)
    detector: Any = Runner(recipe).train()
    said: list[str] = []
    before = build_on_meta(recipe).state_dict()
    assert before.keys() == detector.state_dict().keys()
    testing = {**options, "train_dataloader.dataset.annotations": str(tmp_path / "on_another_machine.json")}
    (row,) = evaluate(load_config(name, testing), checkpoint_path(tmp_path / "run", 1), note=said.append)
    assert sum("in the order of the test images" in line for line in said) == 1
    assert row.chosen["norm"] == load_config(name).model["norm"]
    assert ("mask_AP" in row.scores) == (name == SEER) and 0 <= row.scores["box_AP"].value <= 1
