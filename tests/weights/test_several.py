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
from tests.weights.networks import TINY, resnet, tiny_regnet

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def trained() -> State:
    return resnet(18).state_dict()


@pytest.fixture(scope="module")
def averaged(trained: State) -> State:
    return {name: tensor + 1 for name, tensor in trained.items()}


@pytest.fixture
def backbone() -> nn.Module:
    return BACKBONES.build({"type": "ResNet", "depth": 18})


def loaded(state: object, backbone: nn.Module, tmp_path: Path, source: str = "timm", **how: str) -> Any:
    torch.save(state, tmp_path / "x.pth")
    return load_backbone(tmp_path / "x.pth", backbone, source, **how)


def rejected(state: object, backbone: nn.Module, tmp_path: Path, source: str = "timm", **how: Any) -> str:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        loaded(state, backbone, tmp_path, source, **how)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    return str(caught.value).removeprefix(f"{tmp_path / 'x.pth'}: ")


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
    report = loaded(state, backbone, tmp_path)
    assert torch.equal(backbone.conv1.weight, trained["conv1.weight"])
    assert report.ignored == {
        "classifier": ("fc.weight", "fc.bias"),
        "state_dict_ema beside state_dict (key='state_dict_ema' takes it)": tuple(averaged),
    }
    report = loaded(state, backbone, tmp_path, key="state_dict_ema")
    assert torch.equal(backbone.conv1.weight, averaged["conv1.weight"])
    assert list(report.ignored) == ["classifier", "state_dict beside state_dict_ema (key='state_dict' takes it)"]


def test_which_one_is_taken_without_a_key_does_not_depend_on_their_order(
    trained: State, averaged: State, backbone: nn.Module, tmp_path: Path
) -> None:
    for state in (
        {"model": averaged, "state_dict": trained, "ema": {"shadow": averaged}},
        {"ema": {"shadow": averaged}, "state_dict": trained, "model": averaged},
    ):
        report = loaded(state, backbone, tmp_path)
        assert torch.equal(backbone.conv1.weight, trained["conv1.weight"])
        assert {why: len(names) for why, names in report.ignored.items() if "key" in why} == {
            "model beside state_dict (key='model' takes it)": 122,
            # the same tensors as in model, which are written once
            "ema.shadow beside state_dict (key='ema.shadow' takes it)": 122,
        }
        loaded(state, backbone, tmp_path, key="ema.shadow")
        assert torch.equal(backbone.conv1.weight, averaged["conv1.weight"])
    report = loaded({**trained, "ema": averaged}, backbone, tmp_path)
    assert report.ignored["ema (key='ema' takes it)"] == tuple(averaged)


def test_names_and_prefixes_are_those_under_the_key(trained: State, backbone: nn.Module, tmp_path: Path) -> None:
    state = {"state_dict": {"w.x": torch.zeros(1)}, "ema": official.prefixed("module.", trained)}
    message = rejected(state, backbone, tmp_path, key="ema")
    assert message.endswith("; every tensor is there with prefix='module.'")
    assert loaded(state, backbone, tmp_path, key="ema", prefix="module.").complete


def test_vissl_s_trunk_and_heads_are_one(tmp_path: Path) -> None:
    backbone = BACKBONES.build({"type": "RegNet", **TINY})
    trunk = official.vissl_names(tiny_regnet())
    report = loaded(official.vissl(trunk, 48), backbone, tmp_path, source="vissl")
    assert list(report.ignored) == ["heads"]
    averaged = {name: tensor + 1 for name, tensor in trunk.items()}
    report = loaded(official.vissl(trunk, 48, ema=averaged), backbone, tmp_path, source="vissl")
    model = "classy_state_dict.base_model.model"
    assert list(report.ignored) == ["heads", f"ema beside {model}.trunk and {model}.heads (key='ema' takes it)"]
    loaded(official.vissl(trunk, 48, ema=averaged), backbone, tmp_path, source="vissl", key="ema")
    first = backbone.state_dict()["stem.conv.weight"]
    assert torch.equal(first, averaged["_feature_blocks.conv1.stem.0.weight"])


def test_the_only_one_is_named_where_its_key_is_unknown(trained: State, backbone: nn.Module, tmp_path: Path) -> None:
    state = {"model_ema": trained, **optimizer(trained)}
    assert rejected(state, backbone, tmp_path).endswith("; with key='model_ema' every tensor is there")
    assert rejected(state, backbone, tmp_path, source="moco").endswith(
        "key='model_ema' it looks like source='timm' or source='torchvision' or source='byol'"
    )
    state = {"model_ema": official.prefixed("net.", trained)}
    assert rejected(state, backbone, tmp_path).endswith("key='model_ema' every tensor is there with prefix='net.'")
    assert rejected({"model_ema": {"a.b": torch.zeros(1)}}, backbone, tmp_path).endswith("key='model_ema' takes")


def test_the_one_that_fits_is_named_where_the_usual_one_does_not(
    trained: State, backbone: nn.Module, tmp_path: Path
) -> None:
    other = {"attention.weight": torch.zeros(2, 2)}
    message = rejected({"state_dict": other, "student": {"a.b": torch.zeros(1)}, "model": trained}, backbone, tmp_path)
    assert message.startswith("the weights belong to another model than ResNet; 100 missing: ")
    assert message.endswith("; 1 unexpected: attention.weight; with key='model' every tensor is there")
    message = rejected({"state_dict": other, "student": {"a.b": torch.zeros(1)}}, backbone, tmp_path)
    assert message.endswith("; 1 unexpected: attention.weight; it holds state_dict, student; name one with key=")


def test_a_key_under_which_nothing_stands_is_answered_with_those_that_are_there(
    trained: State, averaged: State, backbone: nn.Module, tmp_path: Path
) -> None:
    state = {"state_dict": trained, "state_dict_ema": averaged, "optimizer": dict(trained)}
    assert rejected(state, backbone, tmp_path, key="state_dict_emma").endswith("did you mean 'state_dict_ema'?")
    assert rejected(state, backbone, tmp_path, key="optimizer").endswith("choose from state_dict, state_dict_ema")
    assert rejected(trained, backbone, tmp_path, key="model").endswith("'model'; its tensors stand under no key")


def test_a_dict_that_holds_itself_is_no_riddle(trained: State, backbone: nn.Module) -> None:
    state: dict[str, Any] = {"state_dict": trained, "notes": {}}
    state["notes"]["again"] = state
    _, report = find_weights(state, backbone, source="timm", file="x")
    assert list(report.ignored) == ["classifier"]


def test_a_method_s_file_is_answered_with_the_key(trained: State, tmp_path: Path) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = BACKBONES.build({"type": "ResNet", "depth": 18})

    torch.save({"ema": {name: tensor for name, tensor in trained.items() if "fc" not in name}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"; with key='ema' every tensor is there; `selfsup convert` makes"):
        load_method(tmp_path / "x.pth", Holder())  # type: ignore[arg-type]
