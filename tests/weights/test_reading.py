"""Weight files are read without running code, whatever else their writers put into them."""

import argparse
import collections
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from selfsup.errors import CheckpointError
from selfsup.weights.checkpoint import Checkpoint
from selfsup.weights.load import load_backbone
from selfsup.weights.one_file import Inert
from selfsup.weights.read import read_weights

TENSOR = torch.arange(6.0).view(2, 3)
KINDS = (".npz", ".safetensors", ".pth")


class _RunsCode:
    def __reduce__(self) -> tuple:
        return os.system, ("touch it_ran",)


class _Strange:
    pass


def instance_of_an_absent(base: type, module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An instance of a class of a package that is there only while ``monkeypatch`` says so."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    kind = type(name, (base,), {"__module__": module, "__qualname__": name})
    setattr(sys.modules[module], name, kind)
    return kind()


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_scripts_save_beside_tensors_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    config = instance_of_an_absent(dict, "vissl.config.attr_dict", "AttrDict", monkeypatch)
    config["MODEL"] = type(config)(depth=27)
    losses = collections.defaultdict(list)
    losses["train"].append(np.float32(0.5))
    state = {
        "state_dict": {"w": TENSOR},
        "best": np.float64(3.5),
        "step": np.int64(7),
        "curve": np.arange(3),
        "args": argparse.Namespace(lr=0.1, path=Path("x")),
        "losses": losses,
        "config": config,
        "epoch": 100,
    }
    torch.save(state, tmp_path / "theirs.pth", _use_new_zipfile_serialization=not legacy)
    monkeypatch.undo()
    read = read_weights(tmp_path / "theirs.pth")
    assert torch.equal(read["state_dict"]["w"], TENSOR) and read["epoch"] == 100
    assert all(type(read[name]) is Inert and not vars(read[name]) for name in ("best", "step", "curve", "args"))
    assert read["config"] == {"MODEL": {"depth": 27}}
    assert "vissl.config.attr_dict" not in sys.modules


def test_our_own_checkpoints_may_hold_none_of_it(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(lr=0.1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"more than tensors and plain values \(argparse\.Namespace\)"):
        Checkpoint.read(tmp_path / "x.pth")


@pytest.mark.parametrize("thing", [_RunsCode(), _Strange(), torch.nn.Linear(2, 3)], ids=lambda thing: str(type(thing)))
def test_anything_else_is_rejected_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thing: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    state = {"state_dict": {"w": TENSOR}, "x": thing}
    for write in (lambda: torch.save(state, path), lambda: path.write_bytes(pickle.dumps(state))):
        write()
        with pytest.raises(CheckpointError, match="could run code when loaded") as caught:
            read_weights(path)
        assert caught.value.problems[0].path == str(path) and "safetensors" in caught.value.problems[0].expected
        assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint\n", b"\x80\x02}q\x00.", b"PK\x03\x04"])
def test_a_file_of_something_else_is_named_without_advice_of_torch(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    what = rf"x\.pth: .* no checkpoint at all, {len(content)} bytes \(\w+"
    with pytest.raises(CheckpointError, match=what) as caught:
        read_weights(tmp_path / "x.pth")
    assert "weights_only" not in str(caught.value).lower().replace(" ", "_")


def test_arrays_are_read_as_tensors_and_our_own_weights_with_their_counters(tmp_path: Path) -> None:
    turned = np.asfortranarray(TENSOR.numpy())
    np.savez(tmp_path / "x.npz", **{"a/kernel": TENSOR.numpy(), "b": np.float32(2.0), "turned": turned})
    read = read_weights(tmp_path / "x.npz")
    assert torch.equal(read["a/kernel"], TENSOR) and torch.equal(read["b"], torch.tensor(2.0))
    assert torch.equal(read["turned"], TENSOR) and read["turned"].is_contiguous()
    written, loaded = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    written(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    np.savez(tmp_path / "y.npz", **{name: tensor.numpy() for name, tensor in written.state_dict().items()})
    load_backbone(tmp_path / "y.npz", loaded)
    assert loaded.num_batches_tracked == 1 and torch.equal(loaded.running_mean, written.running_mean)


def save_as(kind: str, path: Path, numbers: torch.Tensor) -> None:
    with path.open("wb") as file:
        if kind == ".npz":
            np.savez(file, a=numbers.numpy())
        elif kind == ".pth":
            torch.save({"a": numbers}, file)
        else:
            file.write(safetensors.torch.save({"a": numbers}))


@pytest.mark.parametrize("suffix", [*KINDS, ".pth.tar"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_by_its_content_whatever_it_is_called(tmp_path: Path, kind: str, suffix: str) -> None:
    save_as(kind, tmp_path / f"x{suffix}", TENSOR)
    for mapped in (False, True):
        assert torch.equal(read_weights(tmp_path / f"x{suffix}", mapped=mapped)["a"], TENSOR)


def test_arrays_of_objects_are_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([_Strange()], dtype=object))
    with pytest.raises(CheckpointError, match=r"x\.npz: not a readable \.npz file of plain arrays"):
        read_weights(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", KINDS)
def test_a_truncated_or_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    with pytest.raises(CheckpointError, match=rf"x{suffix}: no such file"):
        read_weights(path)
    save_as(suffix, path, torch.arange(1000))
    whole = path.read_bytes()
    for kept in (0, 1, len(whole) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError, match=rf"x{suffix}: (the file is truncated|not a readable)"):
            read_weights(path)
