"""What is split and what is rejected, as far as one process can tell. Two processes: tests/dist/test_shard.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from selfsup.backbones import RegNet, ResNet
from selfsup.config.validate import find_problems
from selfsup.engine.distributed import blocks, shard
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.ops.parts import class_name, is_sharded, whole_state
from tests.engine.tiny_run import log_of, losses, tiny_config, trained


def names(module: nn.Module, min_parameters: int = 0) -> list[str]:
    found = blocks(module, min_parameters)
    by_module = {part: name for name, part in module.named_modules()}
    return [by_module[block] for block in found]


def test_the_blocks_of_a_regnet_are_gathered_one_by_one() -> None:
    backbone = RegNet(depths=(1, 2, 1, 1), widths=(8, 16, 24, 32), group_width=8)
    assert names(backbone) == ["s1.b1", "s2.b1", "s2.b2", "s3.b1", "s4.b1"]
    large = sum(parameter.numel() for parameter in backbone.get_submodule("s3.b1").parameters())
    assert names(backbone, large) == ["s3.b1", "s4.b1"]


def test_shortcuts_inside_a_block_are_no_blocks() -> None:
    assert names(ResNet(18, 0.125)) == [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]


def test_layers_without_parameters_are_no_blocks_and_nested_containers_are_opened() -> None:
    module = nn.Module()
    module.head = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 1)))
    module.layers = nn.ModuleList([nn.Linear(2, 2)])
    module.stem = nn.Linear(2, 2)
    assert names(module) == ["head.0", "head.2.0", "layers.0"]


def test_every_parameter_of_the_10b_model_that_matters_is_in_a_block() -> None:
    with torch.device("meta"):
        backbone = RegNet("y_10b")
    found = blocks(backbone, 1_000_000)
    sizes = [sum(parameter.numel() for parameter in block.parameters()) for block in found]
    assert len(found) == 27
    assert max(sizes) == 1_842_586_178
    assert sum(parameter.numel() for parameter in backbone.parameters()) - sum(sizes) == 3 * 32 * 9 + 2 * 32


def test_a_parameter_with_two_places_is_rejected() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    with pytest.raises(
        ConfigError, match=r"sharding: 1\.weight and 0\.weight are one parameter, which cannot be split; leave"
    ):
        shard(module, torch.device("cpu"), min_parameters=0)


def test_a_state_without_split_tensors_comes_back_as_it_is() -> None:
    state = {"weights": [torch.ones(2)], "betas": (0.9, 0.99), "step": 3}
    again = whole_state(state)
    assert again == state and again["weights"][0] is state["weights"][0]
    assert not is_sharded(nn.Linear(2, 2)) and class_name(nn.Linear(2, 2)) == "Linear"


@pytest.mark.parametrize(
    ("sharding", "path", "got"),
    [
        ({"min_paramters": 5}, "sharding.min_paramters", 5),
        ({"min_parameters": -1}, "sharding.min_parameters", -1),
        ({"min_parameters": "all"}, "sharding.min_parameters", "all"),
        (True, "sharding", True),
    ],
)
def test_options_that_cannot_be_meant_are_rejected(tmp_path: Path, sharding: Any, path: str, got: Any) -> None:
    (problem,) = find_problems(tiny_config(tmp_path, sharding=sharding))
    assert (problem.path, problem.got) == (path, got)


def test_on_one_process_nothing_is_split_and_the_log_says_so(tmp_path: Path) -> None:
    Runner(tiny_config(tmp_path / "plain", steps=2), device="cpu").train()
    runner = trained(tiny_config(tmp_path / "sharded", steps=2, sharding={}), device="cpu")
    assert "sharding: there is one process, so nothing is split" in log_of(tmp_path / "sharded")
    assert not is_sharded(runner.method)
    assert len(losses(tmp_path / "plain")) == 2 and losses(tmp_path / "sharded") == losses(tmp_path / "plain")
