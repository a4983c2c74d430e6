import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfsup.data import ImageList, LabelSets
from selfsup.data.sources import image_list
from selfsup.errors import DataError, DecodeError
from selfsup.evaluation.task import Task
from selfsup.registry import DATASETS
from tests.data.encoded import encode, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """cat/b.JPG, cat/old/a.png, dog/c.webp, notes and hidden files."""
    for name, kind in (("cat/b.JPG", "JPEG"), ("cat/old/a.png", "PNG"), ("dog/c.webp", "WEBP")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture(20, 30), kind))
    (tmp_path / "photos" / "notes.md").write_text("not an image")
    (tmp_path / "photos" / "cat" / "._b.JPG").write_bytes(b"a Mac's resource fork")
    return tmp_path / "photos"


def names_of(images: ImageList) -> list[str]:
    return [images.name(index) for index in range(len(images))]


def listed(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_a_nested_folder_is_read_in_the_order_of_its_names_without_labels(folder: Path) -> None:
    images = ImageList(folder)
    assert names_of(images) == ["cat/b.JPG", "cat/old/a.png", "dog/c.webp"]
    assert images.labels is None and images.classes is None
    assert images.image(0).shape == (20, 30, 3)
    assert names_of(ImageList(folder, extensions=("jpg",))) == ["cat/b.JPG"]
    digest = images.digest  # of names, order and labels, not of the place
    assert digest != ImageList(folder, "folder").digest
    moved = folder.rename(folder.parent / "elsewhere")
    assert ImageList(moved).digest == digest
    (moved / "dog" / "round").symlink_to(moved)  # links are followed, but not in a circle
    (moved / "cats").symlink_to(moved / "cat")
    assert names_of(ImageList(moved)) == ["cat/b.JPG", "cat/old/a.png", "cats/b.JPG", "cats/old/a.png", "dog/c.webp"]
    assert ImageList(moved).digest != digest


def test_folders_become_labels_only_when_asked_for(folder: Path) -> None:
    images = DATASETS.build(dict(type="ImageList", root=str(folder), labels="folder"))
    assert images.classes == ["cat", "dog"]
    np.testing.assert_array_equal(images.labels, [0, 0, 1])
    assert images.labels.dtype == np.int64
    copy = pickle.loads(pickle.dumps(images))  # what a worker process gets
    assert len(pickle.dumps(images)) < 2000 and copy.name(2) == images.name(2)
    np.testing.assert_array_equal(copy.labels, images.labels)
    np.testing.assert_array_equal(copy.image(1), images.image(1))
    (folder / "cat").rename(folder / "10")
    (folder / "dog").rename(folder / "9")
    assert ImageList(folder, "folder").classes == ["10", "9"]  # numbers are names like any others


def test_names_that_are_not_ascii_or_not_utf8_can_be_opened_and_printed(folder: Path) -> None:
    (folder / "dog").rename(folder / "Hündin 犬")
    for name in (b"\xff.jpg", "ü.jpg".encode()):
        with open(os.fsencode(folder / "Hündin 犬") + b"/" + name, "wb") as stream:
            stream.write(encode(picture(), "JPEG"))
    images = ImageList(folder, "folder")
    assert images.classes == ["Hündin 犬", "cat"]
    assert names_of(images)[:3] == ["Hündin 犬/c.webp", "Hündin 犬/ü.jpg", r"Hündin 犬/\xff.jpg"]
    assert all(images.image(index).shape[2] == 3 for index in range(5))
    table = listed(folder / "list.csv", "path,label\nHündin 犬/ü.jpg,Hündin\n")
    assert ImageList(table, "column").image(0).shape == (75, 100, 3)


def test_what_is_no_image_is_counted_and_what_may_not_be_read_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.JXL", "cat/b.jxl", "dog/film.mp4", "dog/README", "dog/rank0.log"):
        (folder / name).write_bytes(b"")
    assert ImageList(folder).left_out.skipped == {".jxl": 2, ".mp4": 1, ".md": 1, "": 1}
    (folder / "p.heic").write_bytes(b"")
    monkeypatch.setattr(image_list, "find_spec", lambda name: None)
    assert ImageList(folder).left_out.skipped[".heic"] == 1
    scandir = os.scandir

    def closed(path: bytes) -> Any:
        if path.rstrip(b"/").endswith(b"/old"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    images = ImageList(folder)
    assert names_of(images) == ["cat/b.JPG", "dog/c.webp"] and images.left_out.unreadable == [str(folder / "cat/old")]
    assert str(folder / "cat/old") in caplog.text
    with pytest.raises(DataError, match="root: cannot read the folder"):
        ImageList(folder / "cat/old")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("selfsup.data.sources.entries.open", denied, raising=False)
    with pytest.raises(DataError, match=r"root: cannot read .*list\.csv: Permission denied"):
        ImageList(listed(folder / "list.csv", "path\ncat/b.JPG\n"))


def test_what_a_run_has_written_is_no_image(folder: Path) -> None:
    run = folder / "dog" / "run"
    run.mkdir()
    (run / "environment.json").write_text(json.dumps({"found_in_work_dir": []}))
    (run / "views.png").write_bytes(encode(picture(), "PNG"))
    assert names_of(ImageList(folder)) == ["cat/b.JPG", "cat/old/a.png", "dog/c.webp"]
    assert ImageList(folder).left_out.work_dirs == [str(run)]
    (folder / "environment.json").write_text(json.dumps({"found_in_work_dir": ["cat"]}))
    (folder / "curves.png").write_bytes(encode(picture(), "PNG"))
    assert names_of(ImageList(folder)) == ["cat/b.JPG", "cat/old/a.png"]
    (folder / "environment.json").write_text("{}")  # somebody else's
    assert "curves.png" in names_of(ImageList(folder))


def test_a_text_list_keeps_its_order_and_may_hold_spaces(folder: Path) -> None:
    (folder / "cat" / "two words.png").write_bytes(encode(picture(), "PNG"))
    content = f"dog/c.webp\n\n'cat/two words.png'\r\n{folder / 'cat' / 'b.JPG'}"
    images = ImageList(listed(folder / "list.txt", content))
    assert names_of(images) == ["dog/c.webp", "cat/two words.png", "cat/b.JPG"]
    assert images.labels is None
    assert [images.image(index).shape[0] for index in range(3)] == [20, 75, 20]
    content = 'dog/c.webp dog\n  "cat/two words.png" cat\n'
    np.testing.assert_array_equal(ImageList(listed(folder / "list.txt", content), "column").labels, [1, 0])


def test_a_table_needs_only_its_path_column(folder: Path, tmp_path: Path) -> None:
    table = listed(folder / "list.csv", '\ufeffid,path,label\n1,"cat/b.JPG",feline\n2,dog/c.webp,canine\n')
    assert ImageList(table).labels is None
    images = ImageList(table, "column")
    assert names_of(images) == ["cat/b.JPG", "dog/c.webp"]
    assert images.classes == ["canine", "feline"]
    np.testing.assert_array_equal(images.labels, [1, 0])
    table = listed(tmp_path / "list.tsv", "file\tspecies\ncat/b.JPG\tcat\n")
    images = ImageList(table, "column", prefix=folder, path_column="file", label_column="species")
    assert images.image(0).shape == (20, 30, 3)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_lists_in_utf_16_are_read_and_broken_ones_rejected(folder: Path, encoding: str) -> None:
    content = "cat/b.JPG katze\r\ndog/c.webp hündin\r\n".encode(encoding)
    images = ImageList(listed(folder / "list.txt", content), "column")
    assert images.classes == ["hündin", "katze"] and images.image(1).shape == (20, 30, 3)
    with pytest.raises(DataError, match=r"root: .*list\.txt is not in utf-16"):
        ImageList(listed(folder / "list.txt", content + b"\0"))


def test_paths_of_windows_and_of_the_home_folder_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = listed(folder / "list.csv", "path,label\ncat\\old\\a.png,1\nno\\where.png,2\n")
    images = ImageList(table, "column", groups="folder")
    assert names_of(images) == ["cat/old/a.png", "no/where.png"] and images.image(0).shape == (20, 30, 3)
    (folder / "a\\b.png").write_bytes(encode(picture(), "PNG"))
    images = ImageList(listed(folder / "list.txt", "a\\b.png\n"))  # a name like any other here
    assert images.image(0).shape == (75, 100, 3)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert names_of(ImageList("~/photos", cache="~/photos.paths")) == ["a\\b.png", *names_of(ImageList(folder))[1:]]
    assert (folder.parent / "photos.paths").is_file()
    table = listed(folder.parent / "list.txt", "~/photos/cat/b.JPG\n")
    assert ImageList(table).image(0).shape == ImageList("~/list.txt", prefix="~").image(0).shape == (20, 30, 3)


def test_a_list_whose_paths_start_at_the_current_folder_is_told_how_to_say_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (tmp_path / "lists").mkdir()
    file = listed(tmp_path / "lists" / "list.txt", f"{folder.name}/cat/b.JPG cat\n")
    with pytest.raises(DataError) as caught:
        ImageList(file, "column")
    (problem,) = caught.value.problems
    assert problem.path == "prefix" and "prefix='.'" in problem.expected
    assert ImageList(file, "column", prefix=".").image(0).shape == (20, 30, 3)


def test_a_list_with_labels_is_not_taken_for_one_of_paths(folder: Path) -> None:
    file = listed(folder / "labelled.txt", "cat/b.JPG nature\n")
    with pytest.raises(DataError, match=r"labels: .*'nature'"):
        ImageList(file)
    assert ImageList(file, labels="column").classes == ["nature"]
    (folder / "with space.jpg").touch()
    assert len(ImageList(listed(folder / "plain.txt", "with space.jpg\nmissing too.jpg\n"))) == 2


@pytest.mark.parametrize(
    "labels, classes, numbers",
    [
        (["10", "0", "5"], ["0", "5", "10"], [2, 0, 1]),
        (["7", "07", "-1"], ["7"], [0, 0, -1]),
        (["3.0", "nan", ""], ["3"], [0, -1, -1]),
        (["10", "b", "NaN"], ["10", "b"], [0, 1, -1]),
    ],
)
def test_classes_are_the_names_found_and_a_label_may_be_missing(
    folder: Path, labels: list[str], classes: list[str], numbers: list[int]
) -> None:
    rows = [f"{number}.jpg,{label}\n" for number, label in enumerate(labels)]
    images = ImageList(listed(folder / "list.csv", "path,label\n" + "".join(rows)), "column")
    assert images.classes == classes
    np.testing.assert_array_equal(images.labels, numbers)


def test_given_classes_number_a_second_list_as_the_first_and_write_numbers_as_it_does(folder: Path) -> None:
    table = listed(folder / "test.csv", "path,label\ndog/c.webp,dog\n")
    np.testing.assert_array_equal(ImageList(table, "column", classes=["bird", "cat", "dog"]).labels, [2])
    with pytest.raises(DataError) as caught:
        ImageList(table, "column", classes=["bird", "dogs"])
    (problem,) = caught.value.problems
    assert (problem.path, problem.got) == ("classes", "dog") and "'dogs'" in problem.expected
    numbers = listed(folder / "list.txt", "a.jpg 07\nb.jpg 8\n")
    np.testing.assert_array_equal(ImageList(numbers, "column", classes=["07", "8", "9"]).labels, [0, 1])


def test_an_image_may_have_several_labels(folder: Path, tmp_path: Path) -> None:
    table = listed(folder / "list.csv", "path,label\ncat/b.JPG,cat; pet;cat\ndog/c.webp,pet;dog\n")
    for _ in range(2):  # the second from the cache
        images = ImageList(table, "column", label_separator=";", cache=tmp_path / "c")
        assert images.classes == ["cat", "dog", "pet"]
        assert isinstance(images.labels, LabelSets)
        assert [images.labels[index].tolist() for index in (0, 1)] == [[1, 0, 1], [0, 1, 1]]
    assert Task("several", train=images, test=images).fits(frozenset({"labels"})) is not None
    whole = ImageList(table, "column", cache=tmp_path / "c")
    assert isinstance(whole.labels, np.ndarray) and whole.classes == ["cat; pet;cat", "pet;dog"]
    numbers = listed(folder / "list.txt", "cat/b.JPG 4\ndog/c.webp 1|0\n")
    images = ImageList(numbers, "column", label_separator="|")
    assert isinstance(images.labels, LabelSets) and images.classes == ["0", "1", "4"]
    assert [images.labels[index].tolist() for index in (0, 1)] == [[0, 0, 1], [1, 1, 0]]


def sides(images: ImageList) -> list[int]:
    """Small numbers of the groups, in the order in which they appear."""
    assert images.groups is not None
    groups = images.groups.tolist()
    return [list(dict.fromkeys(groups)).index(group) for group in groups]


def test_groups_come_from_folders_a_column_or_the_name(folder: Path, tmp_path: Path) -> None:
    assert ImageList(folder).groups is None
    by_folder = ImageList(folder, groups="folder")
    assert sides(by_folder) == [0, 1, 2]
    assert by_folder.digest == ImageList(folder).digest
    for _ in range(2):
        assert sides(ImageList(folder, "folder", groups=r"^(\w+)/", cache=tmp_path / "c")) == [0, 0, 1]
    assert sides(ImageList(folder, groups=r"c.?t/")) == [0, 0, 1]
    table = listed(folder / "list.csv", "path,patient\n1.jpg,p\n2.jpg,\n3.jpg,p\n4.jpg,q\n5.jpg,\n")
    by_column = ImageList(table, groups="column", group_column="patient")
    assert sides(by_column) == [0, 1, 0, 2, 3]
    table = listed(folder / "more.csv", "path,patient\n0.jpg,new\n1.jpg,p\n")
    more = ImageList(table, groups="column", group_column="patient")
    assert more.groups is not None and by_column.groups is not None and more.groups[1] == by_column.groups[0]


def test_large_jpegs_can_be_decoded_smaller_and_16_bits_stretched(folder: Path) -> None:
    (folder / "big.jpg").write_bytes(encode(picture(400, 800), "JPEG"))
    assert ImageList(folder, min_side=100).image(0).shape == (100, 200, 3)
    with pytest.raises(DecodeError, match=r"big\.jpg: 800 x 400 = 320,000 pixels, at most 1,000 are decoded"):
        ImageList(folder, max_pixels=1000).image(0)
    (folder / "big.jpg").write_bytes(encode(np.full((4, 4), 1023, np.uint16), "PNG"))
    assert (ImageList(folder, bit_depth=10).image(0) == 255).all()


def test_only_files_are_images_and_one_that_is_not_there_is_found_out_on_decoding(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    images = ImageList(folder)
    assert names_of(images) == ["cat/b.JPG", "cat/old/a.png", "dog/c.webp", "gone.jpg"]
    table = ImageList(listed(folder / "list.txt", b"pipe.jpg\nnul\0byte.jpg\nnowhere.jpg\n"))
    for source, index, reason in (
        (images, 3, r"gone\.jpg: No such file"),
        (table, 0, r"pipe\.jpg: not a regular file"),
        (table, 1, r"byte\.jpg: embedded null byte"),
        (table, 2, r"nowhere\.jpg: No such file"),
    ):
        with pytest.raises(DecodeError, match=reason):
            source.image(index)


def test_a_cache_is_used_until_the_arguments_or_the_list_change(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "photos.paths"
    assert len(ImageList(folder, cache=cache)) == 3
    (folder / "new.png").write_bytes(encode(picture(), "PNG"))
    assert len(ImageList(folder, cache=cache)) == 3
    assert len(ImageList(folder, extensions=("png",), cache=cache)) == 2
    assert len(ImageList(folder, cache=cache)) == 4
    assert len(ImageList(listed(folder / "list.txt", "cat/b.JPG\n"), cache=cache)) == 1
    assert len(ImageList(listed(folder / "list.txt", "cat/b.JPG\ndog/c.webp\n"), cache=cache)) == 2
    (folder / "notes").write_text("precious")
    with pytest.raises(DataError, match=r"cache: .*notes: not a path table"):
        ImageList(folder, cache=folder / "notes")
    assert (folder / "notes").read_text() == "precious"


@pytest.mark.parametrize(
    "root, labels, options, path, got, expected",
    [
        ("fotos", None, {}, "root", None, "photos"),
        ("nowhere/x", None, {}, "root", None, "no such"),
        ("photos", None, {"extensions": ("gif", ".BMP")}, "root", None, "looked for .bmp, .gif"),
        ("photos", "column", {}, "labels", None, "use 'folder' or None"),
        ("photos", "none", {}, "labels", "none", "None, without quotation marks"),
        ("photos", "name", {}, "labels", "name", ""),
        ("photos", "folder", {"label_separator": ";"}, "label_separator", None, ""),
        ("photos", None, {"groups": "("}, "groups", None, ""),
        (("a.txt", "x.jpg"), None, {"groups": "column"}, "groups", "a.txt", ".csv, .tsv"),
        ("photos", None, {"bit_depth": 17}, "bit_depth", 17, ""),
        ("loose", "folder", {}, "labels", None, "None"),
        (("a.txt", "\n\n"), None, {}, "root", None, ""),
        (("a.txt", "x.jpg"), "folder", {}, "labels", None, "use 'column' or None"),
        (("a.json", "[]"), None, {}, "root", None, ".txt, .csv, .tsv"),
        (("a.csv", ""), None, {}, "root", None, ""),
        (("a.csv", "path,label\n"), None, {}, "root", None, ""),
        (("a.csv", "Path,label\nx.jpg,1\n"), None, {}, "path_column", "path", "'Path'"),
        (("a.csv", "path,class\nx.jpg,1\n"), "column", {}, "label_column", "label", "class"),
        (("a.csv", "path,label\nx.jpg,1\n,2\n"), None, {}, "root", None, "line 3"),
        (("a.csv", "path,label\nx.jpg,\ny.jpg,-1\nz.jpg\n"), "column", {}, "labels", None, "labels=None"),
        (("a.csv", "path,label\nx.jpg, ; \n"), "column", {"label_separator": ";"}, "label_separator", None, "x.jpg"),
        (("a.csv", 'path\n"x.jpg\n' + "y.jpg\n" * 30_000), None, {}, "root", None, "stray quotation mark"),
    ],
)
def test_what_cannot_be_is_rejected_with_the_argument_that_is_wrong(
    folder: Path, root: Any, labels: Any, options: dict[str, Any], path: str, got: Any, expected: str
) -> None:
    if root == "loose":
        root = "photos"
        (folder / "loose.png").write_bytes(encode(picture(), "PNG"))
    elif not isinstance(root, str):
        root = listed(folder.parent / root[0], root[1])
    with pytest.raises(DataError) as caught:
        ImageList(folder.parent / root, labels, **options)
    (problem,) = caught.value.problems
    got = folder.parent / got if path == "groups" and got else got
    assert (problem.path, problem.got) == (path, got) and expected in str(problem)
