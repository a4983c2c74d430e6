"""Hierarchies of classes: three sources, one tree, and what is broken is named."""

from pathlib import Path
from typing import Any

import pytest

from selfsup.data.hierarchy import Hierarchy
from selfsup.errors import ConfigError, DataError, Problem

CLASSES = ["beagle", "poodle", "siamese", "oak"]
PARENTS = {"beagle": "dog", "poodle": "dog", "dog": "animal", "siamese": "cat", "cat": "animal", "animal": "entity"}
PARENTS |= {"oak": "plant", "plant": "entity"}
KINDS = ["animal", "animal", "animal", "plant"]


def the_problem(given: Any, classes: list[str] = CLASSES) -> Problem:
    with pytest.raises((ConfigError, DataError)) as error:
        Hierarchy.of(given, classes).check(classes)
    return error.value.problems[0]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "taxa.csv"
    path.write_text("kingdom,family,class\nanimal,dog,beagle\nanimal,dog,poodle\nanimal,cat,siamese\nplant,tree,oak\n")
    return path


def test_a_table_nested_folders_and_a_list_of_parents_give_the_same_taxa(table: Path, tmp_path: Path) -> None:
    lines = tmp_path / "is_a.txt"
    lines.write_text("".join(f"{parent} {child}\n" for child, parent in PARENTS.items()))
    folders = ["animal/dog/beagle", "animal/dog/poodle", "animal/cat/siamese", "plant/tree/oak"]
    for given, level, classes in (
        (dict(csv=table), "kingdom", CLASSES),
        (dict(parents=lines, levels=["kingdom", "family"]), "kingdom", CLASSES),
        (dict(parents=PARENTS), "depth 1", CLASSES),
        ("folders", "depth 1", folders),
    ):
        tree = Hierarchy.of(given, classes)
        assert tree.taxa(level, classes) == KINDS
        assert tree.numbers(level, classes).tolist() == [0, 0, 0, 1]
        assert tree.numbers(tree.levels[1], classes).tolist() == [0, 0, 1, 2]
        assert tree.taxa("class", classes) == classes


def test_a_class_less_deep_than_others_stands_for_itself() -> None:
    assert Hierarchy.of(dict(parents=PARENTS), CLASSES).taxa("depth 2", CLASSES) == ["dog", "dog", "cat", "oak"]


def test_taxa_of_one_name_under_different_parents_are_two(tmp_path: Path) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text("family,genus,class\na,same,x\nb,same,y\n")
    assert Hierarchy.of(dict(csv=path), ["x", "y"]).taxa("genus", ["x", "y"]) == ["a/same", "b/same"]


def test_a_cycle_is_named_with_all_its_members() -> None:
    problem = the_problem(dict(parents={**PARENTS, "animal": "dog"}))
    assert (problem.path, problem.got) == ("hierarchy.parents", "dog < animal < dog")


def test_a_missing_parent_is_named(table: Path, tmp_path: Path) -> None:
    without = {child: parent for child, parent in PARENTS.items() if child != "oak"}
    problem = the_problem(dict(parents=without))
    assert (problem.path, problem.got) == ("hierarchy.parents", "oak")
    (tmp_path / "gap.csv").write_text(table.read_text().replace("animal,cat", "animal,"))
    problem = the_problem(dict(csv=tmp_path / "gap.csv"))
    assert (problem.path, problem.got) == ("hierarchy.csv", "siamese")


def test_a_class_that_is_missing_or_has_two_places_is_named(table: Path) -> None:
    assert the_problem(dict(csv=table), [*CLASSES, "pooodle"]).expected == "did you mean 'poodle'?"
    table.write_text(table.read_text() + "plant,tree,beagle\n")
    assert the_problem(dict(csv=table)).got == "beagle"


@pytest.mark.parametrize("given", [3, {}, dict(csv="a", parents="b"), dict(folders=None, depth=3)])
def test_what_is_no_hierarchy_is_rejected(given: Any) -> None:
    assert the_problem(given).path == "hierarchy"


def test_unknown_files_columns_and_levels_are_named(table: Path) -> None:
    assert the_problem(dict(csv="/nowhere.csv")).got == "/nowhere.csv"
    assert the_problem(dict(csv=table, levels=["kingdm"])).expected == "did you mean 'kingdom'?"
    with pytest.raises(ConfigError) as error:
        Hierarchy.of(dict(csv=table), CLASSES).taxa("famly", CLASSES)
    assert error.value.problems[0].expected == "did you mean 'family'?"
