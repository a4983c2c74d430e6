"""What several rooms' tests share."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from selfsup import plugins
from selfsup.registry import KINDS, load_plugins


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
