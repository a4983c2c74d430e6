"""The scripts of tools/, and the installed package."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from selfsup.config import config_names

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "tools").glob("*.sh")])
RECIPE = "simclr/simclr_scenes"


def run(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=variables, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_a_tool_is_thin(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 15


@pytest.mark.parametrize("path", [path for path in TOOLS if path.suffix == ".sh"], ids=lambda path: path.name)
def test_a_shell_script_says_how_it_is_used(path: Path, tmp_path: Path) -> None:
    assert os.access(path, os.X_OK)
    result = run("bash", path, folder=tmp_path)
    assert result.returncode != 0
    assert f"usage: tools/{path.name}" in result.stderr


@pytest.mark.parametrize(("restarts", "there"), [("", False), ("3", True)])
def test_processes_that_are_started_again_resume(restarts: str, there: bool, tmp_path: Path) -> None:
    (tmp_path / "torchrun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "torchrun").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    options = {"PATH": path, **({"MAX_RESTARTS": restarts} if restarts else {})}
    said = run("bash", ROOT / "tools/dist_train.sh", RECIPE, "2", "--seed=1", folder=tmp_path, **options).stdout.split()
    assert said[-1] == "--seed=1"
    assert ("--max-restarts=3" in said, "--resume" in said) == (there, there)


@pytest.mark.slow
def test_a_tool_works_from_any_folder(tmp_path: Path) -> None:
    result = run(sys.executable, ROOT / "tools/train.py", RECIPE, "--dry-run", folder=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode == 0, result.stderr
    assert "effective batch" in result.stdout


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_train_and_test_on_a_cpu(tmp_path: Path) -> None:
    result = run(
        "bash", ROOT / "tools/dist_train.sh", RECIPE, "2", "--device=cpu", "--cfg-options", "train_cfg.max_steps=2",
        "train_dataloader.batch_size=4", "train_dataloader.num_workers=0", "model.backbone.widths=[16,32,48,64]",
        "evaluators={}", folder=tmp_path, PYTHONPATH=str(ROOT),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert "effective batch 8 = 4 x 2 x 1" in result.stdout
    assert (tmp_path / "work_dirs/simclr_scenes/backbone.safetensors").is_file()
    for complaint in ("FutureWarning", "destroy_process_group"):
        assert complaint not in result.stderr
    config = tmp_path / "work_dirs/simclr_scenes/config.py"
    evaluators = "evaluators={'spread': {'type': 'Spread'}}"
    result = run(
        "bash", ROOT / "tools/dist_test.sh", config, tmp_path / "work_dirs/simclr_scenes", "2", "--device=cpu",
        "--cfg-options", evaluators, folder=tmp_path, MASTER_PORT="29518", PYTHONPATH=str(ROOT),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert "spread/rankme" in (tmp_path / "work_dirs/simclr_scenes/scores.json").read_text()


def test_every_pattern_of_shipped_files_matches_something() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["selfsup"].split()
    assert patterns and not [pattern for pattern in patterns if not list((ROOT / "selfsup").glob(pattern))]


def test_tools_of_the_checks_are_pinned() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert not [tool for tool in setup["options.extras_require"]["dev"].split() if "==" not in tool]


@pytest.mark.slow
def test_the_wheel_ships_configs_and_images_and_finds_them_from_any_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("selfsup", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "README.md").touch()
    options = ("--no-deps", "--no-build-isolation", "-w", tmp_path)
    result = run(sys.executable, "-m", "pip", "wheel", source, *options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {f"selfsup/configs/{name}.py" for name in config_names()} <= files
    for folder in ("emoji", "photos"):
        shipped = {f"selfsup/data/{folder}/{path.name}" for path in (ROOT / "selfsup/data" / folder).iterdir()}
        assert shipped <= files
    template = ROOT / "selfsup/cli/plugin_template"
    assert {path.relative_to(ROOT).as_posix() for path in template.rglob("*.tmpl")} <= files
    command = [sys.executable, "-m", "selfsup", "configs"]
    listed = run(*command, folder=tmp_path, PYTHONPATH=str(tmp_path / "installed"))
    assert [line.split()[0] for line in listed.stdout.splitlines()] == config_names()
    code = "from selfsup.config import *; print(find_config('swav_scenes')); load_config('swav_scenes')"
    found = run(sys.executable, "-c", code, folder=tmp_path, PYTHONPATH=str(tmp_path / "installed"))
    assert found.stdout.strip() == str(tmp_path / "installed/selfsup/configs/swav/swav_scenes.py"), found.stderr


@pytest.mark.parametrize(("code", "requeued"), [(138, True), (0, False), (2, False)])
def test_a_job_is_queued_again_when_its_time_was_up_and_not_otherwise(
    tmp_path: Path, code: int, requeued: bool
) -> None:
    for name, script in (("srun", f'echo srun "$@"; exit {code}'), ("scontrol", 'echo scontrol "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "TOOLS": str(ROOT / "tools")}
    result = run("bash", ROOT / "tools/slurm_requeue.sh", RECIPE, "--work-dir=x", folder=tmp_path, **environment)
    assert f"train.py {RECIPE} --launcher slurm --resume --work-dir=x" in result.stdout
    assert ("scontrol requeue 7" in result.stdout) == requeued
    assert result.returncode == (0 if requeued else code)
