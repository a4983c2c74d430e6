"""The command line: verbs, messages, exit codes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.cli import main
from selfsup.cli.train import resume_command
from selfsup.config import config_names, load_config
from selfsup.engine.interrupt import Interrupted
from selfsup.engine.pretrained import checkpoint_file
from selfsup.engine.runner import Runner

TINY = [
    "--device=cpu",
    "--cfg-options",
    "train_cfg.max_steps=2",
    "train_dataloader.batch_size=4",
    "train_dataloader.num_workers=0",
    "model.backbone.widths=[16,32,48,64]",
    "optim_wrapper.precision=fp32",
]


def images(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (40, 50, 3), np.uint8))
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_configs_lists_every_config_with_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == config_names()
    assert main(["configs", "seer", "256"]) == 0
    assert capsys.readouterr().out.startswith("swav/seer_regnety256  SEER, RegNetY-256GF")


def test_a_dry_run_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "swav/seer_regnety256", "--dry-run", "--processes", "512"]) == 0
    said = capsys.readouterr().out
    for part in (
        "1,431,032,042",
        "8,192 = 16 per process x 512 processes x 1",
        "122,000",
        "2 x 224 px + 4 x 96 px",
        "9.6",
    ):
        assert part in said
    assert not Path("work_dirs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["swav/swav_resnt50"], "error: swav/swav_resnt50: no such file"),
        (["swav/swav_scenes", "--cfg-options", "model.bakbone.depth=3"], "model.bakbone: is not an argument of SwAV"),
        (["swav/swav_scenes", "--data", "nowhere"], "error: nowhere: no such folder or file"),
        (["swav/swav_scenes", "--init-from", "nowhere"], "error: nowhere: no such checkpoint"),
        (["swav/swav_scenes", "--seed", "-1"], "seed: must be >= 0, got -1"),
        (["swav/swav_scenes", "--init-from", "."], "error: .: no checkpoints in this folder"),
    ],
)
def test_errors_of_the_user_are_one_message_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    heard = capsys.readouterr()
    assert said in heard.err
    assert "Traceback" not in heard.err


def test_a_work_dir_that_cannot_be_written_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("a file")
    assert main(["train", "simclr/simclr_scenes", "--work-dir", "taken/here", *TINY]) == 2
    assert "error: work_dir: cannot write to taken/here" in capsys.readouterr().err


def test_own_images_are_trained_on_with_the_recipes_scaling(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "simclr/simclr_scenes", "--data", str(images(Path("mine"))), "--auto-scale-lr", *TINY]
    assert main(command) == 0
    work_dir = Path("work_dirs/simclr_scenes")
    rows = [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [0, 1]
    said = " ".join(capsys.readouterr().out.split())
    assert "effective batch 4 = 4 x 1 x 1; the recipe's is 128" in said
    assert "by the recipe's sqrt rule; the recipe's is" in said
    assert "learn from one part of --data and judge another" in said
    assert "held out from them, but not from the training, which sees all images" in said
    config = load_config(work_dir / "config.py")
    assert config["train_dataloader"]["dataset"] == {
        **load_config("simclr/simclr_scenes", images="mine")["train_dataloader"]["dataset"],
        "root": "mine",
    }


def test_after_ctrl_c_the_command_that_goes_on_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Runner) -> None:
        raise Interrupted(7)

    monkeypatch.setattr(Runner, "train", interrupted)
    monkeypatch.setattr("sys.argv", ["/usr/bin/selfsup", "train", "simclr/simclr_scenes", "--work-dir", "my dir"])
    assert main(["train", "simclr/simclr_scenes", "--work-dir", "my dir", *TINY]) == 130
    said = capsys.readouterr().err
    assert "stopped after step 7; everything is saved. Go on with:" in said
    assert "  selfsup train simclr/simclr_scenes --work-dir 'my dir' --resume\n" in said


@pytest.mark.parametrize(
    ("argv", "launcher", "expected"),
    [
        (["tools/train.py", "c"], "none", "python tools/train.py c --resume"),
        (["x/selfsup/__main__.py", "train", "c"], "none", "python -m selfsup train c --resume"),
        (["/bin/selfsup", "train", "c", "--resume"], "none", "selfsup train c --resume"),
        (["train.py", "c"], "pytorch", "torchrun --nproc_per_node=1 train.py c --resume"),
        (["train.py", "c"], "slurm", "srun python train.py c --resume"),
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_given(argv: list[str], launcher: str, expected: str) -> None:
    assert resume_command(argv, launcher) == expected


def test_a_checkpoint_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "swav/swav_scenes", "nowhere.pth"]) == 2
    assert capsys.readouterr().err == "error: nowhere.pth: no such checkpoint\n"


def test_without_evaluators_there_is_nothing_to_test(capsys: pytest.CaptureFixture[str]) -> None:
    Path("some.pth").touch()
    assert main(["test", "swav/swav_scenes", "some.pth", "--cfg-options", "evaluators={}"]) == 2
    assert "evaluators: the config has none" in capsys.readouterr().err


def test_a_work_dir_stands_for_its_newest_checkpoint() -> None:
    for step in (5, 40, 7):
        path = Path(f"run/checkpoints/step_{step:09d}.pth")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert checkpoint_file("run") == Path("run/checkpoints/step_000000040.pth")
    assert checkpoint_file("run/checkpoints/step_000000005.pth").name == "step_000000005.pth"
