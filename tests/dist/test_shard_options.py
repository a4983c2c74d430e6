"""Sharded training with weights that are gathered in bf16, and with parts that the processor keeps."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfsup.engine.distributed import blocks
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.necks import Prototypes
from tests.dist.test_shard import SHARDING, config_of, losses, weights_of
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import SGD

pytestmark = pytest.mark.dist

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("fp32", {}),
    "offloaded": ("fp32", {"offload": True}),
    "autocast": ("bf16", {}),
    "gathered": ("bf16", {"gather": "bf16"}),
    "gathered, checkpointed": ("bf16", {"gather": "bf16"}),
}
WATCHED = {"convolution": nn.Conv2d, "linear": nn.Linear, "norm": _BatchNorm, "prototypes": Prototypes}


def config(folder: Path, name: str) -> dict[str, Any]:
    precision, options = KINDS[name]
    wrapper = {"precision": precision, "optimizer": SGD | {"lr": 1e-3}, "freeze": {"prototypes": 2}}
    given = {"optim_wrapper": wrapper, "sharding": SHARDING | options}
    found = config_of(folder / name, 4, checkpointed="checkpointed" in name, **given)
    found["train_dataloader"]["views"] |= {"sizes": (64, 64)}  # of several sizes gradients are added up in bf16
    return found


def types_in_blocks(folder: Path, name: str) -> dict[str, set[torch.dtype]]:
    """Train, and note the types of whole weights in the forward pass, and of what is summed over the processes."""
    runner = Runner(config(folder, name), device="cpu")
    found: dict[str, set[torch.dtype]] = {"parts": {each.dtype for each in runner.method.parameters()}, "sums": set()}
    members = {part for block in blocks(runner.method, SHARDING["min_parameters"]) for part in block.modules()}
    for kind, of_class in WATCHED.items():
        found[kind] = set()
        for part in runner.method.modules():
            if isinstance(part, of_class) and (part in members or kind == "prototypes"):
                part.register_forward_pre_hook(lambda part, _, kind=kind: found[kind].add(part.weight.dtype))
    scatter = next(each for each in ("reduce_scatter_single", "reduce_scatter_tensor") if hasattr(dist, each))
    original = getattr(dist, scatter)

    def noted(*args: Any, **how: Any) -> Any:
        found["sums"].add((how["output"] if "output" in how else args[0]).dtype)
        return original(*args, **how)

    setattr(dist, scatter, noted)
    runner.train()
    setattr(dist, scatter, original)
    return found


def everything(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {name: types_in_blocks(folder, name) for name in KINDS}
    try:
        Runner(config(folder, "plain") | {"sharding": SHARDING | {"gather": "bf16"}}, device="cpu")
    except ConfigError as error:
        found["rejected"] = (error.problems[0].path, error.problems[0].got)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    return run_in_processes(everything, folder)


@pytest.mark.parametrize("name", ["gathered", "gathered, checkpointed"])
def test_blocks_are_gathered_in_bf16_and_summed_in_float32(results: list[dict[str, Any]], name: str) -> None:
    for result in results:
        types = result[name]
        assert types["convolution"] == types["linear"] == {torch.bfloat16}
        assert types["parts"] == types["norm"] == types["prototypes"] == types["sums"] == {torch.float32}
        assert result["rejected"] == ("sharding.gather", "fp32")


def test_training_on_bf16_weights_is_that_of_autocast(results: list[dict[str, Any]], folder: Path) -> None:
    for name in ("gathered", "gathered, checkpointed"):
        assert losses(folder / name) == losses(folder / "autocast")
        for key, tensor in weights_of(folder / "autocast").items():
            assert torch.equal(weights_of(folder / name)[key], tensor), key


def test_parts_kept_by_the_processor_are_trained_alike(results: list[dict[str, Any]], folder: Path) -> None:
    assert len(losses(folder / "plain")) == 3
    assert losses(folder / "offloaded") == losses(folder / "plain")
    for key, tensor in weights_of(folder / "plain").items():
        assert torch.equal(weights_of(folder / "offloaded")[key], tensor), key
