"""Jobs of Slurm, with programs on the PATH that stand in for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfsup.cli import main
from selfsup.cli.runs.slurm import submit_run
from selfsup.errors import ConfigError

pytest.importorskip("submitit")

PROGRAMS = {
    "sbatch": 'cp "$1" {folder}/job.sh; echo "Submitted batch job 123"',
    "srun": 'while [[ $1 == -* ]]; do [[ $1 != --output ]] || shift; shift; done; "$@"',  # runs it once
    "scontrol": 'echo "$@" >> {folder}/scontrol.log',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the submitted script and calls of scontrol arrive."""
    (folder := tmp_path / "bin").mkdir()
    for name, text in PROGRAMS.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text.format(folder=folder)}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def script(slurm: Path) -> list[str]:
    return (slurm / "job.sh").read_text().splitlines()


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (138, True)])
def test_a_job_is_queued_again_when_its_time_was_up(slurm: Path, tmp_path: Path, code: int, requeued: bool) -> None:
    command = [sys.executable, "-c", f"import sys; print('here', flush=True); sys.exit({code})"]
    number, log = submit_run(command, folder=tmp_path / "logs", options={"nodes": 2, "tasks_per_node": 4})
    assert (number, log) == ("123", tmp_path / "logs" / "123_0_log.out")
    lines = script(slurm)
    assert {"#SBATCH --signal=USR1@300", "#SBATCH --requeue", "#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=4"} <= {
        *lines
    }
    environment = {**os.environ, "SLURM_JOB_ID": "123", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}
    done = subprocess.run(["bash", slurm / "job.sh"], env=environment, capture_output=True, text=True, timeout=60)
    assert "here" in done.stdout and done.returncode == (0 if requeued else code), done.stderr
    assert (slurm / "scontrol.log").exists() == requeued
    if requeued:
        assert (slurm / "scontrol.log").read_text() == "requeue 123\n"


def test_each_task_gets_its_cores_and_a_job_what_else_is_asked_for(slurm: Path, tmp_path: Path) -> None:
    own = {"slurm_additional_parameters": {"reservation": "night"}}
    submit_run(["true"], folder=tmp_path, options={"cpus_per_task": 6, **own})
    assert {"#SBATCH --reservation=night", "#SBATCH --signal=USR1@300"} <= {*script(slurm)}
    (line,) = [line for line in script(slurm) if line.startswith("srun ")]
    assert "--cpus-per-task=6" in line and "--kill-on-bad-exit=1" in line


@pytest.mark.parametrize("options", [{"partitoin": "gpu"}, {"slurm_partitoin": "gpu"}, {"nodes": "two"}])
def test_an_unknown_option_is_rejected(slurm: Path, tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        submit_run(["true"], folder=tmp_path, options=options)
    assert caught.value.problems[0].path == "--slurm"


def test_train_submits_its_own_command(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    words = ["train", "simclr/simclr_scenes", "--slurm", "nodes=2", "slurm_partition=gpu", "--cfg-options", "seed=3"]
    monkeypatch.setattr(sys, "argv", ["selfsup", *words])
    assert main(words) == 0
    assert "submitted job 123" in (said := capsys.readouterr().out) and "123_0_log.out" in said
    assert "#SBATCH --partition=gpu" in script(slurm)
    saved = tmp_path / "work_dirs" / "simclr_scenes" / "slurm" / "123_submitted.pkl"
    delayed = submitit.core.utils.DelayedSubmission.load(saved)
    assert delayed.function is os.execv
    program, command = delayed.args
    expected = "-u -m selfsup train simclr/simclr_scenes --cfg-options seed=3 --work-dir work_dirs/simclr_scenes"
    assert command == [program, *expected.split(), "--launcher", "slurm", "--resume"]


def test_train_says_what_is_wrong_with_a_config_before_it_submits(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "simclr/simclr_scenes", "--slurm", "nodes=2", "--cfg-options", "sed=3"]
    assert main(words) != 0
    assert "sed" in capsys.readouterr().err and not (slurm / "job.sh").exists()
