"""The skeleton of a plugin works as it is written."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from selfsup.cli import main
from selfsup.cli.about.new_plugin import component_name, write_plugin
from selfsup.errors import ConfigError
from tests.installed import BACKBONE, install


def test_it_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "bird_nets"]) == 0
    said = capsys.readouterr().out
    assert "pip install -e bird_nets" in said and "selfsup show BirdNetsNet" in said
    assert said.endswith("selfsup train bird_nets/bird_nets_scenes\n")
    assert sorted(path.relative_to("bird_nets").as_posix() for path in Path("bird_nets").rglob("*.*")) == [
        "README.md",
        "pyproject.toml",
        "src/bird_nets/__init__.py",
        "src/bird_nets/backbone.py",
        "src/bird_nets/configs/__init__.py",
        "src/bird_nets/configs/bird_nets_scenes.py",
        "tests/test_bird_nets.py",
    ]


def test_it_is_formatted_and_linted_as_our_own(tmp_path: Path) -> None:
    folder = write_plugin("bird_nets", tmp_path)
    for words in (["format", "--check"], ["check"]):
        options = ["--config", "line-length = 120", "--config", "lint.select = ['E', 'F', 'I', 'UP', 'B', 'SIM']"]
        command = [str(Path(sys.executable).parent / "ruff"), *words, *options, "--isolated", "--no-cache", "."]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bird-nets", "did you mean 'bird_nets'?"),
        ("class", ""),
        ("na\u00efve_net", "did you mean 'naive_net'?"),
        ("torch", "choose another"),
        ("res", "choose another"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_is_rejected(name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_plugin(name, tmp_path)
    (problem,) = caught.value.problems
    assert (problem.path, problem.got, problem.expected) == ("new-plugin", name, expected)
    assert not list(tmp_path.iterdir())


def test_a_name_whose_component_a_plugin_has_is_rejected(site: Path, tmp_path: Path) -> None:
    install(site, "other_nets", BACKBONE.format(name=component_name("bird_nets")))
    with pytest.raises(ConfigError, match="would register 'BirdNetsNet', which is taken"):
        write_plugin("bird_nets", tmp_path)


@pytest.mark.slow
def test_what_it_says_to_do_next_works_where_it_is_said(tmp_path: Path) -> None:
    python = environment_of_its_own(tmp_path / "venv")
    assert run("-m", "selfsup", "new-plugin", "bird_nets", python=python, cwd=tmp_path).startswith(
        "written to bird_nets"
    )
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-build-isolation"]
    installed = subprocess.run([*pip, "-e", "bird_nets"], cwd=tmp_path, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    tested = run(
        "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "bird_nets", python=python, cwd=tmp_path
    )
    assert "3 passed" in tested
    place = f"module  bird_nets.backbone\nfile    {tmp_path}/bird_nets/src/bird_nets/backbone.py:"
    assert f"from    bird-nets 0.1.0\n{place}" in run(
        "-m", "selfsup", "show", "BirdNetsNet", python=python, cwd=tmp_path
    )
    short = ("train_cfg.max_steps=1", "train_dataloader.num_workers=0", "evaluators=dict()", "evaluate_every=0")
    command = ("train", "bird_nets/bird_nets_scenes", "--work-dir", "trained", "--cfg-options", *short)
    run("-m", "selfsup", *command, python=python, cwd=tmp_path)
    assert list(Path(tmp_path, "trained").glob("backbone.*"))


def environment_of_its_own(folder: Path) -> Path:
    """A Python that has every package of this one, and room for more."""
    venv.create(folder)
    inside = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
    Path(inside, "base.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


def run(*words: str, python: Path, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    result = subprocess.run([str(python), *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
