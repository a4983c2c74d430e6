"""model_zoo.md says what the configs say."""

from pathlib import Path

import pytest

from selfsup.errors import ConfigError
from selfsup.planning.zoo import BY_HAND, COMPUTED, END, START, _backbone, recipe_row, refreshed, zoo_names
from tests.reference import record

PAGE = (Path(__file__).resolve().parents[2] / "model_zoo.md").read_text(encoding="utf-8")
ROWS = [("[a](configs/a.py)", "SwAV, ResNet 50", "1 / 2", "3 G", "4", "5 steps")]


def cells_of(page: str) -> list[tuple[str, ...]]:
    """The cells of the table of recipes, without its header."""
    table = page.partition(START)[2].partition(END)[0]
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in table.strip().splitlines()[2:]]


def small_page(
    row: str = "| [a](configs/a.py) | SwAV, ResNet 50 | 1 / 2 | 3 G | 4 | 5 steps | 75 % | not run here |",
) -> str:
    header = "| " + " | ".join((*COMPUTED, *BY_HAND)) + " |"
    rule = "|" + " --- |" * len((*COMPUTED, *BY_HAND))
    return f"before\n{START}\n{header}\n{rule}\n{row}\n{END}\nafter\n"


def test_every_config_has_one_row_and_no_other_has_any() -> None:
    assert [row[0] for row in cells_of(PAGE)] == [f"[{name}](configs/{name}.py)" for name in zoo_names()]


@pytest.mark.parametrize("name", zoo_names())
def test_a_row_is_what_its_config_gives(name: str) -> None:
    (on_page,) = [row for row in cells_of(PAGE) if row[0].startswith(f"[{name}]")]
    assert on_page[: len(COMPUTED)] == recipe_row(name), "make zoo brings the page up to date"


def test_writing_the_page_again_changes_nothing() -> None:
    assert refreshed(PAGE, [row[: len(COMPUTED)] for row in cells_of(PAGE)]) == PAGE


@pytest.mark.parametrize("row", cells_of(PAGE), ids=lambda row: row[0])
def test_what_is_reported_and_what_was_measured_is_said_for_every_config(row: tuple[str, ...]) -> None:
    reported, measured = row[len(COMPUTED) :]
    assert reported and measured
    assert measured == "not run here" or "`" in measured, "a measurement comes with its command"


def test_the_largest_model_is_the_one_of_the_conformance_records() -> None:
    row = next(row for row in cells_of(PAGE) if "seer_regnety256" in row[0])
    trunk, whole = record("regnet/regnety_256gf_seer"), record("seer/head_params")["expected"]["regnety_256gf_seer"]
    assert row[2] == f"{trunk['expected']['trunk_params']:,} / {whole['total']:,}"
    assert row[3].startswith("254.4 G at 224 px / ")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (dict(type="ResNet", depth=50, width=1), "ResNet 50"),
        (dict(type="ResNet", depth=152, width=3, selective_kernels=True), "ResNet 152 x 3 + SK"),
        (dict(type="ViT", arch="small", num_heads=12), "ViT small"),
        (dict(type="Timm", name="convnext_tiny"), "Timm convnext_tiny"),
    ],
)
def test_a_backbone_is_named_by_what_tells_its_sizes_apart(config: dict[str, object], words: str) -> None:
    assert _backbone(config) == words


@pytest.mark.parametrize(
    ("before", "after"),
    [("1 / 2", "1 / 3"), ("| 4 |", "| 8 |")],
)
def test_a_row_that_differs_from_its_config_is_corrected(before: str, after: str) -> None:
    changed = small_page().replace(before, after)
    assert changed != small_page()
    assert refreshed(changed, ROWS) == small_page()


def test_rows_come_and_go_with_their_configs() -> None:
    page = refreshed(small_page(), [("[b](configs/b.py)", *ROWS[0][1:]), *ROWS])
    assert [(row[0], row[-2:]) for row in cells_of(page)] == [
        ("[b](configs/b.py)", ("", "")),
        ("[a](configs/a.py)", ("75 %", "not run here")),
    ]
    assert cells_of(refreshed(page, ROWS)) == cells_of(small_page())


@pytest.mark.parametrize("page", ["", small_page().replace(END, ""), small_page().replace("measured", "seen")])
def test_a_page_without_the_table_is_rejected(page: str) -> None:
    with pytest.raises(ConfigError, match=r"model_zoo.md: needs '<!-- recipes"):
        refreshed(page, ROWS)
