"""One process = two wrapped = two sharded = two copies of two shards, over ten steps.

In float64, as in test_shard: in float32 ten steps of so small a network magnify the rounding of sums beyond 1e-5.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.ops.dist import rank
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.test_shard import NECK, NT_XENT, SHARDING, config_of, float64, losses, with_method
from tests.dist.two_processes import run_in_processes

pytestmark = [pytest.mark.dist, pytest.mark.slow]  # four processes: a minute

LARC = {"type": "LARS", "variant": "larc", "lr": 0.1, "weight_decay": 1e-4, "trust_coefficient": 0.01}
LARS = {"type": "LARS", "variant": "simclr", "lr": 0.1, "weight_decay": 1e-4, "trust_coefficient": 0.01}
PLAIN = {"kinds": ("bias", "norm"), "weight_decay": 0.0, "adapt": False, "lr": 1e-3}
COPIES = SHARDING | {"copies": 2}
KINDS: dict[str, tuple[int, dict[str, Any] | None]] = {
    "one": (1, None),
    "wrapped": (2, None),
    "sharded": (2, SHARDING),
    "copies": (4, COPIES),
}
STEPS = 10


def config(folder: Path, name: str, batch: int, sharding: dict[str, Any] | None) -> dict[str, Any]:
    found = config_of(folder / name, batch, sharding=sharding, train_cfg={"max_steps": STEPS})
    if name == "simclr":
        found = with_method(found, {"type": "SimCLR", "neck": NECK, "loss": NT_XENT})
        found["optim_wrapper"] |= {"optimizer": dict(LARS), "param_groups": [PLAIN]}
    else:
        found["optim_wrapper"]["optimizer"] = dict(LARC)
    found["model"]["preprocess"] = {"type": "InFloat64"}
    return found


def train(folder: Path, batch: int, sharding: dict[str, Any] | None) -> None:
    for name in ("swav", "simclr"):
        train_one(config(folder, name, batch, sharding))


def train_one(config: dict[str, Any], **how: Any) -> None:
    with float64():
        Runner(config, device="cpu", **how).train()


def resumed_in_parts(folder: Path) -> None:
    """Another run in copies, cut and resumed from its parts."""
    saving = {"type": "CheckpointHook", "every_steps": 3, "sharded": True, "asynchronous": True}
    for steps in (3, STEPS):
        found = config(folder, "swav", 2, COPIES) | {"train_cfg": {"max_steps": steps}}
        found["default_hooks"] |= {"checkpoint": saving}
        train_one(found, resume=steps > 3)


def four(folder: Path) -> dict[str, str]:
    train(folder / "copies", 2, COPIES)
    resumed_in_parts(folder / "cut")
    found = {}
    for copies in (3, 4):
        try:
            Runner(config(folder / "wrong", "swav", 2, COPIES | {"copies": copies}), device="cpu")
        except ConfigError as error:
            found[copies] = error.problems[0].path
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "one", 8, None)
    run_in_processes(train, folder / "wrapped", 4, None)
    run_in_processes(train, folder / "sharded", 4, SHARDING)
    for found in run_in_processes(four, folder, world_size=4, timeout=180):
        assert found == dict.fromkeys((3, 4), "sharding.copies")
    return folder


def newest(work_dir: Path) -> Checkpoint:
    return Checkpoint.read(list_checkpoints(work_dir)[-1])


def assert_near(actual: torch.Tensor, expected: torch.Tensor, name: object) -> None:
    """Within 1e-7 of the largest entry."""
    largest = expected.abs().max().clamp(min=1e-6).item() if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-7 * largest, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("kind", ["wrapped", "sharded", "copies"])
@pytest.mark.parametrize("name", ["swav", "simclr"])
def test_losses_weights_statistics_and_momentum_are_those_of_one_process(folder: Path, kind: str, name: str) -> None:
    expected = losses(folder / "one" / name)
    assert len(expected) == STEPS
    assert losses(folder / kind / name) == pytest.approx(expected, rel=2e-7)  # recorded as float32
    actual, alone = newest(folder / kind / name), newest(folder / "one" / name)
    for key, tensor in alone.model.items():
        if not key.startswith("queue."):  # a process's queue is of its images
            assert_near(actual.model[key], tensor, key)
    for number, state in alone.optim_wrapper["state"].items():
        assert_near(actual.optim_wrapper["state"][number]["momentum_buffer"], state["momentum_buffer"], number)


def test_a_run_in_copies_that_is_cut_goes_on_bitwise(folder: Path) -> None:
    assert losses(folder / "cut" / "swav") == losses(folder / "copies" / "swav")
    whole, cut = newest(folder / "copies" / "swav"), newest(folder / "cut" / "swav")
    for key, tensor in whole.model.items():
        assert torch.equal(cut.model[key], tensor), key


def accumulated(folder: Path) -> dict[str, tuple[list[int], list[float]]]:
    """How often gradients are exchanged in an update of three micro-batches: within groups, between them; losses."""
    found = {}
    counts = [0, 0]

    def counted(number: int, call: Any) -> Any:
        def count(*args: Any, **how: Any) -> Any:
            tensor = how["output"] if "output" in how else how.get("tensor", args[0] if args else None)
            counts[number] += tensor.numel() > 100  # a block's, where batch norm's sums are of fewer numbers
            return call(*args, **how)

        return count

    scatter = next(
        name for name in ("reduce_scatter_single", "reduce_scatter_tensor") if hasattr(dist, name)
    )  # by version
    originals = {scatter: getattr(dist, scatter), "all_reduce": dist.all_reduce}
    for number, (name, call) in enumerate(originals.items()):
        setattr(dist, name, counted(number, call))
    for name, sharding in (
        ("sharded", SHARDING),
        ("whole", SHARDING | {"whole_gradients": True}),
        ("copies", COPIES),
        ("copies, whole", COPIES | {"whole_gradients": True}),
    ):
        counts[:] = [0, 0]
        given = config(folder / name, "simclr", 1, sharding) | {"train_cfg": {"max_steps": 2}}
        given["optim_wrapper"]["accumulative_counts"] = 3
        train_one(given)
        found[name] = (list(counts), losses(folder / name / "simclr") if rank() == 0 else [])
    for name, call in originals.items():
        setattr(dist, name, call)
    return found


def test_accumulated_gradients_are_exchanged_no_more_than_needed(tmp_path: Path) -> None:
    found = run_in_processes(accumulated, tmp_path, world_size=4, timeout=180)[0]
    scattered = {name: counts[0] for name, (counts, _) in found.items()}
    reduced = {name: counts[1] for name, (counts, _) in found.items()}
    assert scattered["sharded"] == scattered["copies"] == 3 * scattered["whole"] == 3 * scattered["copies, whole"] > 0
    assert reduced["copies"] - reduced["sharded"] == scattered["whole"]  # once an update for each block
    for name, (_, values) in found.items():
        assert values == pytest.approx(found["sharded"][1], rel=2e-7), name
