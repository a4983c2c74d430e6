"""A new run takes the right weights from an earlier one, and says so."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.engine.save import export_backbone
from selfsup.engine.start import TrainedWeights, load_method, start_from
from selfsup.errors import CheckpointError, ConfigError
from selfsup.losses import CrossEntropyLoss, InfoNCELoss, NTXentLoss
from selfsup.methods import BYOL, Method, MoCo, MoCoV3, SimCLR, Supervised
from selfsup.necks import HiddenLayers, ProjectionNeck
from selfsup.registry import METHODS
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, list_checkpoints
from tests.engine.tiny_run import tiny_config
from tests.methods.tiny import TinyBackbone, images


def pretrained(folder: Path, *, hidden_dims: tuple[int, ...] = (6, 5)) -> tuple[SimCLR, Path]:
    """A SimCLR with random weights, and its checkpoint."""
    torch.manual_seed(1)
    method = SimCLR(TinyBackbone(), ProjectionNeck(8, hidden_dims, 4), NTXentLoss())
    path = checkpoint_path(folder, 7)
    Checkpoint(model=method.state_dict(), step=7).write(path)
    return method, path


def classifier(*, kept: tuple[int, ...] = (6,), **neck: Any) -> Supervised:
    torch.manual_seed(2)
    return Supervised(TinyBackbone(), 3, CrossEntropyLoss(), neck=HiddenLayers(8, kept, **neck) if kept else None)


def test_fine_tuning_takes_backbone_and_kept_layers_and_starts_the_classifier_fresh(tmp_path: Path) -> None:
    source, path = pretrained(tmp_path)
    method = classifier()
    fresh = method.classifier.weight.clone()
    said = start_from(path, method)
    for name, tensor in method.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(tensor, source.state_dict()[name]), name
    assert torch.equal(method.classifier.weight, fresh)
    assert said == (
        f"starting from {path}: took backbone (6 tensors), neck (7 tensors); left neck (9 tensors); "
        "fresh are classifier (2 tensors)"
    )


def test_without_a_neck_the_backbone_is_enough(tmp_path: Path) -> None:
    source, _ = pretrained(tmp_path)
    exported = export_backbone(source.backbone, tmp_path)
    method = classifier(kept=())
    said = start_from(exported, method)
    assert torch.equal(method.backbone.conv.weight, source.backbone.conv.weight)
    assert said.endswith("took backbone (6 tensors); left nothing; fresh are classifier (2 tensors)")


def test_batch_norm_that_pretraining_did_not_have_starts_fresh(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = SimCLR(TinyBackbone(), ProjectionNeck(8, (6,), 4, bn=False), NTXentLoss())
    path = checkpoint_path(tmp_path, 1)
    Checkpoint(model=source.state_dict()).write(path)
    method = classifier(bn=False, fresh_bn=True)
    assert "fresh are neck (5 tensors), classifier (2 tensors)" in start_from(path, method)
    assert torch.equal(method.neck.mlp[0].weight, source.neck.mlp[0].weight)


@pytest.mark.parametrize(
    "method, message",
    [
        (classifier(kept=(6, 5, 4)), r"than Supervised; 5 missing: neck\.mlp\.7\.weight, "),
        (
            classifier(kept=(7,)),
            r"than Supervised; .* shape mismatch: .*neck\.mlp\.0\.bias: \(6,\), expected \(7,\)",
        ),
    ],
)
def test_kept_layers_that_are_not_found_are_an_error_and_change_nothing(
    tmp_path: Path, method: Supervised, message: str
) -> None:
    _, path = pretrained(tmp_path)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        start_from(path, method)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_a_backbone_alone_is_not_enough_for_kept_layers(tmp_path: Path) -> None:
    source, _ = pretrained(tmp_path)
    exported = export_backbone(source.backbone, tmp_path)
    with pytest.raises(CheckpointError, match=r"than Supervised; 7 missing: neck\.mlp\.0\.weight, "):
        start_from(exported, classifier())


def test_a_method_without_fresh_parts_wants_its_own_checkpoint(tmp_path: Path) -> None:
    source, path = pretrained(tmp_path)
    same = SimCLR(TinyBackbone(), ProjectionNeck(8, (6, 5), 4), NTXentLoss())
    assert start_from(path, same) == f"starting from the weights of {path}"
    assert torch.equal(same.neck.mlp[0].weight, source.neck.mlp[0].weight)
    with pytest.raises(CheckpointError, match="7 unexpected"):
        start_from(path, SimCLR(TinyBackbone(), ProjectionNeck(8, (6,), 5), NTXentLoss()))


def test_a_backbone_alone_is_said_to_be_one(tmp_path: Path) -> None:
    source, _ = pretrained(tmp_path)
    exported = export_backbone(source.backbone, tmp_path)
    same = SimCLR(TinyBackbone(), ProjectionNeck(8, (6,), 4), NTXentLoss())
    assert (
        start_from(exported, same) == f"starting from {exported}: took backbone (6 tensors); fresh are neck (9 tensors)"
    )


Parts = tuple[type[Method], str, dict[str, Any]]
COPYING: dict[str, Parts] = {
    "MoCo": (MoCo, "InfoNCELoss", {"queue_length": 8}),
    "MoCoV3": (MoCoV3, "InBatchInfoNCELoss", {"predictor": {"type": "ProjectionNeck", "hidden_dims": (5,)}}),
    "BYOL": (
        BYOL,
        "CosineLoss",
        {"predictor": {"type": "ProjectionNeck", "hidden_dims": (5,)}, "teacher_init": "copy"},
    ),
}


def with_teacher(case: str, **changes: Any) -> Any:
    kind, loss, others = COPYING[case]
    temperature = {} if loss == "CosineLoss" else {"temperature": 0.2}
    torch.manual_seed(3)
    neck = {"type": "ProjectionNeck", "hidden_dims": (6,), "out_dim": 4}
    backbone = {"type": TinyBackbone}
    return METHODS.build(
        {"type": kind, "backbone": backbone, "neck": neck, "loss": {"type": loss, **temperature}, **others, **changes}
    )


def trained_backbone(folder: Path) -> tuple[SimCLR, Path]:
    """A SimCLR whose batch norm has seen images, and a file of its backbone alone."""
    source, _ = pretrained(folder)
    source.backbone(images(8)[0])
    return source, export_backbone(source.backbone, folder)


@pytest.mark.parametrize(
    ("case", "fresh"),
    [
        ("MoCo", "neck (9 tensors), queue (2 tensors)"),
        ("MoCoV3", "neck (9 tensors), predictor (9 tensors)"),
        ("BYOL", "neck (9 tensors), predictor (9 tensors)"),
    ],
)
def test_a_backbone_that_the_student_is_given_its_teacher_starts_with_too(
    tmp_path: Path, case: str, fresh: str
) -> None:
    source, exported = trained_backbone(tmp_path)
    method = with_teacher(case)
    said = start_from(exported, method)
    state = method.state_dict()
    for name, tensor in source.backbone.state_dict().items():
        assert torch.equal(state[f"teacher.backbone.{name}"], tensor), name
    for name, tensor in method.neck.state_dict().items():
        assert torch.equal(state[f"teacher.neck.{name}"], tensor), name
    assert said == (
        f"starting from {exported}: took backbone (6 tensors); copied from the student are teacher (15 tensors); "
        f"fresh are {fresh}"
    )


def test_a_teacher_with_a_start_of_its_own_is_not_given_the_student_s_backbone(tmp_path: Path) -> None:
    _, exported = trained_backbone(tmp_path)
    method = with_teacher("BYOL", teacher_init="fresh")
    before = {name: tensor.clone() for name, tensor in method.teacher.state_dict().items()}
    said = start_from(exported, method)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.teacher.state_dict().items())
    assert said == (
        f"starting from {exported}: took backbone (6 tensors); fresh are neck (9 tensors), predictor (9 tensors), "
        "teacher (15 tensors)"
    )


def test_an_exported_backbone_is_what_is_evaluated_also_where_that_is_a_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, exported = trained_backbone(tmp_path)
    method = with_teacher("BYOL", teacher_init="fresh")
    monkeypatch.setattr(type(method), "representation", property(lambda self: self.teacher.backbone))
    load_method(exported, method)
    batch = images(4)[0]
    expected = source.backbone.eval()(batch)
    method.eval()
    assert torch.equal(method.features(batch), expected) and torch.equal(method.backbone(batch), expected)


@pytest.mark.parametrize("case", COPYING)
def test_a_whole_checkpoint_brings_its_own_teacher(tmp_path: Path, case: str) -> None:
    source = with_teacher(case)
    with torch.no_grad():
        for parameter in source.teacher.parameters():
            parameter.add_(1)
    path = checkpoint_path(tmp_path, 1)
    Checkpoint(model=source.state_dict()).write(path)
    method = with_teacher(case)
    assert start_from(path, method) == f"starting from the weights of {path}"
    for name, tensor in source.state_dict().items():
        assert torch.equal(method.state_dict()[name], tensor), name


class MoCoOfOthers(MoCo):
    """One that begins with another method's checkpoint too."""

    fresh_parts = ("queue", "teacher")


class MoCoOfTeachers(MoCo):
    """One that begins with the teacher of another method too."""

    fresh_parts = ("queue", "teacher.neck", "neck")


def test_weights_of_another_method_s_student_reach_the_teacher_unless_there_is_one(tmp_path: Path) -> None:
    source = with_teacher("BYOL", teacher_init="fresh")
    path = checkpoint_path(tmp_path, 1)
    Checkpoint(model=source.state_dict()).write(path)
    torch.manual_seed(4)
    parts = (TinyBackbone(), ProjectionNeck(8, (6,), 4), InfoNCELoss(0.2))
    method = MoCoOfOthers(*parts, queue_length=8)
    assert start_from(path, method) == (
        f"starting from {path}: took backbone (6 tensors), neck (9 tensors); left predictor (9 tensors), teacher (15 "
        "tensors); copied from the student are teacher (15 tensors); fresh are queue (2 tensors)"
    )
    assert torch.equal(method.teacher.backbone.conv.weight, source.backbone.conv.weight)
    method = MoCoOfTeachers(*parts, queue_length=8)
    assert "copied from the student are teacher (9 tensors); fresh are neck (9 tensors), " in start_from(path, method)
    assert torch.equal(method.teacher.backbone.conv.weight, source.teacher.backbone.conv.weight)
    assert torch.equal(method.teacher.neck.mlp[0].weight, method.neck.mlp[0].weight)


def test_a_second_backbone_in_a_file_is_said_to_be_left(tmp_path: Path) -> None:
    weights = TinyBackbone().state_dict()
    torch.save({"state_dict": weights, "ema": {name: tensor + 1 for name, tensor in weights.items()}}, tmp_path / "x")
    same = SimCLR(TinyBackbone(), ProjectionNeck(8, (6,), 4), NTXentLoss())
    assert start_from(tmp_path / "x", same) == (
        f"starting from {tmp_path / 'x'}: took backbone (6 tensors); left ema (key='ema' takes it) "
        "(6 tensors); fresh are neck (9 tensors)"
    )


def test_a_teacher_comes_from_the_newest_checkpoint_of_a_work_dir_whole(tmp_path: Path) -> None:
    teacher = classifier(kept=())
    Checkpoint(model=teacher.state_dict()).write(checkpoint_path(tmp_path, 9))
    other = Supervised(TinyBackbone(), 3, CrossEntropyLoss())
    load_trained = TrainedWeights()
    load_trained(str(tmp_path), other)
    assert torch.equal(other.classifier.weight, teacher.classifier.weight)
    exported = export_backbone(teacher.backbone, tmp_path)
    with pytest.raises(CheckpointError, match="must be a training checkpoint, which has all parts of Supervised"):
        load_trained(str(exported), other)
    with pytest.raises(
        CheckpointError, match=r"2 shape mismatch: classifier\.weight: .*classifier\.bias: \(3,\), expected \(4,\)"
    ):
        load_trained(str(tmp_path), Supervised(TinyBackbone(), 4, CrossEntropyLoss()))
    with pytest.raises(CheckpointError, match="nowhere: no such checkpoint"):
        load_trained(str(tmp_path / "nowhere"), other)


_BACKBONE = {"type": "RegNet", "depths": (1, 1, 1, 1), "widths": (8, 16, 24, 32), "group_width": 8}


def run_config(work_dir: Path, model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A short run with one view of each scene and its category as the label."""
    one_view = {
        "type": "MultiView",
        "pipelines": [{"transforms": [{"type": "RandomResizedCrop", "size": 32}, {"type": "RandomHorizontalFlip"}]}],
    }
    config = tiny_config(work_dir, **changes)
    config["model"] = model
    config["train_dataloader"] = config["train_dataloader"] | {"views": one_view}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
    return config


def supervised(work_dir: Path, **changes: Any) -> dict[str, Any]:
    neck = {"type": "HiddenLayers", "hidden_dims": (32,)}
    loss = {"type": "CrossEntropyLoss"}
    model = {"type": "Supervised", "backbone": _BACKBONE, "num_classes": 9, "loss": loss, "neck": neck}
    return run_config(work_dir, model | {"mixup_alpha": 0.2}, **changes)


def distillation(work_dir: Path, teacher: Path, **changes: Any) -> dict[str, Any]:
    model = {
        "type": "Distillation",
        "backbone": _BACKBONE,
        "teacher": supervised(work_dir)["model"],
        "loss": {"type": "DistillationLoss"},
        "teacher_checkpoint": str(teacher),
    }
    return run_config(work_dir, model, **changes)


def losses(work_dir: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line]


def test_pretraining_fine_tuning_and_distillation_follow_each_other(tmp_path: Path) -> None:
    first = Runner(tiny_config(tmp_path / "swav", steps=3))
    first.train()
    checkpoint = list_checkpoints(tmp_path / "swav")[-1]
    begun = Runner(supervised(tmp_path / "begun", load_from=str(checkpoint)))
    begun._start()
    for name in ("backbone.stem.conv.weight", "neck.mlp.0.weight", "neck.mlp.1.running_mean"):
        assert torch.equal(begun.method.state_dict()[name], first.method.state_dict()[name]), name
    second = Runner(supervised(tmp_path / "tuned", steps=3, load_from=str(checkpoint)))
    second.train()
    (log,) = (tmp_path / "tuned").rglob("rank0.log")
    assert "left neck (2 tensors), prototypes (1 tensor), queue (2 tensors)" in log.read_text()
    third = Runner(distillation(tmp_path / "distilled", tmp_path / "tuned", steps=3))
    third.train()
    for name, tensor in second.method.state_dict().items():
        assert torch.equal(third.method.teacher.state_dict()[name], tensor), name
    saved = Checkpoint.read(list_checkpoints(tmp_path / "distilled")[-1])
    assert not any(name.startswith("teacher") for name in saved.model)


def test_supervised_training_and_distillation_resume_bitwise(tmp_path: Path) -> None:
    Runner(supervised(tmp_path / "tuned")).train()
    for name, config in (
        ("supervised", supervised),
        ("distilled", lambda folder, **changes: distillation(folder, tmp_path / "tuned", **changes)),
    ):
        Runner(config(tmp_path / name / "whole")).train()
        Runner(config(tmp_path / name / "cut")).train()
        newest = list_checkpoints(tmp_path / name / "cut")[-1]
        whole = Checkpoint.read(newest)
        newest.unlink()
        Runner(config(tmp_path / name / "cut"), resume=True).train()
        again = Checkpoint.read(newest)
        assert losses(tmp_path / name / "cut") == losses(tmp_path / name / "whole")
        for key, tensor in whole.model.items():
            assert torch.equal(again.model[key], tensor), f"{name}: {key}"


def test_a_resumed_run_is_taught_by_the_file_it_began_with(tmp_path: Path) -> None:
    Runner(supervised(tmp_path / "tuned", steps=3)).train()
    (first,) = list_checkpoints(tmp_path / "tuned")
    Runner(distillation(tmp_path / "whole", tmp_path / "tuned")).train()
    Runner(distillation(tmp_path / "cut", tmp_path / "tuned")).train()
    newest = list_checkpoints(tmp_path / "cut")[-1]
    newest.unlink()
    other = Checkpoint.read(first)
    other = replace(other, model={name: tensor + 0.01 for name, tensor in other.model.items()})
    other.write(checkpoint_path(tmp_path / "tuned", 4))  # the teacher's run went on meanwhile
    Runner(distillation(tmp_path / "cut", tmp_path / "tuned"), resume=True).train()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    (teacher,) = Checkpoint.read(newest).trained
    assert teacher["file"] == str(first) and teacher["step"] == 3
    assert teacher["sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()


def test_a_teacher_that_is_gone_or_has_changed_stops_a_resumed_run(tmp_path: Path) -> None:
    Runner(supervised(tmp_path / "tuned", steps=3)).train()
    (file,) = list_checkpoints(tmp_path / "tuned")
    Runner(distillation(tmp_path / "run", tmp_path / "tuned", steps=4)).train()
    list_checkpoints(tmp_path / "run")[-1].unlink()
    before = losses(tmp_path / "run")
    content = file.read_bytes()
    state = Checkpoint.read(file)
    state.model["classifier.bias"] += 1
    state.write(file)
    with pytest.raises(CheckpointError) as caught:
        Runner(distillation(tmp_path / "run", tmp_path / "tuned", steps=4), resume=True).train()
    assert f"{file} (SHA-256 {hashlib.sha256(content).hexdigest()[:12]}...)" in str(caught.value)
    assert losses(tmp_path / "run") == before
    file.unlink()
    moved = tmp_path / "moved.pth"
    moved.write_bytes(content)
    Runner(distillation(tmp_path / "run", moved, steps=4), resume=True).train()
    assert losses(tmp_path / "run") == before


def test_a_distillation_without_its_teacher_s_checkpoint_stops_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such checkpoint"):
        Runner(distillation(tmp_path / "run", tmp_path / "nowhere")).train()
    assert losses(tmp_path / "run") == []


def test_a_list_with_several_labels_per_image_trains(tmp_path: Path) -> None:
    lines = ["path,label"]
    for number in range(16):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), 15 * number, np.uint8))
        lines.append(f"{number}.png,any;{'bright' if number > 7 else 'dark'}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    config = supervised(tmp_path / "run", steps=4)
    config["model"] = config["model"] | {"num_classes": 3, "loss": {"type": "BinaryCrossEntropyLoss"}}
    dataset = {"type": "ImageList", "root": str(tmp_path / "list.csv"), "labels": "column", "label_separator": ";"}
    config["train_dataloader"] = config["train_dataloader"] | {"dataset": dataset}
    Runner(config).train()
    first = losses(tmp_path / "run")[0][1]
    assert first == pytest.approx(3 * math.log(2), rel=0.1)  # the classifier starts near zero
    config["model"] = config["model"] | {"num_classes": 4}
    with pytest.raises(ConfigError, match=r"model\.num_classes: must be the data's 3 classes, got 4"):
        Runner(config | {"work_dir": str(tmp_path / "wrong")}).train()
