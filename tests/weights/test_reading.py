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
from selfsup.weights.read import Inert, read_weights

TENSOR = torch.arange(6.0).view(2, 3)


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


@pytest.mark.parametrize("writer", ["torch", "pickle"])
@pytest.mark.parametrize("thing", [_RunsCode, _Strange])
def test_anything_else_is_rejected_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, thing: type
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    state = {"state_dict": {"w": TENSOR}, "x": thing()}
    if writer == "torch":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(
        CheckpointError,
        match=r"could run code when loaded.*safetensors.*take its state dict out where nothing can be harmed",
    ):
        read_weights(path)
    assert not (tmp_path / "it_ran").exists()


def test_a_pickled_network_is_rejected_by_the_name_of_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"whole\.pth: the file holds more than tensors .* \(torch\.nn\..*code"):
        read_weights(tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint\n", b"\x80\x02}q\x00.", b"PK\x03\x04"])
def test_a_file_of_something_else_is_named_without_advice_of_torch(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"x\.pth: .* no checkpoint at all, {len(content)} bytes \(\w+"
    ) as caught:
        read_weights(tmp_path / "x.pth")
    assert "weights_only" not in str(caught.value).lower().replace(" ", "_")


def test_the_paper_s_own_byol_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = instance_of_an_absent(object, "jax.interpreters.xla", "DeviceArray", monkeypatch)
    path = tmp_path / "pretrain_res50x1.pkl"
    path.write_bytes(pickle.dumps({"experiment_state": array}, protocol=2))
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"pickle of JAX objects \(jax\.interpreters\.xla\.DeviceArray\).*'byol'"):
        read_weights(path)


def test_arrays_are_read_as_tensors(tmp_path: Path) -> None:
    turned = np.asfortranarray(TENSOR.numpy())
    np.savez(tmp_path / "x.npz", **{"a/kernel": TENSOR.numpy(), "b": np.float32(2.0), "turned": turned})
    read = read_weights(tmp_path / "x.npz")
    assert torch.equal(read["a/kernel"], TENSOR) and torch.equal(read["b"], torch.tensor(2.0))
    assert torch.equal(read["turned"], TENSOR) and read["turned"].is_contiguous()


def test_our_own_weights_are_read_from_arrays_with_their_counters(tmp_path: Path) -> None:
    written, loaded = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    written(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    np.savez(tmp_path / "x.npz", **{name: tensor.numpy() for name, tensor in written.state_dict().items()})
    load_backbone(tmp_path / "x.npz", loaded)
    assert loaded.num_batches_tracked == 1 and torch.equal(loaded.running_mean, written.running_mean)


def save_as(kind: str, path: Path) -> None:
    with path.open("wb") as file:
        if kind == ".npz":
            np.savez(file, a=TENSOR.numpy())
        elif kind == ".pth":
            torch.save({"a": TENSOR}, file)
        else:
            file.write(safetensors.torch.save({"a": TENSOR}))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
@pytest.mark.parametrize("kind", [".npz", ".safetensors", ".pth"])
def test_a_file_that_is_called_like_another_kind_is_answered_with_its_own(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    save_as(kind, path)
    if kind == suffix:
        assert torch.equal(read_weights(path)["a"], TENSOR)
        return
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    assert str(caught.value) == f"{path}: is a {kind} file by its content; rename it to x{kind}"


def test_arrays_of_objects_are_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([_Strange()], dtype=object))
    with pytest.raises(CheckpointError, match=r"x\.npz: the file holds Python objects, which could run code"):
        read_weights(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 1, 0.5])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, a=np.arange(1000))
    elif suffix == ".pth":
        torch.save({"a": torch.arange(1000)}, path)
    else:
        from safetensors.torch import save_file

        save_file({"a": torch.arange(1000)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept) if kept < 1 else 1])
    with pytest.raises(CheckpointError, match=rf"x{suffix}: (the file is truncated|not a readable)"):
        read_weights(path)


def test_a_whole_file_with_something_strange_in_it_is_not_called_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = instance_of_an_absent(dict, "vissl.config.attr_dict", "AttrDict", monkeypatch)
    monkeypatch.setattr(type(config), "__reduce__", lambda self: (type(self), (1, 2, 3)), raising=False)
    torch.save({"state_dict": {"w": TENSOR}, "config": config}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth: the file is whole, but holds something that cannot be put tog"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_a_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(CheckpointError, match=rf"nowhere{suffix}: no such"):
        read_weights(tmp_path / f"nowhere{suffix}")
