"""Two processes go on from one checkpoint of one run, or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import CheckpointError
from selfsup.ops.dist import barrier, is_main, rank
from selfsup.weights.checkpoint import Checkpoint, checkpoint_path
from tests.dist.two_processes import run_in_processes
from tests.engine.tiny_run import tiny_config

pytestmark = pytest.mark.dist


def train(work_dir: Path, *, steps: int = 3, resume: bool = False, seed: int = 0) -> str:
    config = tiny_config(work_dir, steps=steps, seed=seed, param_scheduler=None)
    config["train_dataloader"]["batch_size"] = 4
    try:
        Runner(config, device="cpu", resume=resume).train()
    except CheckpointError as error:
        return str(error)
    return "nothing"


def everything(folder: Path) -> dict[str, str]:
    """What is said where each machine has a disk of its own, and another checkpoint of one name lies on the second."""
    said = {}
    train(folder / "earlier", seed=7)
    train(folder / "run")
    node = folder / f"node{rank()}"
    file = checkpoint_path(node, 3)
    file.parent.mkdir(parents=True)
    for name in ("another run", "without names", "other contents", "one run"):
        if is_main():
            prepare(name, folder)
        barrier()
        said[name] = train(node, steps=4, resume=True)
    return said


def prepare(name: str, folder: Path) -> None:
    """Put a checkpoint of step 3 on either disk."""
    own, other = (Checkpoint.read(checkpoint_path(folder / run, 3)) for run in ("run", "earlier"))
    if name == "without names":
        own, other = replace(own, run=None), replace(other, run=None)
    elif name == "other contents":
        other = replace(other, run=own.run)
    elif name == "one run":
        other = own
    for number, state in enumerate((own, other)):
        state.write(checkpoint_path(folder / f"node{number}", 3))
    if name == "one run":
        shutil.copy(checkpoint_path(folder / "node0", 3), checkpoint_path(folder / "node1", 3))


def test_a_checkpoint_of_one_name_but_another_run_stops_both_processes(tmp_path: Path) -> None:
    first, second = run_in_processes(everything, tmp_path)
    assert first == second
    files = [checkpoint_path(tmp_path / f"node{number}", 3) for number in range(2)]
    for name in ("another run", "without names", "other contents"):
        assert first[name].startswith(
            f"--resume: process 0 reads {files[0]}, process 1 reads {files[1]}, with other contents; "
        )
    assert first["one run"] == "nothing"
    lines = read_metrics(tmp_path / "node0" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [4]
