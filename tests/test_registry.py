"""A name in somebody's data means a component, or nothing: it imports nothing, and nothing else is ever called."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from selfsup.cli import main
from selfsup.config import find_problems, load_config
from selfsup.errors import ConfigError, RegistryError
from selfsup.losses import NTXentLoss
from selfsup.methods import SimCLR
from selfsup.registry import BACKBONES, DATASETS, EVALUATORS, HOOKS, KINDS, LOSSES, METHODS, OPTIMIZERS, TRANSFORMS
from tests.config.small import RECIPE, write


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that is there once a command has run."""
    return tmp_path / "it_ran"


def test_the_dict_of_a_command_runs_no_command(trap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "tv.pth")
    backbone = f"dict(type='os.system', command='touch {trap}')"
    words = [str(tmp_path / "tv.pth"), str(tmp_path / "o.pth"), "--source", "torchvision", "--backbone", backbone]
    assert main(["convert", *words]) == 2
    assert "no backbone is called 'os.system'" in capsys.readouterr().err
    assert not trap.exists()


def test_the_card_beside_somebody_s_weights_runs_no_command(trap: Path) -> None:
    card = json.loads(json.dumps({"backbone": {"type": "subprocess.check_output", "args": ["touch", str(trap)]}}))
    with pytest.raises(RegistryError) as caught:
        BACKBONES.build(card["backbone"])
    assert str(caught.value).startswith("type: no backbone is called 'subprocess.check_output'")
    assert "is called module.Class where custom_imports.imports names its module" in str(caught.value)
    assert not trap.exists()


def test_a_config_s_backbone_is_no_command(trap: Path, tmp_path: Path) -> None:
    backbone = f"dict(type='os.system', command='touch {trap}')"
    text = RECIPE.replace("dict(type='ResNet', depth=18, width=0.125)", backbone)
    with pytest.raises(ConfigError, match=r"model\.backbone\.type: no backbone is called 'os\.system'"):
        load_config(write(tmp_path, text))
    assert not trap.exists()


@pytest.mark.parametrize("name", ["json.dumps", "os.getcwd", "torch.nn.Linear", "selfsup.backbones.ResNet", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dotted_path_is_no_name(kind: str, name: str) -> None:
    with pytest.raises(RegistryError, match=f"is called '{name}'"):
        KINDS[kind].find(name)


def test_the_path_of_what_is_registered_is_answered_with_its_name() -> None:
    with pytest.raises(RegistryError, match="did you mean 'ResNet'"):
        BACKBONES.find("selfsup.backbones.ResNet")


def test_a_dotted_path_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("traps", "traps/registry"):
        (tmp_path / name).with_suffix(".py").parent.mkdir(exist_ok=True)
        (tmp_path / name).with_suffix(".py").write_text("raise SystemExit('imported')")
    with pytest.raises(RegistryError):
        BACKBONES.find("traps.Net")
    assert "traps" not in sys.modules


def test_mmengine_s_names_are_known_with_and_without_its_scope() -> None:
    from mmengine.hooks import SyncBuffersHook

    assert HOOKS.find("SyncBuffersHook") is HOOKS.find("mmengine.SyncBuffersHook") is SyncBuffersHook
    assert OPTIMIZERS.find("SGD") is torch.optim.SGD
    assert BACKBONES.find("selfsup.ResNet") is BACKBONES.find("ResNet")
    optimizer = OPTIMIZERS.build({"type": "SGD", "lr": 0.1}, params=[nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is torch.optim.SGD


class Net(nn.Module):
    out_dim = 3


class Crop:
    def __call__(self, image: Any, rng: Any) -> Any:
        return image


class Scores:
    def evaluate(self, backbone: nn.Module) -> dict[str, float]:
        return {}


class Images:
    def __len__(self) -> int:
        return 0


def test_a_class_is_handed_over_as_it_is_if_it_is_of_the_kind() -> None:
    kinds = {BACKBONES: Net, TRANSFORMS: Crop, EVALUATORS: Scores, DATASETS: Images, METHODS: Net}
    for registry, component in kinds.items():
        assert type(registry.build({"type": component})) is component
    for registry, component in {BACKBONES: Crop, TRANSFORMS: Images, EVALUATORS: Crop, DATASETS: Net}.items():
        with pytest.raises(ConfigError, match=f"type: must be a registered {registry.name} or a class"):
            registry.build({"type": component})


@pytest.mark.parametrize("component", [subprocess.check_output, subprocess.Popen, Net(), 3, ["ResNet"]])
def test_anything_else_is_not_called(component: Any, trap: Path) -> None:
    with pytest.raises(ConfigError, match="type: must be a registered backbone or a class of its kind, got "):
        BACKBONES.build({"type": component, "args": ["touch", str(trap)]})
    assert not trap.exists()


def test_a_registered_function_is_a_component(site: Path) -> None:
    @BACKBONES.register_module(name="made_by_a_function")
    def make(out_dim: int) -> nn.Module:
        return nn.Flatten(out_dim)

    assert BACKBONES.build({"type": "made_by_a_function", "out_dim": 2}).start_dim == 2
    assert BACKBONES.build({"type": make, "out_dim": 2}).start_dim == 2


def test_a_method_is_built_alike_from_names_and_from_classes(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    by_class = {**config.model, "type": SimCLR, "loss": {**config.model["loss"], "type": NTXentLoss}}
    assert find_problems({**config.to_dict(), "model": by_class}) == []
    states = []
    for model in (config.model, by_class):
        torch.manual_seed(0)
        states.append(METHODS.build(model).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_argument_of_a_component_that_takes_none_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r"^temperature: is not an argument of CosineLoss, got 0\.5$"):
        LOSSES.build(dict(type="CosineLoss", temperature=0.5))


def test_a_misspelt_argument_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        BACKBONES.build({"type": "ResNet", "depht": 18})
    (problem,) = caught.value.problems
    assert (problem.path, problem.got, problem.expected) == ("depht", 18, "did you mean 'depth'?")
