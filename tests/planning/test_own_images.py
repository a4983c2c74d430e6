"""What a folder of images tells, and which recipe is chosen for it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from selfsup.config import Recipe, load_config
from selfsup.errors import DataError
from selfsup.planning.own_images import FolderFacts, choose, find_labels, look, most_steps


def write(root: Path, names: list[str], *, side: int = 10) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((side, side + number, 3), 90, np.uint8))
    return root


def folders(*names: str, count: int = 3) -> list[str]:
    return [f"{name}/{number}.png" for name in names for number in range(count)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (folders("cat", "dog"), "folder"),
        (folders("cat", "dog", "train"), "folder"),
        (folders("cat/a", "cat/b", "dog/c"), "folder"),
        (["0.png", "1.png"], None),
        (folders("cat"), None),
        ([*folders("cat", "dog"), "loose.png"], None),
        (folders("train", "val"), None),
        (folders("2019", "2020"), None),
        (folders("2019-05-01", "2020 summer"), None),
        (folders("100CANON", "101CANON"), None),
        (folders(*"abcdef", count=1), None),
    ],
)
def test_folders_are_labels_only_where_that_is_unmistakable(
    names: list[str], expected: str | None, tmp_path: Path
) -> None:
    assert find_labels(write(tmp_path, names))[0] == expected


def test_what_a_run_has_written_below_the_images_is_no_class(tmp_path: Path) -> None:
    write(tmp_path, folders("cat", "dog", "work_dirs"))
    (tmp_path / "work_dirs" / "environment.json").write_text("{}")
    assert find_labels(tmp_path)[0] == "folder"
    assert "2 folders (cat, dog)" in find_labels(tmp_path)[1]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "path,label\n1.png,x\n", "column"),
        ("a.tsv", "\ufeffpath\tlabel\n1.png\tx\n", "column"),
        ("a.csv", "path,labels\n1.png,x\n", None),
        ("a.txt", "1.png label\n", None),
    ],
)
def test_a_table_has_labels_where_a_column_is_called_so(
    name: str, text: str, expected: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    assert find_labels(tmp_path / name)[0] == expected


def test_a_look_counts_and_measures_the_shorter_sides(tmp_path: Path) -> None:
    write(tmp_path, folders("cat", "dog"), side=30)
    (tmp_path / "cat" / "broken.png").write_bytes(b"no image")
    assert look(tmp_path) == FolderFacts(7, 30, "folder", find_labels(tmp_path)[1], flat=1.0)
    assert look(tmp_path, labels=None) == FolderFacts(7, 30, None, flat=1.0)


KINDS = ("cpu", "small_gpu", "large_gpu")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [32, 64, 480])
@pytest.mark.parametrize("num_images", [16, 200, 30_000])
def test_what_is_chosen_can_be_trained_with_so_many_images(kind: str, side: int, num_images: int) -> None:
    choice = choose(FolderFacts(num_images, side, None), kind)
    recipe = load_config(choice.config, choice.options)
    assert 2 <= recipe.train_dataloader.batch_size <= num_images // 2
    assert recipe.model.get("queue_length", 0) < num_images / 5
    size = recipe.train_dataloader.views.get("size") or recipe.train_dataloader.views["sizes"][0]
    assert size <= side
    assert recipe.train_dataloader.views["blur"] == (side >= 80)


def test_a_flat_background_is_another_one_in_each_view() -> None:
    choices = [choose(FolderFacts(200, side, None, flat=0.6), "cpu") for side in (32, 480)]
    for choice in choices:
        before = load_config(choice.config, choice.options).train_dataloader.views["before"]
        assert [transform["type"] for transform in before] == ["FreshFlatBackground"]
    assert "train_dataloader.views.before" not in choose(FolderFacts(200, 32, None, flat=0.4), "cpu").options


def test_processes_share_the_images(tmp_path: Path) -> None:
    one, four = (choose(FolderFacts(200, 480, None), "cpu", processes=count).options for count in (1, 4))
    assert (one["train_dataloader.batch_size"], four["train_dataloader.batch_size"]) == (64, 16)


def test_three_images_are_too_few() -> None:
    with pytest.raises(DataError) as found:
        choose(FolderFacts(3, 480, None), "cpu")
    (problem,) = found.value.problems
    assert (problem.path, problem.got, problem.expected) == ("--data", 3, "at least 4")


def test_a_run_without_a_budget_ends_after_a_thousand_passes_or_steps() -> None:
    recipe: Recipe = load_config("folder/cpu_large_images")
    assert most_steps(recipe, 200) == 3000
    assert most_steps(recipe, 64) == most_steps(recipe, 10) == 1000
