"""Checkpoints in parts on several processes: bitwise resume, other numbers of processes, and kill -9 while saving.

In float64, so that the order of sums, which depends on the number of processes, does not grow from step to step.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from selfsup.engine.interrupt import Interrupted
from selfsup.engine.runner import Runner
from selfsup.ops.dist import rank
from selfsup.weights import sharded
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.test_shard import NECK, NT_XENT, SHARDING, config_of, float64, losses, with_method
from tests.dist.two_processes import _child, _context, run_in_processes

pytestmark = pytest.mark.dist

SIMCLR = {"type": "SimCLR", "neck": NECK, "loss": NT_XENT}
PARTS = {"type": "CheckpointHook", "every_steps": 2, "sharded": True, "asynchronous": True}
FILES = {"type": "CheckpointHook", "every_steps": 2}


class Seen(Hook):
    """Writes down the images of each step, a file for each process."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        numbers = [int(number) for batch in data_batch for number in batch["index"]]
        with Path(runner.work_dir, f"seen{rank()}.txt").open("a") as file:
            file.write(f"{batch_idx} {numbers}\n")


def seen(work_dir: Path) -> dict[int, list[int]]:
    """The images of each step, whichever process saw them."""
    found: dict[int, list[int]] = {}
    for file in work_dir.glob("seen*.txt"):
        for line in file.read_text().splitlines():
            step, _, numbers = line.partition(" ")
            found.setdefault(int(step), []).extend(int(number) for number in numbers[1:-1].split(","))
    return {step: sorted(numbers) for step, numbers in found.items()}


def run(work_dir: Path, steps: int, batch: int, saving: dict[str, Any], sharding: Any, **how: Any) -> None:
    config = with_method(config_of(work_dir, batch, sharding=sharding), SIMCLR)
    config["optim_wrapper"]["optimizer"] = {"type": "AdamW", "lr": 1e-3}
    config |= {"train_cfg": {"max_steps": steps}, "default_hooks": config["default_hooks"] | {"checkpoint": saving}}
    config["model"]["preprocess"] = {"type": "InFloat64"}
    with float64():
        runner = Runner(config, device="cpu", **how)
        runner.register_hook(Seen())
        runner.train()


def all_runs(folder: Path) -> None:
    run(folder / "whole", 6, 4, PARTS, SHARDING)
    run(folder / "cut", 3, 4, PARTS, SHARDING)
    run(folder / "cut", 6, 4, PARTS, SHARDING, resume=True)
    run(folder / "to a file", 2, 4, PARTS, SHARDING)
    run(folder / "to a file", 4, 4, FILES, SHARDING, resume=True)
    run(folder / "to a file", 6, 4, PARTS, SHARDING, resume=True)
    run(folder / "wrapped", 3, 4, PARTS, None)
    run(folder / "wrapped", 6, 4, PARTS, None, resume=True)
    run(folder / "wrapped, whole", 6, 4, FILES, None)
    for name in ("elastic", "elastic, wrapped"):
        run(folder / name, 2, 4, PARTS, None if "wrapped" in name else SHARDING)


def last_runs(folder: Path) -> None:
    for name in ("elastic", "elastic, wrapped"):
        run(folder / name, 6, 4, PARTS, None if "wrapped" in name else SHARDING, resume=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run_in_processes(all_runs, folder)
    for name in ("elastic", "elastic, wrapped"):  # one process in between
        run(folder / name, 4, 8, PARTS, SHARDING, resume=True)
    run_in_processes(last_runs, folder)
    return folder


def newest(work_dir: Path) -> Checkpoint:
    return Checkpoint.read(list_checkpoints(work_dir)[-1])


@pytest.mark.parametrize(("name", "of"), [("cut", "whole"), ("to a file", "whole"), ("wrapped", "wrapped, whole")])
def test_a_resumed_run_is_bitwise_whatever_its_checkpoints_are(folder: Path, name: str, of: str) -> None:
    assert losses(folder / name) == losses(folder / of) and len(losses(folder / of)) == 6
    actual, expected = newest(folder / name), newest(folder / of)
    for key, tensor in expected.model.items():
        assert torch.equal(actual.model[key], tensor), key
    for number, state in expected.optim_wrapper["state"].items():
        for key, value in state.items():
            assert torch.equal(actual.optim_wrapper["state"][number][key], value), (number, key)


@pytest.mark.parametrize("name", ["elastic", "elastic, wrapped"])
def test_two_then_one_then_two_processes_see_the_same_images_and_come_to_the_same_weights(
    folder: Path, name: str
) -> None:
    assert seen(folder / name) == seen(folder / "whole") and sorted(seen(folder / name)) == list(range(6))
    assert losses(folder / name) == pytest.approx(losses(folder / "whole"), rel=2e-7)
    actual, expected = newest(folder / name).model, newest(folder / "whole").model
    for key, tensor in expected.items():
        torch.testing.assert_close(actual[key], tensor, rtol=1e-7, atol=1e-9, msg=key)


def test_every_process_writes_its_share_and_the_newest_two_are_kept(folder: Path) -> None:
    assert [path.name for path in list_checkpoints(folder / "whole")] == ["step_000000004", "step_000000006"]
    names = {path.name for path in list_checkpoints(folder / "whole")[-1].iterdir()}
    assert {"__0_0.distcp", "__1_0.distcp", "rank_00000.pth", "rank_00001.pth", ".metadata"} <= names
    assert not list((folder / "whole" / "checkpoints").glob("*.partial"))
    sizes = [(list_checkpoints(folder / "whole")[-1] / f"__{each}_0.distcp").stat().st_size for each in (0, 1)]
    assert max(sizes) < 2 * min(sizes)


class Killed(Hook):
    """Ends this process as ``kill -9`` does, after a step."""

    priority = "LOWEST"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if batch_idx == 4:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_while_saving(work_dir: Path) -> None:
    real = sharded.described

    def late(files: Any) -> Any:
        if rank() == 1 and any("step_000000004" in str(file) for file in files):
            sleep(60)
        return real(files)

    sharded.described = late  # the second process is still writing the checkpoint of step 4 in step 5
    register = Runner.register_hooks
    Runner.register_hooks = lambda self, *hooks: (register(self, *hooks), self.register_hook(Killed()))[0]
    run(work_dir, 6, 4, PARTS, SHARDING)


def test_kill_9_of_all_while_one_is_still_writing_leaves_the_one_before(folder: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (2, "gloo", meeting, killed_while_saving, (tmp_path / "killed",))
        processes = [_context.Process(target=_child, args=(number, *arguments), daemon=True) for number in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 2
    checkpoints = tmp_path / "killed" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step_000000002", "step_000000004.partial"]
    shutil.copytree(tmp_path / "killed", tmp_path / "alone")
    run_in_processes(resumed, tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(folder / "whole")
    assert seen(tmp_path / "killed")[5] == seen(folder / "whole")[5]
    assert [path.name for path in list_checkpoints(tmp_path / "killed")] == ["step_000000004", "step_000000006"]
    assert not list(checkpoints.glob("*.partial"))
    run(tmp_path / "alone", 6, 8, PARTS, None, resume=True)
    assert losses(tmp_path / "alone") == pytest.approx(losses(folder / "whole"), rel=2e-7)


class TimeIsUp(Hook):
    """What Slurm sends, to one process."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if batch_idx == 2 and rank() == 1:
            signal.raise_signal(signal.SIGUSR1)


def stopped(work_dir: Path) -> int:
    register = Runner.register_hooks
    Runner.register_hooks = lambda self, *hooks: (register(self, *hooks), self.register_hook(TimeIsUp()))[0]
    try:
        run(work_dir, 6, 4, PARTS, SHARDING)
    except Interrupted as error:
        return error.exit_code
    return 0


def test_when_the_time_of_one_is_up_all_save_and_leave_with_the_code_to_be_queued_again(tmp_path: Path) -> None:
    assert run_in_processes(stopped, tmp_path) == [128 + signal.SIGUSR1] * 2
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000000002", "step_000000003"]


def resumed(work_dir: Path) -> None:
    run(work_dir, 6, 4, PARTS, SHARDING, resume=True)
