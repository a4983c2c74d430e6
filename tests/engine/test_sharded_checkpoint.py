"""Checkpoints in parts, with one process: what is read is what was written, and damage is found."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfsup.cli.main import main
from selfsup.engine.runner import Runner
from selfsup.errors import CheckpointError, ConfigError
from selfsup.registry import BACKBONES, HOOKS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from selfsup.weights.load import load_backbone, trained_backbone
from selfsup.weights.read import read_weights
from tests.engine.tiny_run import BACKBONE, log_of, losses, tiny_config

PARTS = {"sharded": True, "asynchronous": True}


def config_of(work_dir: Path, steps: int, **saving: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, steps=steps)
    config["default_hooks"]["checkpoint"] |= saving
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of six steps that saves files, and one in parts."""
    folder = tmp_path_factory.mktemp("runs")
    Runner(config_of(folder / "files", 6)).train()
    Runner(config_of(folder / "parts", 6, **PARTS)).train()
    return folder


def test_parts_hold_bitwise_what_the_file_holds(folder: Path) -> None:
    file, parts = (Checkpoint.read(list_checkpoints(folder / kind)[-1]) for kind in ("files", "parts"))
    assert list(parts.model) == list(file.model)
    for name, tensor in file.model.items():
        assert torch.equal(parts.model[name], tensor) and parts.model[name].stride() == tensor.stride(), name
    for number, state in file.optim_wrapper["state"].items():
        for name, value in state.items():
            assert torch.equal(parts.optim_wrapper["state"][number][name], value), (number, name)
    for name in ("step", "method", "schedules", "images", "seed", "batch", "optimizer", "recipe"):
        assert getattr(parts, name) == getattr(file, name), name
    assert torch.equal(parts.ranks[0]["random"]["torch"], file.ranks[0]["random"]["torch"])


def test_a_file_of_them_resumes_and_so_do_they(folder: Path, tmp_path: Path) -> None:
    for name, saving in (("files", {}), ("parts", PARTS)):
        Runner(config_of(tmp_path / name, 3, **saving)).train()
    (parts,) = list_checkpoints(tmp_path / "parts")
    (file,) = list_checkpoints(tmp_path / "files")
    file.unlink()
    assert main(["consolidate", str(parts), str(file)]) == 0
    for name, saving in (("files", PARTS), ("parts", {})):  # each goes on in the other's way
        Runner(config_of(tmp_path / name, 6, **saving), resume=True).train()
        assert losses(tmp_path / name) == losses(folder / "files")
    assert main(["consolidate", str(parts), str(file)]) == 2


def test_the_backbone_lies_beside_with_its_card_and_the_folder_is_weights_too(folder: Path) -> None:
    checkpoint = list_checkpoints(folder / "parts")[-1]
    expected = Checkpoint.read(checkpoint).model
    backbone = BACKBONES.build(BACKBONE)
    for network in (trained_backbone(checkpoint), trained_backbone(checkpoint / "backbone.safetensors"), backbone):
        if network is backbone:
            load_backbone(checkpoint, network)
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, expected[f"backbone.{name}"]), name


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (lambda newest: flip(newest / "__0_0.distcp"), "__0_0.distcp does not have the checksum"),
    "missing": (lambda newest: (newest / "rank_00000.pth").unlink(), "rank_00000.pth is missing"),
    "cut": (lambda newest: (newest / "rest.pth").write_bytes(b"PK"), "rest.pth has 2 bytes instead of"),
    "no list": (lambda newest: (newest / "manifest.json").write_text("{"), "manifest.json cannot be read"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_the_one_before_is_used(folder: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(folder / "parts", tmp_path / "run")
    damage, said = DAMAGE[kind]
    before, newest = list_checkpoints(tmp_path / "run")
    damage(newest)
    with pytest.raises(CheckpointError, match=said):
        read_weights(newest)
    shutil.rmtree(next((tmp_path / "run").glob("2*")))
    Runner(config_of(tmp_path / "run", 6, **PARTS), resume=True).train()
    log = log_of(tmp_path / "run")
    assert f"{newest}: {said}" in log and f"resumed at step 3 from {before}" in log
    assert losses(tmp_path / "run") == losses(folder / "parts")
    for checkpoint in list_checkpoints(tmp_path / "run"):
        assert read_weights(checkpoint)["step"] in (3, 6)


class Harmful:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm"),))


@pytest.mark.parametrize("harmful", [Harmful(), {"a": 1}])
def test_a_forged_table_of_contents_is_not_executed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harmful: Any
) -> None:
    from selfsup.weights.sharded import Store

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".metadata").write_bytes(pickle.dumps(harmful))
    with pytest.raises(CheckpointError, match="table of contents"):
        Store(tmp_path).read_metadata()
    assert not Path("harm").exists()


def test_a_table_that_leads_out_of_its_folder_is_rejected(folder: Path, tmp_path: Path) -> None:
    from selfsup.weights.sharded import Store

    shutil.copytree(list_checkpoints(folder / "parts")[-1], tmp_path / "forged")
    table = tmp_path / "forged" / ".metadata"
    content = table.read_bytes()
    assert b"__0_0.distcp" in content
    table.write_bytes(content.replace(b"__0_0.distcp", b"../../a/bc/d"))
    with pytest.raises(CheckpointError, match="leads out of its folder"):
        Store(tmp_path / "forged").read_metadata()


def test_writing_in_a_thread_needs_parts() -> None:
    with pytest.raises(ConfigError) as raised:
        HOOKS.build({"type": "CheckpointHook", "asynchronous": True})
    assert raised.value.problems[0].path == "asynchronous"
