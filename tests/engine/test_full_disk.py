"""What is nothing but record-keeping loses nothing of the training when the disk takes no more."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfsup.engine.logging.metrics import MetricsLog, read_metrics
from selfsup.engine.logging.tensorboard import Board
from selfsup.engine.runner import Runner
from selfsup.errors import DecodeError, SelfsupError
from selfsup.registry import DATASETS
from selfsup.weights.checkpoint import Checkpoint, list_checkpoints
from tests.engine.narrow import FillsUp, LastWords, limit, limited
from tests.engine.tiny_run import Noise, log_of, tiny_config

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits the size of files")

ROOM = r"[\d,.]+ MiB are free there"


@DATASETS.register_module()
class LongNamed(Noise):
    """Noise, of which one image cannot be read and has a name longer than a checkpoint."""

    def image(self, index: int) -> np.ndarray:
        if index == 5:
            raise DecodeError("cut off")
        return super().image(index)

    def name(self, index: int) -> str:
        return str(index) * 10**6


def config_of(work_dir: Path, **changes: Any) -> dict[str, Any]:
    config = tiny_config(work_dir, evaluators={"knn": {"type": "KNN", "k": 3}}, **changes)
    config["default_hooks"]["evaluate"] = {"every_steps": 2, "max_images": 24}
    return config


def train(config: dict[str, Any], *hooks: Any, size: int = -1, resume: bool = False) -> None:
    """A run with files no longer than so many bytes from its first step on."""
    runner = Runner(config, device="cpu", resume=resume)
    for hook in hooks:
        runner.register_hook(hook)
    with limited(size):
        runner.train()


def names(work_dir: Path) -> None:
    config = tiny_config(work_dir)
    config["train_dataloader"] |= {"dataset": {"type": "LongNamed", "length": 16}, "max_bad_share": 1.0}
    train(config, size=600_000)


def begin(work_dir: Path) -> None:
    train(config_of(work_dir, steps=3))
    train(config_of(work_dir), size=100, resume=True)


def record(folder: Path, *steps: int, **resumed: Any) -> None:
    """A loss of 0.5 for each step."""
    log = MetricsLog(folder, **resumed)
    for step in steps:
        log.write(step, {"loss": 0.5})
    log.close()


def log(work_dir: Path) -> None:
    work_dir.mkdir()
    record(work_dir, *range(30))
    with limited(300):
        MetricsLog(work_dir, resume_step=20)


CASES: dict[str, Callable[[Path], None]] = {
    "numbers": lambda work_dir: train(config_of(work_dir), FillsUp(3, "metrics.jsonl", 100)),
    "last": lambda work_dir: train(tiny_config(work_dir), FillsUp(7, "metrics.jsonl", 1000), LastWords()),
    "state": lambda work_dir: train(config_of(work_dir), FillsUp(4, "metrics.jsonl", None)),
    "board": lambda work_dir: train(tiny_config(work_dir, steps=5), FillsUp(2, "tensorboard/*", 30)),
    "names": names,
    "begin": begin,
    "log": log,
}


Narrow = tuple[Path, dict[str, str]]


def fill_the_disk(folder: Path) -> None:
    """Every case in a folder of its own; what it raises is written to a file."""
    said = {}
    for name, work in CASES.items():
        try:
            work(folder / name)
            said[name] = ""
        except SelfsupError as error:
            said[name] = f"{type(error).__name__}: {error}"
        limit(-1)
    (folder / "said.json").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Narrow:
    """The folder of the cases, which ran in a process of their own, and what each raised."""
    folder = tmp_path_factory.mktemp("narrow")
    program = "import sys, pathlib; from tests.engine.test_full_disk import *; fill_the_disk(pathlib.Path(sys.argv[1]))"
    threads = str(torch.get_num_threads())  # as many as here, for the same numbers
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": threads},
    )
    assert "Traceback" not in done.stderr
    return folder, json.loads((folder / "said.json").read_text())


def lines_of(work_dir: Path) -> list[dict[str, Any]]:
    """What is recorded of the steps, without what is timed."""
    timed = ("images_per_second", "data_wait_share")
    lines = [line for line in read_metrics(work_dir / "metrics.jsonl") if not any("number 1." in key for key in line)]
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


def test_numbers_that_cannot_be_written_stop_the_run_saved_and_it_goes_on_with_none_missing(
    narrow: Narrow, tmp_path: Path
) -> None:
    folder, said = narrow[0] / "numbers", narrow[1]["numbers"]
    path = folder / "metrics.jsonl"
    assert re.match(rf"RecordError: {path}: .*\(File too large; {ROOM}\); .* all 4 steps .* --resume", said)
    assert list_checkpoints(folder)[-1].name == "step_000000004.pth"
    assert len([json.loads(line) for line in path.read_text().splitlines()]) > 3 and path.read_text().endswith("}\n")
    train(config_of(folder), resume=True)
    train(config_of(tmp_path))
    assert lines_of(folder) == lines_of(tmp_path)
    assert {line["step"] for line in lines_of(folder)} == set(range(1, 9))


def test_what_cannot_be_written_after_the_last_step_stops_the_run_before_it_seems_complete(
    narrow: Narrow,
) -> None:
    folder, said = narrow[0] / "last", narrow[1]["last"]
    assert re.search(r"metrics\.jsonl: .* all 8 steps .* --resume", said)
    assert list_checkpoints(folder)[-1].name == "step_000000008.pth"
    assert not list(folder.glob("backbone.*"))
    train(tiny_config(folder), resume=True)
    assert len(list(folder.glob("backbone.*"))) == 2
    assert [line["step"] for line in lines_of(folder) if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in lines_of(folder) if "last word 99" in line] == [8]


def test_where_the_state_cannot_be_saved_either_both_are_said(narrow: Narrow) -> None:
    folder, said = narrow[0] / "state", narrow[1]["state"]
    files = (r"metrics\.jsonl", r"checkpoints/step_000000005\.pth", r"checkpoints/step_000000003\.pth")
    assert re.match("RecordError: " + ".*; ".join(f".*{folder}/{file}" for file in files), said)
    train(config_of(folder), resume=True)
    assert {line["step"] for line in lines_of(folder)} == set(range(1, 9))


@pytest.mark.parametrize(("name", "file"), [("begin", "environment.json"), ("log", "metrics.jsonl")])
def test_a_run_that_cannot_even_begin_says_so_and_keeps_what_it_had(narrow: Narrow, name: str, file: str) -> None:
    folder, said = narrow[0] / name, narrow[1][name]
    assert re.match(rf"RecordError: {folder}/{file}: .* \(File too large; {ROOM}\)", said)
    assert not list(folder.glob("*.partial"))
    assert len(read_metrics(folder / "metrics.jsonl")) == {"begin": 5, "log": 30}[name]


def test_names_of_unreadable_images_that_cannot_be_written_stop_the_run_saved(
    narrow: Narrow,
) -> None:
    folder, said = narrow[0] / "names", narrow[1]["names"]
    assert re.match(rf"RecordError: {folder}/bad_images\.txt: .* the one step so far is saved.* --resume", said)
    assert (folder / "bad_images.txt").read_bytes() == b""
    assert [path.name for path in list_checkpoints(folder)] == ["step_000000001.pth"]


def test_a_board_that_cannot_be_written_is_said_once_and_the_run_goes_on(narrow: Narrow) -> None:
    pytest.importorskip("tensorboard")
    folder, said = narrow[0] / "board", narrow[1]["board"]
    (line,) = [line for line in log_of(folder).splitlines() if "tensorboard" in line]
    assert said == "" and re.search(rf" WARNING {folder}/tensorboard: .* \(File too large; {ROOM}\); ", line)
    assert {line["step"] for line in lines_of(folder)} == set(range(1, 6))
    assert Checkpoint.read(list_checkpoints(folder)[-1]).step == 5
    expected = [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines_of(folder)[:2]]
    assert scalars(folder / "tensorboard", "loss") == expected


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [(event.step, event.value) for event in EventAccumulator(str(folder)).Reload().Scalars(name)]


def test_a_resumed_board_drops_what_the_earlier_one_showed_of_the_same_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for first, value in ((0, 1.0), (3, 2.0)):
        board = Board(tmp_path, resume_step=first)
        for step in range(first + 1, 6):
            board.write(step, {"loss": value, "lr": float("nan")})
        board.close()
    assert scalars(tmp_path, "loss") == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert np.isnan([value for _, value in scalars(tmp_path, "lr")]).all()


@pytest.mark.parametrize("tail", [b'{"step": 3, "lo', b"\x00\x00\x00", b"\xc3", b'{"step": 3, "loss": 0.5'])
def test_a_last_line_cut_off_is_left_out_and_gone_after_a_resume(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n' + tail)
    whole = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    assert read_metrics(path) == whole
    record(tmp_path, 3, resume_step=2)
    assert read_metrics(path) == [*whole, {"step": 3, "loss": 0.5}]


def test_numbers_saved_with_the_state_are_written_once_however_often_a_run_is_resumed(tmp_path: Path) -> None:
    for _ in range(2):
        record(tmp_path, 3, resume_step=2, unwritten=[{"step": 2, "loss": 1.0}])
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 2, "loss": 1.0}, {"step": 3, "loss": 0.5}]
