"""One process = two wrapped = two sharded = two copies of two shards, over ten steps, in float64 and in float32.

In float32 with a hundredth of the rates: at the whole ones so small a network, with batch norm over eight images,
magnifies rounding until losses differ by more than 1e-5 from step 3 (SwAV), 5 (SimCLR, MoCo) or 7 (BYOL) on.
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
from tests.dist.test_shard_methods import BIT, INFO_NCE, MOMENTUM, SIAMESE
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
STEPS, GENTLE = 10, 0.01


METHODS: dict[str, dict[str, Any]] = {
    "swav": {},
    "simclr": {"type": "SimCLR", "neck": NECK, "loss": NT_XENT},
    "byol": {"type": "BYOL", **SIAMESE, **MOMENTUM, "loss": {"type": "CosineLoss"}},
    # Without batch norm, which MoCo leaves to each process.
    "moco": {
        "type": "MoCo",
        "backbone": BIT,
        "neck": NECK | {"bn": False},
        "loss": INFO_NCE,
        "queue_length": 16,
        "momentum": 0.9,
    },
}


def config(folder: Path, name: str, batch: int, sharding: dict[str, Any] | None) -> dict[str, Any]:
    found = config_of(folder / name, batch, sharding=sharding, train_cfg={"max_steps": STEPS})
    if method := METHODS[name]:
        found = with_method(found, method)
        found["optim_wrapper"] |= {"optimizer": dict(LARS), "param_groups": [dict(PLAIN)]}
    else:
        found["optim_wrapper"]["optimizer"] = dict(LARC)
    return found | {"sync_bn": None if name == "moco" else "all"}


def train(folder: Path, batch: int, sharding: dict[str, Any] | None) -> None:
    for name in METHODS:
        train_one(config(folder, name, batch, sharding))
        single = config(folder / "float32", name, batch, sharding)
        for rates in (single["optim_wrapper"]["optimizer"], *single["optim_wrapper"].get("param_groups", ())):
            rates["lr"] *= GENTLE
        Runner(single, device="cpu").train()


def train_one(config: dict[str, Any], **how: Any) -> None:
    config["model"]["preprocess"] = {"type": "InFloat64"}
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each of several has: with more, float32 is rounded otherwise
    train(folder / "one", 8, None)
    torch.set_num_threads(threads)
    run_in_processes(train, folder / "wrapped", 4, None, timeout=240)
    run_in_processes(train, folder / "sharded", 4, SHARDING, timeout=240)
    for found in run_in_processes(four, folder, world_size=4, timeout=360):
        assert found == dict.fromkeys((3, 4), "sharding.copies")
    return folder


def newest(work_dir: Path) -> Checkpoint:
    return Checkpoint.read(list_checkpoints(work_dir)[-1])


def assert_near(actual: torch.Tensor, expected: torch.Tensor, name: object) -> None:
    """Within 1e-7 of the largest entry, or of the least one that counts."""
    largest = max(expected.abs().max().item(), 1e-6) if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-7 * largest, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("kind", ["wrapped", "sharded", "copies"])
@pytest.mark.parametrize("name", METHODS)
def test_losses_weights_statistics_and_momentum_are_those_of_one_process(folder: Path, kind: str, name: str) -> None:
    one, several = folder / "one" / name, folder / kind / name
    assert len(losses(one)) == STEPS
    for number in ("loss", "grad_norm"):  # recorded as float32
        assert losses(several, number) == pytest.approx(losses(one, number), rel=2e-7), number
    actual, alone = newest(several), newest(one)
    for key, tensor in alone.model.items():
        if not (name == "swav" and key.startswith("queue.")):  # a process's queue is of its images
            assert_near(actual.model[key], tensor, key)
    for number, state in alone.optim_wrapper["state"].items():
        assert_near(actual.optim_wrapper["state"][number]["momentum_buffer"], state["momentum_buffer"], number)


@pytest.mark.parametrize("kind", ["wrapped", "sharded", "copies"])
@pytest.mark.parametrize("name", METHODS)
def test_losses_and_gradients_in_float32_are_those_of_one_process(folder: Path, kind: str, name: str) -> None:
    one, several = folder / "one" / "float32" / name, folder / kind / "float32" / name
    assert len(losses(one)) == STEPS
    for number, allowed in {"loss": 1e-5, "grad_norm": 1e-4}.items():
        assert losses(several, number) == pytest.approx(losses(one, number), rel=allowed), number


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
