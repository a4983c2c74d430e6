"""What several rooms' tests share."""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from selfsup import plugins
from selfsup.registry import KINDS, load_plugins


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from tests that expect the CPU, and from the processes that they start."""
    if re.search(r"(?<!not )\bgpu\b", config.option.markexpr) is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs more GPUs than there are: ``gpu`` stands for one, ``gpu(2)`` for two."""
    marked = [(item, mark.args[0] if mark.args else 1) for item in items for mark in item.iter_markers("gpu")]
    visible = torch.cuda.device_count() if marked else 0
    for item, needed in marked:
        if needed > visible:
            item.add_marker(pytest.mark.skip(reason=f"needs {needed} GPU, and pytest -m gpu, which shows {visible}"))


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm 1.0 imports what torch 2.14 deprecates
        return pytest.importorskip("timm")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that plugins can be installed into; afterwards they are gone from registries and modules."""
    folder = tmp_path / "site"
    folder.mkdir()
    for registry in KINDS.values():
        registry.import_from_location()
    monkeypatch.syspath_prepend(str(folder))
    modules = set(sys.modules)
    kept = [(registry, dict(registry._module_dict), dict(registry._offers)) for registry in KINDS.values()]
    _forget_plugins()
    yield folder
    for registry, components, offers in kept:
        registry._module_dict, registry._offers = components, offers
        registry._contested.clear()
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    _forget_plugins()


def _forget_plugins() -> None:
    load_plugins.cache_clear()
    plugins._distribution_of.cache_clear()
