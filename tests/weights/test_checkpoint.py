"""A checkpoint is whole or absent, of a version that is known, and goes into a network whole or not at all."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from selfsup.engine.save import export_backbone
from selfsup.errors import CheckpointError
from selfsup.weights import fingerprint
from selfsup.weights.card import read_card
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path, list_checkpoints
from selfsup.weights.load import load_checkpoint

MODEL = {"w": torch.arange(3)}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 3)
    written = Checkpoint(model=MODEL, step=3, started_from={"file": "w.pth"}, extra={"split": [1, 2]})
    written.write(path)
    read = Checkpoint.read(path)
    assert torch.equal(read.model["w"], MODEL["w"])
    assert replace(read, model=MODEL, path=None) == written and read.path == path
    assert list_checkpoints(tmp_path) == [path]


def test_files_of_version_1_are_read(tmp_path: Path) -> None:
    began = {"file": "w.pth", "license": "CC-BY-NC 4.0"}
    state = {"format": 1, "step": 3, "method": "SwAV", "model": MODEL, "started_from": began, "trained": [began]}
    torch.save(state, tmp_path / "run.pth")
    read = Checkpoint.read(tmp_path / "run.pth")
    assert read.step == 3 and read.started_from == {"file": "w.pth", "license": "CC-BY-NC 4.0"} == read.trained[0]
    card = {"backbone": {"type": "ViT"}, "license": "yours"}
    torch.save({"format": 1, "method": "SwAV", "model": MODEL, "selfsup": json.dumps(card)}, tmp_path / "converted.pth")
    assert read_card(tmp_path / "converted.pth") == {"backbone": {"type": "ViT"}, "license": "yours"}


@pytest.mark.parametrize(
    ("began", "state"),
    [
        ("w.pth", {"config": {"load_from": "w.pth"}}),
        (None, {"config": {}}),
        (None, {"started_from": None, "config": {"load_from": "w.pth"}}),
        ("v.pth", {"started_from": {"file": "v.pth"}, "config": {"load_from": "w.pth"}}),
    ],
)
def test_what_a_run_of_version_1_began_with_may_be_in_its_config(began: str | None, state: dict) -> None:
    read: Any = Checkpoint.of({"format": 1, "model": MODEL, **state}, "x.pth")
    assert (read.started_from and read.started_from["file"]) == began


def test_a_newer_version_and_another_file_are_rejected(tmp_path: Path) -> None:
    torch.save({"format": 3, "model": MODEL}, tmp_path / "newer.pth")
    with pytest.raises(CheckpointError, match=r"newer\.pth: format: must be 1 to 2, a newer version wrote it, got 3"):
        Checkpoint.read(tmp_path / "newer.pth")
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: .* its keys are state_dict"):
        Checkpoint.read(tmp_path / "other.pth")


@pytest.mark.parametrize("model", [3, None, [1.0], {"weight": torch.zeros(2, 4), "epoch": 4}])
def test_a_model_that_is_no_state_dict_is_rejected(tmp_path: Path, model: Any) -> None:
    Checkpoint(model=model).write(tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd\.pth: the weights belong to another model than Linear; . missing"):
        load_checkpoint(nn.Linear(4, 2), Checkpoint.read(tmp_path / "odd.pth"))


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_file_that_cannot_grow_leaves_the_older_checkpoint_and_no_partial_file(tmp_path: Path) -> None:
    from tests.engine.narrow import limited

    Checkpoint(model={}, step=1).write(checkpoint_path(tmp_path, 1))
    large = Checkpoint(model={"weights": torch.zeros(10**6)})
    with limited(2**20):
        with pytest.raises(
            CheckpointError, match=r"2\.pth: .*\(File too large; [\d,.]+ MiB are free there\); .* \S+_000000001\.pth"
        ):
            large.write(checkpoint_path(tmp_path, 2))
        with pytest.raises(CheckpointError, match=r"backbone\.safetensors: could not be written .*File too large"):
            export_backbone(nn.Linear(1000, 1000), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["step_000000001.pth"]
    assert Checkpoint.read(checkpoint_path(tmp_path, 1)).step == 1


def test_weights_of_another_model_are_rejected_and_change_nothing(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    other = Checkpoint(model={"weight": torch.ones(2, 3), "extra": torch.ones(1)}, path=tmp_path / "other.pth")
    said = r"than Linear; 1 missing: bias; 1 unexpected: extra; 1 shape mismatch: weight: \(2, 3\), expected \(2, 4"
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(model, other)
    assert torch.equal(model.weight, before)


def test_a_fingerprint_is_of_names_shapes_types_and_bytes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1), "c": torch.zeros(0, dtype=torch.bfloat16)}
    same = fingerprint(weights)
    assert same == fingerprint(dict(reversed(weights.items())))
    assert same == fingerprint({**weights, "a": weights["a"].T.clone().T})
    for changed in (
        {**weights, "a": weights["a"] + 1},
        {**weights, "a": weights["a"].view(3, 2)},
        {**weights, "a": weights["a"].view(torch.int32)},
        {"a": weights["a"], "b": weights["b"], "d": weights["c"]},
    ):
        assert fingerprint(changed) != same
    monkeypatch.setattr("selfsup.weights.digest.BLOCK", 4)
    assert fingerprint(weights) == same
    module = nn.BatchNorm2d(3)
    assert fingerprint(module) == fingerprint(module.state_dict())
