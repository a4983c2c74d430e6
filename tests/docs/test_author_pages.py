"""The files on the pages for authors of components work as they stand."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from selfsup.cli import main
from selfsup.engine.logging.metrics import read_metrics
from tests.docs.pages import DOCS, Page

PAGES = {name: Page(name) for name in ("dino.md", "evaluators.md", "hooks.md", "views.md")}
SHORT = ["--device=cpu", "--cfg-options", "train_cfg.max_steps=3", "train_dataloader.batch_size=8"]
LOGGED = {
    "dino.md": {"teacher_temperature", "weight_decay"},
    "evaluators.md": {"ridge/top1", "used/dimensions"},
    "hooks.md": {"loss_jump"},
}
"""What a run of a page's config must find in its metrics."""


@pytest.fixture
def page(request: pytest.FixtureRequest, site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.chdir(PAGES[request.param].write(site))
    yield PAGES[request.param]


@pytest.mark.parametrize("page", PAGES, indirect=True)
def test_its_files_work(page: Page) -> None:
    tests: list[tuple[str, Callable[[], Any]]] = list(page.tests())
    assert tests
    for _, test in tests:
        test()
    for snippet in page.snippets:
        exec(snippet, {})


@pytest.mark.parametrize("page", PAGES, indirect=True)
def test_its_config_trains(page: Page, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    config = page.config()
    assert main(["train", config, *SHORT, "train_dataloader.num_workers=0"]) == 0
    logged = set().union(*read_metrics(Path("work_dirs", config.removesuffix(".py"), "metrics.jsonl")))
    assert logged >= LOGGED.get(request.node.callspec.params["page"], set())


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_names_of_ours_are_there(name: str) -> None:
    for found in re.findall(r"`(selfsup\.[\w.]+)`", Page(name).text):
        module, _, last = found.rpartition(".")
        assert hasattr(importlib.import_module(module), last) or importlib.util.find_spec(found), found
