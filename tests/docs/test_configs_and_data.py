"""docs/configs.md and docs/data.md say what the schema and the signatures say."""

import ast
import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfsup.config import load_config
from selfsup.config.default_hooks import DEFAULT_HOOKS
from selfsup.config.recipe import DEFAULT_WRAPPER, SECTIONS, AutoScaleLr, ParamGroup, Recipe, TrainCfg
from selfsup.config.signatures import Signature, signature_of
from selfsup.config.validate import find_problems
from selfsup.data import ImageSource, split
from selfsup.data.sources.image_list import EXTENSIONS, ImageList
from selfsup.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS
from tests.config.small import RECIPE
from tests.docs.pages import Page

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIGS = (DOCS / "configs.md").read_text(encoding="utf-8")
DATA = (DOCS / "data.md").read_text(encoding="utf-8")


def tables(text: str, heading: str) -> list[dict[str, str]]:
    """Per table under a heading, the first column's names and the second column."""
    body = re.split(r"^## ", text.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE):
        cells = [line.strip("|\n ").split(" | ") for line in table.splitlines()[2:]]
        found.append({row[0].strip("`"): row[1].strip() for row in cells})
    return found


def defaults(signature: Signature, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        name: "required" if argument.required else argument.default
        for name, argument in signature.arguments.items()
        if name not in but
    }


def written(column: dict[str, str]) -> dict[str, Any]:
    return {name: ast.literal_eval(text.strip("`")) if "`" in text else text for name, text in column.items()}


@pytest.mark.parametrize(
    ("heading", "number", "signature"),
    [
        ("Top level", 0, signature_of(Recipe)),
        ("optim_wrapper", 1, signature_of(ParamGroup)),
        *((name, 0, signature_of(section)) for name, section in SECTIONS.items()),
    ],
)
def test_every_key_is_there_with_its_default(heading: str, number: int, signature: Signature) -> None:
    expected = defaults(signature)
    if heading == "Top level":  # a dataclass hides what its factories make
        fields = dataclasses.fields(Recipe)
        made = {f.name: f.default_factory() for f in fields if f.default_factory is not dataclasses.MISSING}
        expected |= {name: value if isinstance(value, list) else {} for name, value in made.items()}
    assert written(tables(CONFIGS, heading)[number]) == expected


def test_every_argument_of_the_optim_wrapper_is_there_with_its_default() -> None:
    signature = signature_of(OPTIM_WRAPPERS.find(DEFAULT_WRAPPER))
    assert written(tables(CONFIGS, "optim_wrapper")[0]) == defaults(signature, but=("optimizer",))


def test_every_schedule_and_every_default_hook_is_there() -> None:
    assert set(tables(CONFIGS, "param_scheduler")[0]) == set(PARAM_SCHEDULERS.names(inherited=False))
    assert list(tables(CONFIGS, "default_hooks")[0]) == list(DEFAULT_HOOKS)


def test_every_argument_of_an_image_list_is_there_with_its_default() -> None:
    (table,) = [table for table in tables(f"## Top\n{DATA}", "Top") if "root" in table]
    assert table.pop("extensions") == f"{len(EXTENSIONS)} of them"
    assert written(table) == defaults(signature_of(ImageList), but=("extensions",))


def test_the_example_of_evaluators_is_valid() -> None:
    (example,) = [text for text in Page("data.md").snippets if "evaluators =" in text]
    config: dict[str, Any] = {}
    exec(RECIPE, config)
    names: dict[str, Any] = {}
    exec(example, names)
    keys = set(Recipe.__dataclass_fields__)
    assert find_problems({key: value for key, value in config.items() if key in keys}) == []
    assert find_problems({key: value for key, value in {**config, **names}.items() if key in keys}) == []


def test_the_example_of_a_source_is_one(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Page("data.md").write(site)
    folders = [tmp_path / "day", tmp_path / "night"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        for group in range(10 * number, 10 * number + 10):
            for view in "ab":
                cv2.imwrite(str(folder / f"{group}_{view}.png"), np.full((4, 5, 3), group, np.uint8))
    source = importlib.import_module("two_folders").TwoFolders(*folders)
    assert isinstance(source, ImageSource)
    assert source.image(21).shape == (4, 5, 3) and source.name(21) == str(folders[1] / "10_b.png")
    parts = split(source)
    assert len(parts.test) == 4  # of either class one group
    assert len(set(parts.test.groups) & set(parts.train.groups)) == 0


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in text.splitlines() if line.startswith("#")}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert "://" in target or not file or (page.parent / file).is_file(), target
        assert not anchor or file or anchor in headings, target


def test_what_the_page_says_of_merging(tmp_path: Path) -> None:
    def written_as(text: str, *options: str) -> Recipe:
        path = tmp_path / "own.py"
        path.write_text(f"_base_ = 'simclr/simclr_scenes'\n{text}\n")
        return load_config(path, options)

    assert written_as("").auto_scale_lr == AutoScaleLr(base_batch_size=128, rule="sqrt")
    merged = AutoScaleLr(base_batch_size=64, rule="sqrt")
    assert written_as("auto_scale_lr = dict(base_batch_size=64)").auto_scale_lr == merged
    assert written_as("", "auto_scale_lr.base_batch_size=64").auto_scale_lr == merged
    replaced = AutoScaleLr(base_batch_size=64)
    assert written_as("auto_scale_lr = dict(_delete_=True, base_batch_size=64)").auto_scale_lr == replaced
    assert written_as("", "auto_scale_lr=dict(base_batch_size=64)").auto_scale_lr == replaced
    assert written_as("", "train_cfg.max_epochs=3").train_cfg == TrainCfg(max_epochs=3)
    assert written_as("train_cfg = dict(max_epochs=3, max_steps=None)").train_cfg == TrainCfg(max_epochs=3)
