"""What is nothing but record-keeping loses nothing of the training when the disk takes no more."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.engine.logging.metrics import MetricsLog, read_metrics
from selfsup.engine.logging.tensorboard import Board
from selfsup.engine.runner import Runner
from selfsup.errors import DecodeError
from selfsup.registry import DATASETS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.tiny_run import tiny_config

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits the size of files")

ROOM = r"[\d,.]+ MiB are free there"


@DATASETS.register_module()
class LongNamed:
    """Noise, of which one image cannot be read and has a name longer than a checkpoint."""

    labels = None
    classes = None

    def __len__(self) -> int:
        return 16

    def image(self, index: int) -> np.ndarray:
        if index == 5:
            raise DecodeError("cut off")
        return np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)

    def name(self, index: int) -> str:
        return str(index) * 10**6


def config_of(work_dir: Path, **changes: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, evaluators={"knn": {"type": "KNN", "k": 3}}, **changes)
    config["default_hooks"]["evaluate"] = {"every_steps": 2, "max_images": 24}
    return config


def unreadable(work_dir: Path) -> dict[str, Any]:
    config = tiny_config(work_dir)
    config["train_dataloader"] |= {"dataset": {"type": "LongNamed"}, "max_bad_share": 1.0}
    return config


STARTS = """
import sys
from pathlib import Path
from selfsup.engine.runner import Runner
from selfsup.errors import SelfsupError
from tests.engine.narrow import *
from tests.engine.test_full_disk import *

folder = Path(sys.argv[1])
try:
"""
ENDS = """
except SelfsupError as error:
    print(f"{type(error).__name__}: {error}")
"""


def said_by(work: str, folder: Path) -> tuple[list[str], str]:
    """Lines that a program of its own prints with a limit that it sets itself, and what it says of what goes wrong."""
    threads = str(torch.get_num_threads())  # as many as here, for the same numbers
    program = STARTS + "".join(f"    {line}\n" for line in work.strip().splitlines()) + ENDS
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": threads},
    )
    return [line for line in done.stdout.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)], done.stderr


def lines_of(work_dir: Path) -> list[dict[str, Any]]:
    """What is recorded of the steps, without what is timed."""
    timed = ("images_per_second", "data_wait_share")
    lines = [line for line in read_metrics(work_dir / "metrics.jsonl") if not any("number 1." in key for key in line)]
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


@pytest.mark.parametrize(("room", "steps"), [(100, 4), (400, 5)])
def test_numbers_that_cannot_be_written_stop_the_run_saved_and_it_goes_on_with_none_missing(
    tmp_path: Path, room: int, steps: int
) -> None:
    run = f"""
runner = Runner(config_of(folder / "cut"), device="cpu")
runner.register_hook(FillsUp(3, "metrics.jsonl", {room}))
runner.train()
"""
    (line,), wrong = said_by(run, tmp_path)
    path = tmp_path / "cut" / "metrics.jsonl"
    assert re.match(rf"RecordError: {path}: .*\(File too large; {ROOM}\); .* all {steps} steps .* --resume", line)
    assert "Traceback" not in wrong
    assert list_checkpoints(tmp_path / "cut")[-1].name == f"step_{steps:09d}.pth"
    assert path.read_text().endswith("}\n")
    for line in path.read_text().splitlines():
        json.loads(line)
    Runner(config_of(tmp_path / "cut"), resume=True, device="cpu").train()
    Runner(config_of(tmp_path / "whole"), device="cpu").train()
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")
    assert {line["step"] for line in lines_of(tmp_path / "cut")} == set(range(1, 9))


def test_what_cannot_be_written_after_the_last_step_stops_the_run_before_it_seems_complete(tmp_path: Path) -> None:
    run = """
runner = Runner(tiny_config(folder), device="cpu")
runner.register_hook(FillsUp(7, "metrics.jsonl", 1000))
runner.register_hook(LastWords())
runner.train()
"""
    (line,), _ = said_by(run, tmp_path)
    assert re.search(r"metrics\.jsonl: .* all 8 steps .* --resume", line)
    assert list_checkpoints(tmp_path)[-1].name == "step_000000008.pth"
    assert not list(tmp_path.glob("backbone.*"))
    Runner(tiny_config(tmp_path), resume=True, device="cpu").train()
    assert len(list(tmp_path.glob("backbone.*"))) == 2
    assert [line["step"] for line in lines_of(tmp_path) if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in lines_of(tmp_path) if "last word 99" in line] == [8]


def test_where_the_state_cannot_be_saved_either_both_are_said(tmp_path: Path) -> None:
    run = """
runner = Runner(config_of(folder), device="cpu")
runner.register_hook(FillsUp(4, "metrics.jsonl", None))
runner.train()
"""
    (line,), _ = said_by(run, tmp_path)
    files = (r"metrics\.jsonl", r"checkpoints/step_000000005\.pth", r"checkpoints/step_000000003\.pth")
    assert re.match("RecordError: " + ".*; ".join(f".*{tmp_path}/{file}" for file in files), line)
    Runner(config_of(tmp_path), resume=True, device="cpu").train()
    assert {line["step"] for line in lines_of(tmp_path)} == set(range(1, 9))


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_cannot_even_begin_says_so(tmp_path: Path, resume: bool) -> None:
    Runner(config_of(tmp_path, steps=3), device="cpu").train()
    run = f"""
with limited(100):
    Runner(config_of(folder), resume={resume}, device="cpu").train()
"""
    (line,), _ = said_by(run, tmp_path)
    assert re.match(rf"RecordError: {tmp_path}/environment\.json: .* \(File too large; {ROOM}\)", line)
    assert not list(tmp_path.glob("*.partial"))


def test_a_resumed_run_whose_numbers_have_no_room_keeps_those_it_had(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in range(30):
        log.write(step, {"loss": 0.5})
    log.close()
    before = (tmp_path / "metrics.jsonl").read_bytes()
    (line,), _ = said_by("with limited(300): MetricsLog(folder, resume_step=20)", tmp_path)
    assert re.match(rf"RecordError: {tmp_path}/metrics\.jsonl: .* \(File too large; {ROOM}\)", line)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_names_of_unreadable_images_that_cannot_be_written_stop_the_run_saved(tmp_path: Path) -> None:
    run = """
runner = Runner(unreadable(folder), device="cpu")
with limited(600_000):
    runner.train()
"""
    (line,), _ = said_by(run, tmp_path)
    assert re.match(rf"RecordError: {tmp_path}/bad_images\.txt: .* the one step so far is saved.* --resume", line)
    assert (tmp_path / "bad_images.txt").read_bytes() == b""
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_000000001.pth"]


def test_a_board_that_cannot_be_written_is_said_once_and_the_run_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = """
runner = Runner(tiny_config(folder, steps=5), device="cpu")
runner.register_hook(FillsUp(2, "tensorboard/*", 30))
runner.train()
"""
    said, wrong = said_by(run, tmp_path)
    assert said == [] and "Traceback" not in wrong
    (log,) = tmp_path.rglob("rank0.log")
    (line,) = [line for line in log.read_text().splitlines() if "tensorboard" in line]
    assert re.search(rf" WARNING {tmp_path}/tensorboard/events\S+: .* \(File too large; {ROOM}\); ", line)
    assert {line["step"] for line in lines_of(tmp_path)} == set(range(1, 6))
    assert Checkpoint.read(list_checkpoints(tmp_path)[-1]).step == 5
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    expected = [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines_of(tmp_path)[:2]]
    assert [(event.step, event.value) for event in shown.Scalars("loss")] == expected


def test_a_resumed_board_drops_what_the_earlier_one_showed_of_the_same_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, value in ((0, 1.0), (3, 2.0)):
        board = Board(tmp_path, resume_step=first, warn=print)
        for step in range(first + 1, 6):
            board.write(step, {"loss": value, "lr": float("nan")})
        board.close()
    shown = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in shown.Scalars("loss")] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert np.isnan([event.value for event in shown.Scalars("lr")]).all()


def test_a_log_file_that_cannot_be_written_is_said_once_and_the_lines_are_shown(tmp_path: Path) -> None:
    run = """
from selfsup.engine.logging.lines import open_log
log = open_log("narrow", level="INFO", file=folder / "rank0.log", to_terminal=True)
with limited(100):
    for number in range(5):
        log.info(f"line {number} " + 60 * ".")
print("went on")
"""
    said, wrong = said_by(run, tmp_path)
    assert said == ["went on"]
    assert re.match(rf"{tmp_path}/rank0\.log: .* \(File too large; {ROOM}\)", wrong)
    assert wrong.count("\n") == 1


@pytest.mark.parametrize("tail", [b'{"step": 3, "lo', b"\x00\x00\x00", b"\xc3", b'{"step": 3, "loss": 0.5'])
def test_a_last_line_cut_off_is_left_out_and_gone_after_a_resume(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n' + tail)
    whole = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    assert read_metrics(path) == whole
    log = MetricsLog(tmp_path, resume_step=2)
    log.write(3, {"loss": 0.5})
    log.close()
    assert read_metrics(path) == [*whole, {"step": 3, "loss": 0.5}]


def test_numbers_saved_with_the_state_are_written_once_however_often_a_run_is_resumed(tmp_path: Path) -> None:
    for _ in range(2):
        log = MetricsLog(tmp_path, resume_step=2, unwritten=[{"step": 2, "loss": 1.0}])
        log.write(3, {"loss": 0.5})
        log.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 2, "loss": 1.0}, {"step": 3, "loss": 0.5}]
