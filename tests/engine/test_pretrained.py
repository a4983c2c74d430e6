"""A new run takes the right weights from an earlier one, and says so."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from selfsup.engine.runner import Runner
from selfsup.engine.save import export_backbone
from selfsup.engine.start import TrainedWeights, load_method, start_from
from selfsup.errors import CheckpointError
from selfsup.losses import CrossEntropyLoss, InfoNCELoss, NTXentLoss
from selfsup.methods import BYOL, Method, MoCo, MoCoV3, SimCLR, Supervised
from selfsup.necks import HiddenLayers, ProjectionNeck
from selfsup.registry import METHODS
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, list_checkpoints
from tests.engine.tiny_run import BACKBONE, SGD, log_of, losses, power_off, tiny_config
from tests.methods.tiny import TinyBackbone, images


def simclr(**neck: Any) -> SimCLR:
    return SimCLR(TinyBackbone(), ProjectionNeck(8, **{"hidden_dims": (6, 5), "out_dim": 4, **neck}), NTXentLoss())


def saved(folder: Path, method: Method) -> Path:
    path = checkpoint_path(folder, 7)
    Checkpoint(model=method.state_dict(), step=7).write(path)
    return path


@pytest.fixture
def source() -> SimCLR:
    """A SimCLR with random weights, whose batch norm has seen images."""
    torch.manual_seed(1)
    method = simclr()
    method.backbone(images(8)[0])
    return method


def classifier(*, kept: tuple[int, ...] = (6,), **neck: Any) -> Supervised:
    torch.manual_seed(2)
    return Supervised(TinyBackbone(), 3, CrossEntropyLoss(), neck=HiddenLayers(8, kept, **neck) if kept else None)


def copied(method: Method) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def test_fine_tuning_takes_backbone_and_kept_layers_and_starts_the_classifier_fresh(
    tmp_path: Path, source: SimCLR
) -> None:
    path, method = saved(tmp_path, source), classifier()
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


def test_a_backbone_alone_is_enough_without_a_neck_and_said_to_be_one(tmp_path: Path, source: SimCLR) -> None:
    exported = export_backbone(source.backbone, tmp_path)
    method = classifier(kept=())
    assert start_from(exported, method).endswith(
        "took backbone (6 tensors); left nothing; fresh are classifier (2 tensors)"
    )
    assert torch.equal(method.backbone.conv.weight, source.backbone.conv.weight)
    assert start_from(exported, simclr()).endswith("took backbone (6 tensors); fresh are neck (16 tensors)")
    with pytest.raises(CheckpointError, match=r"than Supervised; 7 missing: neck\.mlp\.0\.weight, "):
        start_from(exported, classifier())


def test_batch_norm_that_pretraining_did_not_have_starts_fresh(tmp_path: Path) -> None:
    source = simclr(hidden_dims=(6,), bn=False)
    method = classifier(bn=False, fresh_bn=True)
    said = start_from(saved(tmp_path, source), method)
    assert "fresh are neck (5 tensors), classifier (2 tensors)" in said
    assert torch.equal(method.neck.mlp[0].weight, source.neck.mlp[0].weight)


@pytest.mark.parametrize(
    "kept, message",
    [
        ((6, 5, 4), r"than Supervised; 5 missing: neck\.mlp\.7\.weight, "),
        ((7,), r"than Supervised; .* shape mismatch: .*neck\.mlp\.0\.bias: \(6,\), expected \(7,\)"),
    ],
)
def test_kept_layers_that_are_not_found_are_an_error_and_change_nothing(
    tmp_path: Path, source: SimCLR, kept: tuple[int, ...], message: str
) -> None:
    method = classifier(kept=kept)
    before = copied(method)
    with pytest.raises(CheckpointError, match=message):
        start_from(saved(tmp_path, source), method)
    torch.testing.assert_close(copied(method), before, rtol=0, atol=0)


def test_a_method_without_fresh_parts_wants_its_own_checkpoint(tmp_path: Path, source: SimCLR) -> None:
    path, same = saved(tmp_path, source), simclr()
    assert start_from(path, same) == f"starting from the weights of {path}"
    assert torch.equal(same.neck.mlp[0].weight, source.neck.mlp[0].weight)
    with pytest.raises(CheckpointError, match="7 unexpected"):
        start_from(path, simclr(hidden_dims=(6,), out_dim=5))


PREDICTOR = {"predictor": {"type": "ProjectionNeck", "hidden_dims": (5,)}}
COPYING: dict[str, tuple[type[Method], dict[str, Any], dict[str, Any]]] = {
    "MoCo": (MoCo, {"type": "InfoNCELoss", "temperature": 0.2}, {"queue_length": 8}),
    "MoCoV3": (MoCoV3, {"type": "InBatchInfoNCELoss", "temperature": 0.2}, PREDICTOR),
    "BYOL": (BYOL, {"type": "CosineLoss"}, {**PREDICTOR, "teacher_init": "copy"}),
}


def with_teacher(case: str, **changes: Any) -> Any:
    kind, loss, others = COPYING[case]
    torch.manual_seed(3)
    parts = {"backbone": {"type": TinyBackbone}, "neck": {"type": "ProjectionNeck", "hidden_dims": (6,), "out_dim": 4}}
    return METHODS.build({"type": kind, "loss": loss, **parts, **others, **changes})


@pytest.mark.parametrize("case", COPYING)
def test_a_backbone_that_the_student_is_given_its_teacher_starts_with_too(
    tmp_path: Path, source: SimCLR, case: str
) -> None:
    method = with_teacher(case)
    said = start_from(export_backbone(source.backbone, tmp_path), method)
    torch.testing.assert_close(method.teacher.backbone.state_dict(), source.backbone.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(method.teacher.neck.state_dict(), method.neck.state_dict(), rtol=0, atol=0)
    assert "took backbone (6 tensors); copied from the student are teacher (15 tensors); fresh are neck (9 te" in said


def test_a_teacher_with_a_start_of_its_own_is_not_given_the_student_s_backbone(tmp_path: Path, source: SimCLR) -> None:
    method = with_teacher("BYOL", teacher_init="fresh")
    before = copied(method.teacher)
    said = start_from(export_backbone(source.backbone, tmp_path), method)
    torch.testing.assert_close(copied(method.teacher), before, rtol=0, atol=0)
    assert said.endswith("fresh are neck (9 tensors), predictor (9 tensors), teacher (15 tensors)")


def test_an_exported_backbone_is_what_is_evaluated_also_where_that_is_a_teacher(
    tmp_path: Path, source: SimCLR, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = with_teacher("BYOL", teacher_init="fresh")
    monkeypatch.setattr(type(method), "representation", property(lambda self: self.teacher.backbone))
    load_method(export_backbone(source.backbone, tmp_path), method)
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
    method = with_teacher(case)
    start_from(saved(tmp_path, source), method)
    torch.testing.assert_close(method.state_dict(), source.state_dict(), rtol=0, atol=0)


class MoCoOfOthers(MoCo):
    """One that begins with another method's checkpoint too."""

    fresh_parts = ("queue", "teacher")


def test_weights_of_another_method_s_student_reach_the_teacher_unless_there_is_one(tmp_path: Path) -> None:
    source = with_teacher("BYOL", teacher_init="fresh")
    path = saved(tmp_path, source)
    parts = (TinyBackbone(), ProjectionNeck(8, (6,), 4), InfoNCELoss(0.2))
    method = MoCoOfOthers(*parts, queue_length=8)
    assert start_from(path, method) == (
        f"starting from {path}: took backbone (6 tensors), neck (9 tensors); left predictor (9 tensors), teacher (15 "
        "tensors); copied from the student are teacher (15 tensors); fresh are queue (2 tensors)"
    )
    assert torch.equal(method.teacher.backbone.conv.weight, source.backbone.conv.weight)


def test_a_teacher_comes_from_the_newest_checkpoint_of_a_work_dir_whole(tmp_path: Path) -> None:
    teacher, other, load_trained = classifier(kept=()), classifier(kept=()), TrainedWeights()
    with torch.no_grad():
        teacher.classifier.weight.add_(1)
    saved(tmp_path, teacher)
    load_trained(str(tmp_path), other)
    assert torch.equal(other.classifier.weight, teacher.classifier.weight)
    exported = export_backbone(teacher.backbone, tmp_path)
    four = Supervised(TinyBackbone(), 4, CrossEntropyLoss())
    for path, module, message in (
        (exported, other, "must be a training checkpoint, which has all parts of Supervised"),
        (tmp_path, four, r"2 shape mismatch: classifier\.weight: .*classifier\.bias: \(3,\), expected \(4,\)"),
        (tmp_path / "nowhere", other, "nowhere: no such checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_trained(str(path), module)


def run_config(work_dir: Path, model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A short run with one view of each scene and its category as the label."""
    transforms = [{"type": "RandomResizedCrop", "size": 32}, {"type": "RandomHorizontalFlip"}]
    config = tiny_config(work_dir, **changes)
    config["model"] = model
    config["train_dataloader"]["views"] = {"type": "MultiView", "pipelines": [{"transforms": transforms}]}
    config["optim_wrapper"] = {"precision": "fp32", "optimizer": dict(SGD)}
    return config


def supervised(work_dir: Path, **changes: Any) -> dict[str, Any]:
    parts = {"backbone": BACKBONE, "neck": {"type": "HiddenLayers", "hidden_dims": (32,)}, "num_classes": 9}
    model = {"type": "Supervised", **parts, "loss": {"type": "CrossEntropyLoss"}, "mixup_alpha": 0.2}
    return run_config(work_dir, model, **changes)


def distillation(work_dir: Path, teacher: Path, **changes: Any) -> dict[str, Any]:
    parts = {"backbone": BACKBONE, "teacher": supervised(work_dir)["model"], "teacher_checkpoint": str(teacher)}
    model = {"type": "Distillation", "loss": {"type": "DistillationLoss"}, **parts}
    return run_config(work_dir, model, **changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runner]:
    """Pretraining, fine-tuning from it, distillation from that."""
    folder = tmp_path_factory.mktemp("runs")
    made = {"swav": Runner(tiny_config(folder / "swav", steps=3))}
    made["swav"].train()
    checkpoint = str(list_checkpoints(folder / "swav")[-1])
    made["tuned"] = Runner(supervised(folder / "tuned", load_from=checkpoint))
    made["tuned"].train()
    made["distilled"] = Runner(distillation(folder / "distilled", folder / "tuned"))
    made["distilled"].train()
    return made


def test_pretraining_fine_tuning_and_distillation_follow_each_other(tmp_path: Path, runs: dict[str, Runner]) -> None:
    begun = Runner(supervised(tmp_path, load_from=str(list_checkpoints(runs["swav"].work_dir)[-1])))
    begun._start()
    for name in ("backbone.stem.conv.weight", "neck.mlp.0.weight", "neck.mlp.1.running_mean"):
        assert torch.equal(begun.method.state_dict()[name], runs["swav"].method.state_dict()[name]), name
    assert "left neck (2 tensors), prototypes (1 tensor), queue (2 tensors)" in log_of(runs["tuned"].work_dir)
    taught = runs["distilled"].method.teacher.state_dict()
    torch.testing.assert_close(taught, runs["tuned"].method.state_dict(), rtol=0, atol=0)
    kept = Checkpoint.read(list_checkpoints(runs["distilled"].work_dir)[-1])
    assert not any(name.startswith("teacher") for name in kept.model)


def test_a_distillation_without_its_teacher_stops_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        Runner(distillation(tmp_path / "run", tmp_path / "nowhere")).train()
    assert caught.value.problems[0].path.endswith("nowhere")
    assert losses(tmp_path / "run") == []


def test_a_resumed_distillation_is_bitwise_and_taught_by_the_file_it_began_with_or_not_at_all(
    tmp_path: Path, runs: dict[str, Runner]
) -> None:
    shutil.copytree(runs["tuned"].work_dir, tmp_path / "tuned")
    file = list_checkpoints(tmp_path / "tuned")[-1]
    run = distillation(tmp_path / "run", tmp_path / "tuned")
    power_off(run, 4)
    content, state = file.read_bytes(), Checkpoint.read(file)
    other = replace(state, model={name: tensor + 0.01 for name, tensor in state.model.items()})
    other.write(checkpoint_path(tmp_path / "tuned", 9))  # the teacher's run went on meanwhile
    power_off(run, 7, resume=True)
    (teacher,) = Checkpoint.read(list_checkpoints(tmp_path / "run")[-1]).trained
    digest = hashlib.sha256(content).hexdigest()
    assert (teacher["file"], teacher["step"], teacher["sha256"]) == (str(file), 8, digest)
    other.write(file)
    with pytest.raises(CheckpointError) as caught:
        Runner(run, resume=True).train()
    assert f"{file} (SHA-256 {digest[:12]}...)" in str(caught.value)
    file.unlink()
    (tmp_path / "moved.pth").write_bytes(content)
    Runner(distillation(tmp_path / "run", tmp_path / "moved.pth"), resume=True).train()
    assert losses(tmp_path / "run") == losses(runs["distilled"].work_dir)
