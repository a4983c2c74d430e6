"""The command line: verbs, messages, exit codes."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.hooks import Hook

import selfsup
from selfsup.cli import main
from selfsup.cli.runs.train import resume_command
from selfsup.config import config_names, load_config
from selfsup.engine.interrupt import Interrupted, InterruptWatch
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.ops.launch import local_device
from selfsup.ops.precision import fast_precision
from selfsup.registry import HOOKS
from selfsup.weights.checkpoint import checkpoint_file

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
    rng = np.random.default_rng(sum(folder.name.encode()))
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
    assert main(["configs", "seer", "10b"]) == 0
    assert capsys.readouterr().out.startswith("swav/seer_regnety10b  SEER, RegNetY-10B")


def test_a_dry_run_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "swav/seer_regnety256", "--dry-run", "--processes", "512"]) == 0
    said = capsys.readouterr().out
    for part in (
        "1,431,032,042",
        "8,192 = 16 per process x 512 processes x 1",
        "122,000",
        "2 x 224 px + 4 x 96 px",
        "9.6",
        f"auto: {fast_precision(local_device())} here",
    ):
        assert part in said
    assert not Path("work_dirs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["swav/swav_resnt50"], "error: swav/swav_resnt50: no such file"),
        (["swav/swav_scenes", "--cfg-options", "model.bakbone.depth=3"], "model.bakbone: is not an argument of SwAV"),
        (["swav/swav_scenes", "--data", "nowhere"], "error: --data: no such folder or file, got 'nowhere'"),
        (["swav/swav_scenes", "--init-from", "nowhere"], "error: nowhere: no such checkpoint"),
        (["swav/swav_scenes", "--seed", "-1"], "seed: must be >= 0, got -1"),
        (["swav/swav_scenes", "--work-dir", "/dev/null/here"], "work_dir: cannot be written to (Not a directory), got"),
        (["swav/swav_scenes", "--data", selfsup.__file__], "--data: must be a folder of images, a list of"),
        (["swav/swav_scenes", "--cfg-options", "launcher=pytorch"], "launcher: is not a key of a config"),
    ],
)
def test_errors_of_the_user_are_one_message_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    heard = capsys.readouterr()
    assert said in heard.err
    assert "Traceback" not in heard.err


def test_letters_that_a_terminal_does_not_have_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["train", "simclr/simclr_scenes", "--data", "Bücher"]) == 2
    assert rb"B\xfccher" in terminal.buffer.getvalue()  # type: ignore[attr-defined]


def test_own_images_are_trained_on_with_the_recipes_scaling(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "simclr/simclr_scenes", "--data", str(images(Path("mine"))), "--auto-scale-lr", *TINY]
    assert main(command) == 0
    work_dir = Path("work_dirs/simclr_scenes")
    rows = [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2]
    said = " ".join(capsys.readouterr().out.split())
    assert "effective batch 4 = 4 x 1 x 1; the recipe's is 128" in said
    assert "by the recipe's sqrt rule; the recipe's is" in said
    assert "evaluators (knn, linear, spread): those that need labels are left out" in said
    assert "held out from training" not in said
    config = load_config(work_dir / "config.py")
    assert config.train_dataloader.dataset == {
        **load_config("simclr/simclr_scenes", images="mine").train_dataloader.dataset,
        "root": str(Path("mine").absolute()),  # found from any folder later
    }


def test_labelled_images_are_held_out_in_part_and_a_test_goes_by_the_split_of_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine").mkdir()
    for name in ("cat", "dog"):
        images(Path("mine", name))
    options = [*TINY, "train_dataloader.dataset.labels=folder"]
    assert main(["train", "simclr/simclr_scenes", "--data", "mine", *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "learn from one part of --data and evaluate another, which is held out from the training" in said
    assert "held out from training: 2 (val) and 2 (test) of 16 images; 12 are trained on" in said
    split = json.loads(Path("work_dirs/simclr_scenes/split.json").read_text())
    assert sorted(name.split("/")[0] for name in split["names"]["test"]) == ["cat", "dog"]
    for weights in ("work_dirs/simclr_scenes", "work_dirs/simclr_scenes/backbone.safetensors"):
        assert main(["test", "work_dirs/simclr_scenes/config.py", weights, "--device=cpu"]) == 0
        assert "note: " not in capsys.readouterr().out
        assert "knn/top1" in json.loads(Path("work_dirs/simclr_scenes/scores.json").read_text())
    words = ["test", "work_dirs/simclr_scenes/config.py", "work_dirs/simclr_scenes", "--device=cpu"]
    assert main([*words, "--baselines", "--work-dir", "beside"]) == 0
    shown = capsys.readouterr().out
    assert "image statistics" in shown and "untrained" in shown
    scores = (json.loads(Path(folder, "scores.json").read_text()) for folder in ("work_dirs/simclr_scenes", "beside"))
    assert len({json.dumps({**each, "of": ""}) for each in scores}) == 1  # those of the checkpoint alone
    lines = Path("beside/results.jsonl").read_text().splitlines()
    names = [json.loads(line)["representation"]["name"] for line in lines]
    assert {"image statistics", "untrained"} < set(names)
    assert main([*words, "--flips", "--work-dir", "mirrored"]) == 0
    mirrored = [json.loads(line)["representation"] for line in Path("mirrored/results.jsonl").read_text().splitlines()]
    assert mirrored and all(each["flips"] for each in mirrored)
    capsys.readouterr()
    alone = Path("backbone.safetensors")
    alone.write_bytes(Path(weights).read_bytes())
    assert main(["test", "work_dirs/simclr_scenes/config.py", str(alone), "--device=cpu"]) == 0
    assert f"note: {alone} does not say which images it was trained on" in capsys.readouterr().out


def test_so_few_labelled_images_that_none_can_be_watched_are_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    images(Path("few"))
    names = sorted(path.name for path in Path("few").iterdir())[:8]
    rows = [f"{name},{label}" for name, label in zip(names, (0, 0, 5, 5, 10, 10, -1, -1), strict=True)]
    Path("few", "list.csv").write_text("\n".join(["path,label", *rows]))
    options = [*TINY, "train_dataloader.batch_size=2", "train_dataloader.dataset.labels=column"]
    assert main(["train", "simclr/simclr_scenes", "--data", "few/list.csv", *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "too few images for any to be watched" in said and "spread/rankme" in said
    assert Path("work_dirs/simclr_scenes/curves.png").is_file()


def test_scores_lie_beside_the_checkpoint_and_say_what_was_scored(capsys: pytest.CaptureFixture[str]) -> None:
    small = [*TINY, "train_dataloader.dataset.split=test", "train_dataloader.dataset.variants=1"]
    spread = "evaluators={'spread': {'type': 'Spread'}}"
    assert main(["train", "simclr/simclr_scenes", "--work-dir", "own", *small, spread]) == 0
    assert main(["test", "simclr/simclr_scenes", "own", *small, spread]) == 0
    assert not Path("work_dirs/simclr_scenes").exists()
    scores = json.loads(Path("own/scores.json").read_text())
    of = {"checkpoint": "own/checkpoints/step_000000002.pth", "step": 2, "config": "simclr/simclr_scenes"}
    assert scores.pop("of") == of
    assert all(name.startswith("spread/") and isinstance(value, float) for name, value in scores.items())
    capsys.readouterr()
    assert main(["test", "own/config.py", "own/backbone.safetensors", "--work-dir", "elsewhere", "--device=cpu"]) == 0
    assert json.loads(Path("elsewhere/scores.json").read_text())["of"] == {
        "checkpoint": "own/backbone.safetensors",
        "step": None,
        "config": "own/config.py",
    }
    assert "own/backbone.safetensors\n" in capsys.readouterr().out


def test_ctrl_c_before_the_training_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("selfsup.cli.runs.train.load_and_try", interrupted)
    assert main(["train", "simclr/simclr_scenes"]) == 130
    assert capsys.readouterr().err == "\nstopped before anything was trained or written\n"


def test_the_command_begins_without_the_imports_that_take_long() -> None:
    code = "import sys, selfsup.cli.main; print(sorted({'torch', 'mmengine', 'cv2', 'rich'} & set(sys.modules)))"
    where = Path(selfsup.__file__).parents[1]
    begun = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=where)
    assert begun.stdout == "[]\n"


def test_after_ctrl_c_the_command_that_goes_on_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Runner) -> None:
        raise Interrupted(7)

    monkeypatch.setattr(Runner, "train", interrupted)
    monkeypatch.setattr("sys.argv", ["/usr/bin/selfsup", "train", "simclr/simclr_scenes", "--work-dir", "my dir"])
    assert main(["train", "simclr/simclr_scenes", "--work-dir", "my dir", *TINY]) == 130
    said = capsys.readouterr().err
    assert "stopped after step 7; everything is saved. Resume with:" in said
    assert "  selfsup train simclr/simclr_scenes --work-dir 'my dir' --resume\n" in said


def test_a_job_that_is_started_again_needs_its_first_weights_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    once = ["train", "simclr/simclr_scenes", "--device", "cpu", *TINY]
    assert main([*once, "--work-dir", "first"]) == 0
    weights = checkpoint_file("first")
    job = [*once, "--work-dir", "run", "--resume", "--init-from"]
    capsys.readouterr()
    assert main([*job, str(weights)]) == 0
    assert f"starting from the weights of {weights}" in capsys.readouterr().out
    weights.unlink()
    for named in (str(weights), "first", "nowhere.pth"):
        assert main([*job, named]) == 0
        said = capsys.readouterr().out
        assert f"{named} (load_from, --init-from) is not used: the run resumes from its own checkpoint" in said
        assert ("and began with" in said) == (named != str(weights))
        assert load_config("run/config.py").load_from == str(weights)
    assert main([*once, "--work-dir", "fresh", "--resume", "--init-from", "nowhere.pth"]) == 2
    assert "nowhere.pth: no such checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_is_the_one_that_stopped_the_run(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with InterruptWatch() as watch:
        assert (watch.asked, watch.number) == (False, signal.SIGINT)
        signal.raise_signal(number)
        assert (watch.asked, watch.number) == (True, number)
    assert capsys.readouterr().out == "\nfinishing this step, then saving\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tain", "x"], "invalid choice: 'tain' (choose from"),
        (["export", "a", "b", "--output", "c", "--format", "onx"], "invalid choice: 'onx' (choose from"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    heard = capsys.readouterr().err
    right = "train" if words[0] == "tain" else "onnx"
    assert left.value.code == 2 and said in heard and heard.endswith(f"; did you mean '{right}'?\n")


@pytest.mark.parametrize("more", [["--processes", "2"], ["--processes", "0", "--dry-run"]])
def test_processes_are_for_planning_only(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "swav/swav_scenes", *more]) == 2
    said = f"error: --processes: must be >= 1, and plans for that many with --dry-run, got {more[1]}; "
    assert said in capsys.readouterr().err


LAUNCHED = {
    "one machine": {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8", "GROUP_WORLD_SIZE": "1", "MASTER_PORT": "29500"},
    "four machines": {
        "WORLD_SIZE": "32",
        "LOCAL_WORLD_SIZE": "8",
        "GROUP_WORLD_SIZE": "4",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "node1",
        "MASTER_PORT": "29500",
    },
    "slurm": {"SLURM_NNODES": "4", "SLURM_NTASKS_PER_NODE": "8", "SLURM_NTASKS": "32"},
    "slurm with GPUs": {
        "SLURM_JOB_PARTITION": "a100",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_NTASKS": "8",
        "SLURM_CPUS_PER_TASK": "12",
    },
}


@pytest.mark.parametrize(
    ("where", "argv", "expected"),
    [
        ("one machine", ["train.py", "c"], "torchrun --standalone --nproc_per_node=8 train.py c --resume"),
        (
            "four machines",
            ["x/selfsup/__main__.py", "train", "c"],
            "torchrun --nproc_per_node=8 --nnodes=4 --node_rank=0 --master_addr=node1 --master_port=29500 "
            "-m selfsup train c --resume",
        ),
        (
            "one machine",
            ["/bin/selfsup", "train"],
            "torchrun --standalone --nproc_per_node=8 --no-python selfsup train --resume",
        ),
        ("slurm", ["train.py"], "srun --nodes=4 --ntasks-per-node=8 --ntasks=32 python train.py --resume"),
        (
            "slurm with GPUs",
            ["train.py", "c"],
            "srun --partition=a100 --nodes=2 --gres=gpu:4 --ntasks-per-node=4 --ntasks=8 --cpus-per-task=12 python "
            "train.py c --resume",
        ),
    ],
)
def test_the_command_that_goes_on_starts_as_many_processes_in_the_same_places(
    where: str, argv: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {name for names in LAUNCHED.values() for name in names}:
        monkeypatch.delenv(name, raising=False)
    for name, value in LAUNCHED[where].items():
        monkeypatch.setenv(name, value)
    assert resume_command(argv, "slurm" if where.startswith("slurm") else "pytorch") == expected


@pytest.mark.parametrize(
    ("argv", "launcher", "expected"),
    [
        (["tools/train.py", "c"], "none", "python tools/train.py c --resume"),
        (["x/selfsup/__main__.py", "train", "c"], "none", "python -m selfsup train c --resume"),
        (["/bin/selfsup", "train", "c", "--resume"], "none", "selfsup train c --resume"),
        (["train.py", "c"], "pytorch", "torchrun --standalone --nproc_per_node=1 train.py c --resume"),
        (["train.py", "c"], "slurm", "srun python train.py c --resume"),
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_given(argv: list[str], launcher: str, expected: str) -> None:
    assert resume_command(argv, launcher) == expected


def test_the_dry_run_says_which_weights_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "simclr/simclr_v2_distill_resnet50", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "note: model.teacher_checkpoint: work_dirs/simclr_v2_finetune_resnet152_w3_sk: " in said
    assert "HiddenLayers" not in said
    command = ["train", "simclr/simclr_v2_finetune_resnet50", "--dry-run"]
    assert main(command) == 0
    assert "without --init-from they and the backbone start at random" in capsys.readouterr().out
    Path("some.pth").touch()
    assert main([*command, "--init-from", "some.pth"]) == 0
    assert "start at random" not in capsys.readouterr().out


def test_the_dry_run_says_that_a_run_ends_in_its_warm_up(capsys: pytest.CaptureFixture[str]) -> None:
    for steps, said in ((70, True), (71, False)):
        options = [f"train_cfg.max_steps={steps}", "param_scheduler.warmup_steps=70"]
        assert main(["train", "simclr/simclr_scenes", "--dry-run", "--cfg-options", *options]) == 0
        assert (f"the warm-up takes 70 steps and the run has {steps}" in capsys.readouterr().out) == said


def test_a_run_that_cannot_start_leaves_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("new", "mine"):
        if folder == "mine":
            Path(folder).mkdir()
        assert main(["train", "swav/swav_resnet50", "--work-dir", folder, "--device=cpu"]) == 2
        assert "no such file or folder: data/imagenet/train" in (said := capsys.readouterr().err)
        assert said.endswith("; --data trains on other images\n")
    assert not Path("new").exists()
    assert Path("mine").is_dir()
    assert (
        main(["train", "simclr/simclr_scenes", "--work-dir", "begun", *TINY, "custom_hooks=[{'type': 'Stops'}]"]) == 2
    )
    assert Path("begun/environment.json").is_file()


@HOOKS.register_module()
class Stops(Hook):
    def before_train(self, runner: object) -> None:
        raise ConfigError("stopped by a hook")
