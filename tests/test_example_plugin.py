"""plugins/example_plugin is a package of its own: it installs, its tests pass, and its config trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

from selfsup.engine.logging.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "plugins" / "example_plugin"
PLACES = {"backbone": "ConvMixer", "loss": "AlignUniformLoss", "transform": "Posterize", "evaluator": "NearestMean"}


def run(*words: str | Path, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """A command of this Python, with an installed package and ours, and nothing else of the checkout."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_our_wheel_does_not_hold_it() -> None:
    assert not [name for name in find_packages(str(ROOT), include=["selfsup*"]) if "plugin" in name]
    assert "plugins" not in (ROOT / "MANIFEST.in").read_text().split()


def test_it_does_not_touch_our_tree() -> None:
    for path in SOURCE.rglob("*.py"):
        assert "sys.path" not in path.read_text() and "from tests" not in path.read_text(), path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip puts it."""
    target = tmp_path_factory.mktemp("installed")
    copy = tmp_path_factory.mktemp("source") / "example_plugin"
    ignored = [path for path in SOURCE.rglob("*") if "__pycache__" in path.parts]
    for path in sorted(set(SOURCE.rglob("*")) - set(ignored)):
        if path.is_file():
            place = copy / path.relative_to(SOURCE)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--target", target]
    result = run("-m", "pip", "install", *options, copy, folder=target, path=target)
    assert result.returncode == 0, result.stderr
    return target


def test_it_installs_and_its_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "-c", os.devnull]
    result = run("-m", "pytest", *options, SOURCE / "tests", folder=tmp_path, path=installed)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_its_components_are_found_and_named_as_its_own(installed: Path, tmp_path: Path) -> None:
    listed = run("-m", "selfsup", "list", folder=tmp_path, path=installed)
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert {line[1] for line in lines if line[2:4] == ["selfsup-example-plugin", "1.0.0"]} == {
        *PLACES.values(),
        "WeightNormHook",
    }


@pytest.mark.slow
def test_its_config_trains_with_every_component(installed: Path, tmp_path: Path) -> None:
    config = "example_plugin/align_uniform_scenes"
    options = ["train_cfg.max_steps=10", "train_dataloader.batch_size=8", "evaluators.knn.k=5"]
    result = run("-m", "selfsup", "train", config, "--device=cpu", "--cfg-options", *options, folder=tmp_path,
                 path=installed)  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    lines = read_metrics(tmp_path / "work_dirs/align_uniform_scenes/metrics.jsonl")
    numbers = {name for line in lines for name in line}
    assert {"loss", "weights/norm", "nearest_mean/top1", "knn/top1"} <= numbers
    assert len([line for line in lines if "loss" in line]) == 10
    written = (tmp_path / "work_dirs/align_uniform_scenes/config.py").read_text()
    assert all(f"'{name}'" in written or f'"{name}"' in written for name in PLACES.values())
