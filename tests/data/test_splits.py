from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data import ImageList, Part, Scenes, Split, Subset, split
from selfsup.data import splits as module
from selfsup.errors import DataError
from tests.data.encoded import encode
from tests.data.listed import Listed
from tests.reference.split import split_by_the_rules


def listed(count: int = 300, *, classes: int = 7, seed: int = 0, groups: bool = False) -> Listed:
    """Classes from one image to a third of all, a tenth without a label, some names twice."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.4, count) - 1, classes)
    labels[rng.random(count) < 0.1] = -1
    labels[:4] = [40, 41, 41, 42]  # of one, two, one
    names = [f"photos/{number}.jpg" for number in range(count)]
    names[50], labels[50] = names[51], labels[51]
    return Listed(names, labels, rng.integers(0, 60, count) if groups else None)


def names_of(found: Split) -> dict[str, set[str]]:
    return {
        part: {images.name(index) for index in range(len(images))}
        for part, images in (("train", found.train), ("val", found.val), ("test", found.test))
    }


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("val, test, cap", [(0.1, 0.1, 10_000), (0.3, 0.2, 10_000), (0.5, 0.9, 10_000), (0.3, 0.3, 12)])
def test_agrees_with_the_rules_image_by_image(groups: bool, val: float, test: float, cap: int) -> None:
    source = listed(groups=groups)
    found = split(source, val=val, test=test, max_images=cap, seed=3)
    own_groups = None if source.groups is None else source.groups.tolist()
    expected = split_by_the_rules(source.names, source.labels.tolist(), own_groups, val=val, test=test, cap=cap)
    assert {part: set(indices.tolist()) for part, indices in found.held_out.items()} == expected
    rest = sorted(set(range(len(source))) - set().union(*expected.values()))
    assert np.asarray(found.train.indices).tolist() == rest


def test_neither_the_order_of_the_list_nor_images_of_other_classes_change_it() -> None:
    source = listed()
    before = names_of(split(source, seed=1))
    order = np.random.default_rng(1).permutation(len(source))
    assert names_of(split(Subset(source, order), seed=1)) == before
    more = Listed([*source.names, *(f"new/{n}" for n in range(90))], [*source.labels, *[50] * 90])
    after = names_of(split(more, seed=1))
    for part in ("val", "test"):
        assert {name for name in after[part] if not name.startswith("new/")} == before[part]
    assert names_of(split(source, seed=2))["test"] != before["test"]


def test_a_smaller_part_lies_in_a_larger_one_and_keeps_the_proportions_of_the_classes() -> None:
    source = Listed([str(number) for number in range(3000)], [number % 3 == 0 for number in range(3000)])
    large, small = split(source, test=0.2), split(source, test=0.2, max_images=90)
    assert set(small.held_out["test"]) <= set(large.held_out["test"]) and len(small.test) == 90
    assert abs(int(np.sum(small.test.labels)) - 30) <= 1


def test_a_file_that_is_named_twice_and_images_of_a_group_lie_on_one_side() -> None:
    twice = Listed([str(number // 2) for number in range(400)], [number // 2 % 2 for number in range(400)])
    sides = names_of(split(twice))
    assert not sides["train"] & (sides["val"] | sides["test"]) and not sides["val"] & sides["test"]
    scenes = Scenes("test", size=16, variants=2)
    found = split(scenes)
    emoji = [set(np.asarray(part.groups).tolist()) for part in (found.train, found.val, found.test)]
    assert all(emoji) and not emoji[0] & emoji[1] and not emoji[0] & emoji[2] and not emoji[1] & emoji[2]


def test_images_without_a_label_are_trained_on_unless_their_group_is_held_out() -> None:
    source = listed(groups=True)
    found = split(source)
    assert (np.asarray(found.val.labels) >= 0).all() and (np.asarray(found.test.labels) >= 0).all()
    assert (np.asarray(found.train.labels) < 0).any()
    assert len(found.copies) and (source.labels[found.copies] < 0).all()
    assert split(listed()).copies.size == 0


@pytest.mark.parametrize(
    "labels, val, test, sizes",
    [
        *((labels, 0.1, 0.1, (0, 0)) for labels in ([0, 1, 2], [-1, -1, -1], [0, 1, -1])),
        ([0, 0], 0.1, 0.1, (0, 1)),
        ([0, 0, 0], 0.9, 0.9, (1, 1)),
        ([0] * 10, 0.0, 0.2, (0, 2)),
        (None, 0.1, 0.1, (1, 1)),
    ],
)
def test_the_numbers_of_small_classes(labels: Any, val: float, test: float, sizes: tuple[int, int]) -> None:
    found = split(Listed("abcdefghij"[: len(labels or [0] * 10)], labels), val=val, test=test)
    assert (len(found.val), len(found.test)) == sizes and found.is_empty == (sizes == (0, 0))


def test_more_images_than_are_looked_at_are_split_by_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CANDIDATES", 200)
    source = listed(1000, groups=True)
    found = split(source, max_images=20)
    held = set(source.groups[np.concatenate([found.held_out["val"], found.held_out["test"]])].tolist())
    assert 0 < len(found.val) <= 20 and not held & set(np.asarray(found.train.groups).tolist())


def test_copies_of_held_out_images_leave_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        path = tmp_path / "ab"[number % 2] / f"{number}.bmp"  # all of one size
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(np.full((8, 8, 3), 8 * number, np.uint8), "BMP"))
    (tmp_path / "a" / "broken.bmp").symlink_to(tmp_path / "nowhere")
    before = split(ImageList(tmp_path, "folder"))
    name = before.test.name(0)
    (tmp_path / "b" / "copy.bmp").write_bytes((tmp_path / name).read_bytes())
    images = ImageList(tmp_path, "folder")
    found = split(images)
    copies = [images.name(int(index)) for index in found.copies]
    assert name in names_of(found)["test"] and copies == ["b/copy.bmp"]
    assert "b/copy.bmp" not in names_of(found)["train"]
    monkeypatch.setattr(module, "_MOST_FILES", 10)
    assert not module.looks_for_copies(images) and split(images).copies.size == 0


@pytest.mark.parametrize("in_json, groups", [(100_000, True), (3, True), (3, False)])
def test_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_json: int, groups: bool) -> None:
    monkeypatch.setattr(module, "_MOST_IN_JSON", in_json)
    source = listed(groups=groups)
    found = split(source, val=0.2, seed=5)
    path = found.write(tmp_path)
    assert path.name == ("split.json" if in_json > 3 else "split.npz")
    again = Split.read(tmp_path, source)
    assert again is not None and again.rules == found.rules == {
        "version": 1, "val": 0.2, "test": 0.1, "max_images": 10_000, "seed": 5
    }  # fmt: skip
    for one in (again, Split.from_state(found.state(), source)):
        for part in ("val", "test", "copies"):
            np.testing.assert_array_equal(one.held_out[part], found.held_out[part])
    longer = Listed(["new", *source.names[5:]], [0, *source.labels[5:]])
    by_name = Split.read(tmp_path, longer)
    gone = {source.names[index] for part in found.held_out.values() for index in part if index < 5}
    assert by_name is not None and by_name.unknown == len(gone - set(source.names[5:]))
    assert names_of(by_name)["test"] == names_of(found)["test"] - gone


def test_a_work_dir_without_a_split_has_none_and_a_broken_file_is_rejected(tmp_path: Path) -> None:
    assert Split.read(tmp_path, listed()) is None
    for text in ("{", '{"version": 99, "indices": {}, "names": {}}'):
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(DataError, match=r"split\.json"):
            Split.read(tmp_path, listed())


def test_the_parts_of_a_source_are_those_of_its_split() -> None:
    scenes = Scenes("test", size=8, variants=1)
    whole = split(scenes, val=0.1, test=0.3, max_images=len(scenes))
    for name in ("train", "val", "test"):
        part = Part(scenes, name, val=0.1, test=0.3)
        assert np.asarray(part.indices[:]).tolist() == np.asarray(getattr(whole, name).indices[:]).tolist()
    with pytest.raises(DataError):
        Part(scenes, "val", val=0.0)
