"""Detectors in training: what is frozen stays, resume is exact, and the rows come out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.config import Recipe, load_config
from selfsup.data import CrowdedScenes, ScaleJitterViews, ViewDataset
from selfsup.engine import Runner
from selfsup.engine.evaluate import evaluate
from selfsup.errors import ConfigError
from selfsup.evaluation import DetectionAP, Representation, Task
from selfsup.methods import SimCLR
from selfsup.plots import draw_detections
from selfsup.transfer import Detection, Detector
from selfsup.weights.checkpoint import checkpoint_path
from tests.engine.tiny_run import losses, power_off

pytest.importorskip("pycocotools")

BACKBONE = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "group_width": 8}
NARROW: dict[str, Any] = {
    "backbone": BACKBONE,
    "num_classes": 1,
    "fpn_dim": 8,
    "head_dim": 16,
    "mask_dim": 8,
    "anchor_size": 8,
    "min_size": 64,
    "max_size": 64,
    "pre_nms": (50, 20),
    "proposals": 20,
    "sampled_anchors": 16,
    "sampled_boxes": 8,
    "score_threshold": 0.0,
}
SCENES = {"type": "CrowdedScenes", "size": 64, "num_images": 4, "scale": (0.3, 0.5)}


def batch_of(count: int) -> dict[str, Any]:
    dataset = ViewDataset({**SCENES, "num_images": count}, ScaleJitterViews(64))
    return Detector.collate([dataset[0, index] for index in range(count)])  # type: ignore[misc]


def trained(detector: Detector, steps: int = 2) -> dict[str, Tensor]:
    """Weights and buffers as they were before a few steps that move whatever has a gradient."""
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in detector.parameters() if p.requires_grad], lr=0.01)
    for _ in range(steps):
        detector.train()
        optimizer.zero_grad()
        sum(detector(batch_of(2)).values()).backward()
        optimizer.step()
    return before


@pytest.mark.parametrize("kind", ["mask_rcnn", "retinanet"])
@pytest.mark.parametrize(("norm", "freeze_at"), [("train", 0), ("train", 2), ("frozen", 0), ("train", 4)])
def test_what_is_frozen_stays_as_it_is_and_all_else_is_trained(kind: str, norm: str, freeze_at: int) -> None:
    torch.manual_seed(0)
    narrow = {**NARROW, "backbone": {"type": "ResNet", "depth": 18, "width": 0.125}}
    detector = Detector(**narrow, kind=kind, norm=norm, freeze_at=freeze_at)  # type: ignore[arg-type]
    before, after = trained(detector), detector.state_dict()
    norms = {name for name, module in detector.backbone.named_modules() if isinstance(module, _BatchNorm)}
    for name, value in before.items():
        if not name.startswith("backbone."):
            continue
        part = name.removeprefix("backbone.")
        stage = int(part[5]) if part.startswith("layer") else 1
        still = stage <= freeze_at or (norm == "frozen" and part.rpartition(".")[0] in norms)
        assert torch.equal(value, after[name]) == still, name


def test_the_probe_finds_channels_and_stages_of_a_network_that_computes_activations_again() -> None:
    detector = Detector(**{**NARROW, "backbone": {**BACKBONE, "checkpoint_stages": (1, 2, 3, 4)}}, freeze_at=1)
    trains = [name for name, parameter in detector.backbone.named_parameters() if parameter.requires_grad]
    assert trains and all(name.startswith(("s2", "s3", "s4")) for name in trains)


def test_an_image_without_objects_can_be_trained_on() -> None:
    batch = batch_of(2)
    batch["targets"][0] = {name: value[:0] for name, value in batch["targets"][0].items()}
    for kind in ("mask_rcnn", "retinanet"):
        losses = Detector(**NARROW, kind=kind)(batch)  # type: ignore[arg-type]
        total = sum(losses.values())
        total.backward()
        assert torch.isfinite(total)


def test_detections_count_in_pixels_of_the_image_as_it_is() -> None:
    torch.manual_seed(0)
    detector = Detector(**NARROW).eval()
    image = np.random.default_rng(0).integers(0, 256, (100, 180, 3), np.uint8)
    small, large = detector.detect([image, np.ascontiguousarray(image[:50, :90])])
    assert small.masks is not None and small.masks.shape[1:] == (100, 180)
    assert large.masks is not None and large.masks.shape[1:] == (50, 90)
    assert small.boxes[:, 2].max() > 64 and small.boxes[:, 2].max() <= 180
    assert set(small.labels.tolist()) == {0}


def test_masks_and_boxes_of_detections_lie_together() -> None:
    torch.manual_seed(0)
    detector = Detector(**NARROW).eval()
    (found,) = detector.detect([np.full((64, 64, 3), 127, np.uint8)])
    assert found.masks is not None
    for box, mask in zip(found.boxes, found.masks, strict=True):
        if mask.any():
            ys, xs = np.nonzero(mask)
            assert box[0] - 1.5 <= xs.min() and xs.max() <= box[2] + 1.5
            assert box[1] - 1.5 <= ys.min() and ys.max() <= box[3] + 1.5


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"kind": "mask_rcn"}, "kind"),
        ({"norm": "frozn"}, "norm"),
        ({"freeze_at": 5}, "freeze_at"),
        ({"num_classes": 0}, "num_classes"),
    ],
)
def test_arguments_out_of_range_are_rejected(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as error:
        Detector(**{**NARROW, **changes})
    assert error.value.problems[0].path == path


def config(work_dir: Path, *, steps: int = 4) -> dict[str, Any]:
    return {
        "model": {"type": "Detector", **NARROW},
        "train_dataloader": {
            "batch_size": 2,
            "num_workers": 0,
            "dataset": {**SCENES, "background": "none"},
            "views": {"type": "ScaleJitterViews", "size": 64, "before": [{"type": "FreshBackground"}]},
        },
        "tasks": {"scenes": {"type": "Task", "val": {**SCENES, "split": "val"}, "test": {**SCENES, "split": "test"}}},
        "evaluators": {
            "detection": {"type": "DetectionAP", "replicates": 20},
            "knn": {"type": "KNN"},
            "spread": {"type": "Spread"},
        },
        "input_contract": {"size": 64, "resize": "none"},
        "optim_wrapper": {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
        "param_scheduler": {"type": "MultiStep", "steps": (3,)},
        "train_cfg": {"max_steps": steps},
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "every_steps": 2},
            "collapse": None,
            "pictures": None,
        },
        "work_dir": str(work_dir),
        "seed": 0,
    }


def test_a_run_resumes_exactly_and_is_evaluated_once(tmp_path: Path) -> None:
    whole, stopped = config(tmp_path / "whole"), config(tmp_path / "stopped")
    Runner(whole).train()
    power_off(stopped, 2)
    Runner(stopped, resume=True).train()
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")
    states = [
        torch.load(checkpoint_path(tmp_path / name, 4), weights_only=False)["model"] for name in ("whole", "stopped")
    ]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    lines: list[str] = []
    results = tmp_path / "results.jsonl"
    found = [
        evaluate(Recipe.of(stopped), checkpoint_path(tmp_path / "stopped", 4), results=results, note=lines.append)
        for _ in range(2)
    ]
    row, spread = found[0]
    assert row.chosen == {"kind": "mask_rcnn", "norm": "train", "freeze_at": 0}
    assert {"box_AP", "box_AP50", "mask_AP50"} <= set(row.scores) and spread.evaluator == "spread"
    assert lines and all("knn is left out" in line for line in lines)
    assert len(results.read_text().splitlines()) == 2
    assert found[1][0].identity == row.identity


def test_a_row_changes_with_the_heads_and_with_the_boxes_of_its_images() -> None:
    from selfsup.evaluation.rows import row_of

    torch.manual_seed(0)
    detector, evaluator = Detector(**NARROW), DetectionAP(replicates=0)

    def identity(**changes: Any) -> str:
        task = Task(test=CrowdedScenes("test", 64, num_images=2, scale=(0.3, 0.5), **changes))
        return row_of(Representation(detector), task, "detection", evaluator).identity

    first = identity()
    assert identity() == first
    assert identity(level="category") != first
    with torch.no_grad():
        next(detector.detector.roi_heads.parameters()).add_(1.0)  # type: ignore[union-attr]
    assert identity() != first


def test_only_detectors_are_evaluated_on_boxes() -> None:
    method = SimCLR(BACKBONE, {"type": "ProjectionNeck", "hidden_dims": (16,), "out_dim": 8}, {"type": "NTXentLoss"})
    with pytest.raises(ConfigError) as error:
        DetectionAP().evaluate(Representation(method), Task(test=SCENES))
    assert (error.value.problems[0].path, error.value.problems[0].got) == ("model", "SimCLR")


def test_detection_takes_backbone_and_normalization_of_the_weights(tmp_path: Path) -> None:
    first = config(tmp_path / "first", steps=1)
    first["model"] |= {"preprocess": {"mean": (0.25, 0.5, 0.75), "std": (0.5, 0.5, 0.5)}}
    first["evaluators"] = {}
    Runner(first).train()
    narrow = {f"model.{name}": value for name, value in NARROW.items() if name != "backbone"}
    options = {**narrow, "train_cfg.max_steps": 1, "param_scheduler.warmup_steps": 0, "train_dataloader.num_workers": 0}
    options |= {f"tasks.scenes.{part}.num_images": 2 for part in ("val", "test")}
    options |= {"train_dataloader.dataset.num_images": 8, "default_hooks": {"evaluate": None, "pictures": None}}
    transfer = Detection(weights=tmp_path / "first", options=options)
    recipe = transfer.recipe(tmp_path / "second")
    assert recipe.model["backbone"]["widths"] == [8, 8, 16, 16] or recipe.model["backbone"]["widths"] == (8, 8, 16, 16)
    assert tuple(recipe.model["preprocess"]["mean"]) == (0.25, 0.5, 0.75)
    detector, rows = transfer.run(tmp_path / "second")
    assert detector.norm == "train" and [row.evaluator for row in rows] == ["detection"]
    log = next((tmp_path / "second").rglob("rank0.log")).read_text()
    assert "took backbone" in log and "fresh are detector" in log
    _, again = transfer.run(tmp_path / "second")
    assert again[0].identity == rows[0].identity
    assert len((tmp_path / "second" / "results.jsonl").read_text().splitlines()) == 1


def test_more_classes_than_the_heads_have_are_rejected_before_training(tmp_path: Path) -> None:
    changed = config(tmp_path)
    changed["train_dataloader"]["dataset"] |= {"level": "category"}
    with pytest.raises(ConfigError) as error:
        Runner(changed).train()
    (problem,) = error.value.problems
    assert (problem.path, problem.got) == ("model.num_classes", 1) and "9 classes" in problem.expected
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_a_batch_that_does_not_fit_is_told_with_one_that_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(self: Runner) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Runner, "train", train)
    narrow = {f"model.{name}": value for name, value in NARROW.items()}
    with pytest.raises(ConfigError) as error:
        Detection(weights=None, options=narrow).run(tmp_path, device="cpu")
    (problem,) = error.value.problems
    assert (problem.path, problem.got) == ("train_dataloader.batch_size", 8)
    assert "train_dataloader.batch_size=4 optim_wrapper.accumulative_counts=2" in problem.expected


def test_the_page_evaluates_the_last_checkpoint_of_its_run() -> None:
    page = (Path(__file__).parents[3] / "docs" / "detection.md").read_text(encoding="utf-8")
    last = checkpoint_path(
        "work_dirs/detection_scenes", load_config("transfer/detection_scenes").train_cfg.max_steps or 0
    )
    assert f"selfsup test transfer/detection_scenes {last}" in page


def test_drawings_are_written(tmp_path: Path) -> None:
    detector = Detector(**NARROW).eval()
    images = [CrowdedScenes("test", 64, num_images=5, scale=(0.3, 0.5)).image(index) for index in range(5)]
    path = draw_detections(images, detector.detect(images), tmp_path / "found.png", threshold=0.0)
    assert path.stat().st_size > 10_000
