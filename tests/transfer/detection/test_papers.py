"""The papers' detectors at their full size without memory, and narrowed through one step and an evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, retinanet_resnet50_fpn

from selfsup.config import load_config
from selfsup.engine import Runner
from selfsup.engine.evaluate import evaluate
from selfsup.planning.trial import build_on_meta
from selfsup.weights.checkpoint import checkpoint_path
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
