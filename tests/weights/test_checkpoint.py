"""Weights go into a network whole or not at all."""

from pathlib import Path

import pytest
import torch
from torch import nn

from selfsup.engine.work_dir import export_backbone
from selfsup.errors import CheckpointError
from selfsup.weights.load import load_backbone, load_run
from selfsup.weights.read import read_checkpoint
from selfsup.weights.write import write_atomically


def test_weights_of_another_model_are_rejected_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    write_atomically({"model": {"weight": torch.ones(2, 3), "extra": torch.ones(1)}}, path)
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    with pytest.raises(
        CheckpointError,
        match=r"another model than Linear; 1 missing: bias; 1 left over: extra; "
        r"1 of another shape: weight: \(2, 3\) where \(2, 4\) is needed",
    ):
        load_run(model, read_checkpoint(path)["model"], {}, path)
    assert torch.equal(model.weight, before)


def test_an_exported_backbone_loads_into_another_one(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    path = export_backbone(source, tmp_path)
    load_backbone(path, target)
    assert torch.equal(source.weight, target.weight) and torch.equal(source.bias, target.bias)
