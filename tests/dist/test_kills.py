"""Twenty times ``kill -9`` of one process or of all, while it starts, trains or saves; 2, 1 and 2 processes in turn."""

import os
import pickle
import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from mmengine.hooks import Hook

from selfsup.engine import saver
from selfsup.engine.runner import Runner
from selfsup.ops.dist import rank, world_size
from selfsup.weights import sharded
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.dist.test_checkpoints import PARTS, SIMCLR
from tests.dist.test_shard import SHARDING, config_of, with_method
from tests.dist.two_processes import _child, _context

pytestmark = [pytest.mark.dist, pytest.mark.slow]  # a minute and a half

KILLS, MOST, BATCH = 20, 4, 8  # kills, steps before each of them
STEPS = KILLS * (MOST + 2)
PROCESSES = (2, 1, 2)


class Seen(Hook):
    """Writes down the images of each step, a file for each process of each attempt."""

    def __init__(self, attempt: int, pause: float) -> None:
        self.attempt, self.pause = attempt, pause

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        numbers = [int(number) for batch in data_batch for number in batch["index"]]
        with Path(runner.work_dir, f"seen_{self.attempt:02d}_{rank()}.txt").open("a") as file:
            file.write(f"{batch_idx} {' '.join(map(str, numbers))}\n")
        sleep(self.pause)


def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
    """So that a kill can fall between the parts of a save, which are over in milliseconds."""

    def slow(*arguments: Any, **options: Any) -> Any:
        sleep(0.1)
        return function(*arguments, **options)

    return slow


def train(work_dir: Path, attempt: int, pause: float) -> None:
    """Until it is killed, or to the end."""
    for module, part in ((saver, "save"), (sharded, "write_manifest"), (saver, "settle_folder")) if pause else ():
        setattr(module, part, slowed(getattr(module, part)))
    config = with_method(config_of(work_dir, BATCH // world_size(), sharding=SHARDING), SIMCLR)
    saving = PARTS | {"every_steps": 2 if pause else 100}
    config |= {"train_cfg": {"max_steps": STEPS}, "default_hooks": config["default_hooks"] | {"checkpoint": saving}}
    config["train_dataloader"]["views"] |= {"sizes": (32,)}
    runner = Runner(config, device="cpu", resume=attempt > 0)
    runner.register_hook(Seen(attempt, pause))
    runner.train()


def attempted(work_dir: Path, attempt: int, *, processes: int, chance: random.Random | None) -> str:
    """Start a run and kill it: one process, after which nobody waits for the others, or all; how that went."""
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (processes, "gloo", meeting, train, (work_dir, attempt, 0.0 if chance is None else 0.1))
        run = [_context.Process(target=_child, args=(number, *arguments), daemon=True) for number in range(processes)]
        for process in run:
            process.start()
        if chance is None:
            for process in run:
                process.join(900)
            assert [process.exitcode for process in run] == [0] * processes
            return "done"
        starting, saving, steps = chance.random() < 0.2, chance.random() < 0.5, chance.randint(0, MOST)
        end = monotonic() + (chance.uniform(0.5, 8) if starting else 60)
        while monotonic() < end and done(work_dir, attempt) < steps:
            sleep(0.001)
        while saving and monotonic() < end and done(work_dir, attempt) < MOST and not any(partial(work_dir)):
            sleep(0.001)
        sleep(chance.uniform(0, 0.3))
        was_saving = any(partial(work_dir))
        assert all(process.is_alive() for process in run), "the run ended before it was killed"
        assert not (ended := list(Path(meeting).glob("rank*"))), pickle.loads(ended[0].read_bytes())
        victims = run if chance.random() < 0.5 else [chance.choice(run)]
        for process in victims:
            os.kill(process.pid, signal.SIGKILL)
        sleep(chance.uniform(0, 0.5))  # what a launcher takes to see it; the others may save, train or wait meanwhile
        for process in run:
            process.kill()
            process.join()
    return "while saving" if was_saving else "between"


def done(work_dir: Path, attempt: int) -> int:
    """Steps of an attempt so far."""
    file = work_dir / f"seen_{attempt:02d}_0.txt"
    return file.read_text().count("\n") if file.exists() else 0


def partial(work_dir: Path) -> Iterator[Path]:
    return (work_dir / "checkpoints").glob("*.partial")


def steps_of(work_dir: Path, attempt: int) -> dict[int, list[list[int]]]:
    """The images of each step of an attempt, of each process that came so far as to write them down."""
    found: dict[int, list[list[int]]] = {}
    for file in sorted(work_dir.glob(f"seen_{attempt:02d}_*.txt")):
        for line in file.read_text().splitlines(keepends=True):
            step, *numbers = map(int, line.split()) if line.endswith("\n") else (-1,)
            found.setdefault(step, []).append(numbers)
    found.pop(-1, None)
    return found


def test_after_twenty_kills_every_step_has_seen_the_images_of_a_run_left_alone(tmp_path: Path) -> None:
    seed = 17
    chance = random.Random(seed)
    attempted(tmp_path / "whole", 0, processes=1, chance=None)
    whole = {step: images[0] for step, images in steps_of(tmp_path / "whole", 0).items()}
    assert sorted(whole) == list(range(STEPS))
    work_dir, went = tmp_path / "killed", []
    for attempt in range(KILLS):
        went.append(attempted(work_dir, attempt, processes=PROCESSES[attempt % 3], chance=chance))
        for path in list_checkpoints(work_dir):
            assert Checkpoint.read(path).step, path
    attempted(work_dir, KILLS, processes=2, chance=None)
    print(f"seed {seed}: {went.count('while saving')} of {KILLS} kills while a checkpoint was being written")
    assert went.count("while saving") >= 5
    log: dict[int, list[int]] = {}
    for attempt in range(KILLS + 1):
        steps = steps_of(work_dir, attempt)
        if steps:
            first = min(steps)
            assert first <= len(log), "a resumed run leaves no step out"
            log = {step: images for step, images in log.items() if step < first}
        for step, shares in sorted(steps.items()):
            seen = [number for share in shares for number in share]
            assert set(seen) <= set(whole[step]), (attempt, step)
            if len(seen) == BATCH:
                log[step] = sorted(seen)
    assert log == {step: sorted(images) for step, images in whole.items()}
