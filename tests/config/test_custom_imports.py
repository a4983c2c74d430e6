"""Components from files that no package holds."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from selfsup.config import dump_config, load_config
from selfsup.engine.logging.metrics import read_metrics
from selfsup.engine.runner import Runner
from selfsup.errors import ConfigError
from selfsup.registry import BACKBONES
from tests.config.small import RECIPE, write
from tests.installed import BACKBONE

OWN = RECIPE.replace("dict(type='ResNet', depth=18, width=0.125)", "dict(type='OwnNet', out_dim=3)")


@pytest.fixture(autouse=True)
def forgotten(site: Path) -> Iterator[None]:
    """What a test imports is gone after it, from the search path too."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def test_the_path_holds_wherever_the_resolved_config_is_written_to(tmp_path: Path) -> None:
    write(tmp_path, BACKBONE.format(name="OwnNet"), "own_net_file.py")
    config = load_config(write(tmp_path, OWN + "custom_imports = dict(imports=['own_net_file.py'])\n"))
    assert config.custom_imports.imports == [str(tmp_path / "own_net_file.py")]
    first = BACKBONES.find("OwnNet")
    assert load_config(write(tmp_path, dump_config(config), "work_dir/config.py")) == config
    assert BACKBONES.find("OwnNet") is first
    assert BACKBONES.build(config.model["backbone"]).out_dim == 3


def test_the_path_of_a_base_is_relative_to_the_base(tmp_path: Path) -> None:
    write(tmp_path, BACKBONE.format(name="OwnNet"), "bases/own_net_file.py")
    write(tmp_path, OWN + "custom_imports = dict(imports=['own_net_file.py'])\n", "bases/base.py")
    config = load_config(write(tmp_path, "_base_ = 'bases/base.py'\ntrain_cfg = dict(max_steps=3)\n"))
    assert config.custom_imports.imports == [str(tmp_path / "bases/own_net_file.py")]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("not_there.py", None, "custom_imports.imports: {path}: no such file"),
        (
            "random.py",
            "",
            "custom_imports.imports: {path}: another module is called 'random' already (" + str(Path(sys.prefix).root),
        ),
        (
            "raises_value.py",
            "raise ValueError('no GPU here')",
            "custom_imports.imports: cannot import '{path}': ValueError: no GPU here",
        ),
        (
            "leaves.py",
            "import sys; sys.exit(0)",
            "custom_imports.imports: cannot import '{path}': SystemExit: 0",
        ),
        (
            "greedy_net.py",
            BACKBONE.format(name="ResNet"),
            "custom_imports.imports: {path}: backbone 'ResNet' is registered twice: by ",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_the_reason(
    name: str, code: str | None, said: str, tmp_path: Path
) -> None:
    if code is not None:
        write(tmp_path, code, name)
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, OWN + f"custom_imports = dict(imports='{name}')\n"))
    first = str(caught.value).splitlines()[1].strip()
    assert first.startswith(said.format(path=tmp_path / name))


def test_a_failure_may_be_passed_over_but_not_a_taken_name(tmp_path: Path) -> None:
    write(tmp_path, "raise ValueError('no GPU here')", "raises_value.py")
    write(tmp_path, BACKBONE.format(name="ResNet"), "greedy_net.py")
    text = RECIPE + "custom_imports = dict(imports='{}', allow_failed_imports=True)\n"
    assert load_config(write(tmp_path, text.format("raises_value.py"))).model["type"] == "SimCLR"
    with pytest.raises(ConfigError, match="'ResNet' is registered twice"):
        load_config(write(tmp_path, text.format("greedy_net.py")))


FORCED = BACKBONE.replace("register_module()", "register_module(force=True)")


def test_a_file_cannot_force_its_way_into_one_of_our_names(tmp_path: Path) -> None:
    file = write(tmp_path, FORCED.format(name="ResNet"), "greedy_net.py")
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, RECIPE + "custom_imports = dict(imports='greedy_net.py')\n"))
    said = str(caught.value).splitlines()[1].strip()
    assert said.startswith(f"custom_imports.imports: {file}: backbone 'ResNet' is registered twice: by ")
    assert said.endswith(
        f"and by {file}:7 (greedy_net); force=True takes no name of ours, choose another: name='OwnResNet'"
    )
    assert BACKBONES.find("ResNet").__module__ == "selfsup.backbones.resnet"


SHIFT = """
from dataclasses import dataclass

import numpy as np

from selfsup.registry import TRANSFORMS


@TRANSFORMS.register_module()
@dataclass(frozen=True)
class OwnShift:
    by: int = 1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image + np.uint8(self.by)
"""


@pytest.mark.slow
def test_worker_processes_know_the_file_too(tmp_path: Path) -> None:
    write(tmp_path, SHIFT, "parts/own_shift.py")
    text = RECIPE.replace("type='OptimWrapper'", "type='PrecisionOptimWrapper'")
    text = text.replace("type='SimCLRViews',", "type='SimCLRViews', before=[dict(type='OwnShift', by=3)],")
    config = load_config(
        write(tmp_path, text + "custom_imports = dict(imports='parts/own_shift.py')\n"),
        {"train_dataloader.num_workers": 1, "train_cfg.max_steps": 2, "work_dir": str(tmp_path / "run")},
    )
    hooks = dict.fromkeys(("pictures", "collapse", "evaluate"))
    Runner(replace(config, default_hooks=config.default_hooks | hooks), device="cpu").train()
    assert [line["step"] for line in read_metrics(tmp_path / "run/metrics.jsonl") if "loss" in line] == [1, 2]
