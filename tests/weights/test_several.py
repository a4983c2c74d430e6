"""A file may hold several state dicts: one is loaded, the others are told of, and a key names another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from selfsup.engine.start import load_method
from selfsup.errors import CheckpointError
from selfsup.registry import BACKBONES
from selfsup.weights.load import load_backbone
from selfsup.weights.translate import find_weights
from tests.weights import official
from tests.weights.networks import REGNET, RESNET, Holder, rejected, resnet, saved, tiny_regnet

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def trained() -> State:
    return resnet(18).state_dict()


@pytest.fixture(scope="module")
def averaged(trained: State) -> State:
    return {name: tensor + 1 for name, tensor in trained.items()}


@pytest.fixture
def backbone() -> nn.Module:
    return BACKBONES.build(RESNET)


def loaded(state: object, backbone: nn.Module, tmp_path: Path, source: str = "timm", **how: str) -> Any:
    return load_backbone(saved(state, tmp_path), backbone, source, **how).ignored


def optimizer(network: State) -> dict[str, Any]:
    """The states of what trains: by number, by name, and of a gradient's scale."""
    return {
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(1)}}, "param_groups": []},
        "ema_optimizer": {"momentum": dict(network)},
        "optimizer_states": dict(network),
        "amp_scaler": {"scale.now": torch.ones(1)},
        "lr_schedulers": {"rates.all": torch.ones(3)},
        "scaler": {"scale": torch.ones(1)},
        "loss": {"center": torch.zeros(3)},
        "epoch": 3,
    }


def test_a_second_state_dict_is_reported_and_taken_by_its_key(
    trained: State, averaged: State, backbone: nn.Module, tmp_path: Path
) -> None:
    state = {"state_dict": trained, "state_dict_ema": averaged, **optimizer(trained)}
    assert loaded(state, backbone, tmp_path) == {
        "classifier": ("fc.weight", "fc.bias"),
        "state_dict_ema (key='state_dict_ema' takes it)": tuple(averaged),
    }
    assert torch.equal(backbone.conv1.weight, trained["conv1.weight"])
    ignored = loaded(state, backbone, tmp_path, key="state_dict_ema")
    assert list(ignored) == ["classifier", "state_dict (key='state_dict' takes it)"]
    assert torch.equal(backbone.conv1.weight, averaged["conv1.weight"])


def test_which_one_is_taken_without_a_key_does_not_depend_on_their_order(
    trained: State, averaged: State, backbone: nn.Module, tmp_path: Path
) -> None:
    state = {"model": averaged, "state_dict": trained, "ema": {"shadow": averaged}}
    for ordered in (state, dict(reversed(state.items()))):
        ignored = loaded(ordered, backbone, tmp_path)
        assert torch.equal(backbone.conv1.weight, trained["conv1.weight"])
        assert {why: len(names) for why, names in ignored.items() if "key" in why} == {
            "model (key='model' takes it)": 122,
            "ema.shadow (key='ema.shadow' takes it)": 122,  # the same tensors, which are written once
        }
        loaded(ordered, backbone, tmp_path, key="ema.shadow")
        assert torch.equal(backbone.conv1.weight, averaged["conv1.weight"])
    ignored = loaded({**trained, "ema": averaged}, backbone, tmp_path)
    assert ignored["ema (key='ema' takes it)"] == tuple(averaged)


def test_vissl_s_trunk_and_heads_are_one(tmp_path: Path) -> None:
    backbone = BACKBONES.build(REGNET)
    trunk = official.vissl_names(tiny_regnet())
    averaged = {name: tensor + 1 for name, tensor in trunk.items()}
    state = official.vissl(trunk, 48, ema=averaged)
    assert list(loaded(state, backbone, tmp_path, source="vissl")) == ["heads", "ema (key='ema' takes it)"]
    loaded(state, backbone, tmp_path, source="vissl", key="ema")
    first = backbone.state_dict()["stem.conv.weight"]
    assert torch.equal(first, averaged["_feature_blocks.conv1.stem.0.weight"])


def test_the_one_that_fits_is_named(trained: State, backbone: nn.Module, tmp_path: Path) -> None:
    def right(state: dict[str, Any], source: str = "timm", **how: str) -> str:
        return rejected(state, backbone, tmp_path, source, **how).expected

    every, wrapped = "every tensor is there with ", official.prefixed("net.", trained)
    assert right({"model_ema": trained, **optimizer(trained)}) == f"{every}key='model_ema'"
    sources = "source='timm' or 'torchvision' or 'byol'"
    assert right({"model_ema": trained}, "moco") == f"{every}key='model_ema' and {sources}"
    assert right({"model_ema": wrapped}) == f"{every}key='model_ema' and prefix='net.'"
    assert right({"state_dict": {"w.x": torch.zeros(1)}, "ema": wrapped}, key="ema") == f"{every}prefix='net.'"
    other, strange = {"attention.weight": torch.zeros(2, 2)}, {"a.b": torch.zeros(1)}
    state = {"state_dict": other, "student": strange, "model": trained}
    problem = rejected(state, backbone, tmp_path, "timm")
    assert problem.message.startswith("the weights belong to another model than ResNet; 100 missing: ")
    assert problem.expected == f"{every}key='model'"
    assert right({"state_dict": other, "student": strange}) == "key= takes another of its state dicts: student"


def test_a_key_under_which_nothing_stands_is_answered_with_those_that_are_there(
    trained: State, averaged: State, backbone: nn.Module, tmp_path: Path
) -> None:
    state = {"state_dict": trained, "state_dict_ema": averaged, "optimizer": dict(trained)}
    for key, right in (
        ("state_dict_emma", "did you mean 'state_dict_ema'?"),
        ("optimizer", "choose from state_dict, state_dict_ema"),
    ):
        problem = rejected(state, backbone, tmp_path, "timm", key=key)
        assert (problem.got, problem.expected) == (key, right)


def test_a_dict_that_holds_itself_is_no_riddle(trained: State, backbone: nn.Module) -> None:
    state: dict[str, Any] = {"state_dict": trained, "notes": {}}
    state["notes"]["again"] = state
    _, report = find_weights(state, backbone, source="timm", file="x")
    assert list(report.ignored) == ["classifier"]


def test_a_method_s_file_is_answered_with_the_key(trained: State, backbone: nn.Module, tmp_path: Path) -> None:
    path = saved({"ema": {name: tensor for name, tensor in trained.items() if "fc" not in name}}, tmp_path)
    with pytest.raises(CheckpointError, match="with key='ema'; `selfsup convert` makes"):
        load_method(path, Holder(backbone))  # type: ignore[arg-type]
