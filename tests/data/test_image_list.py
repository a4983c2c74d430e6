import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from selfsup.data import ImageList, LabelSets
from selfsup.errors import DataError, DecodeError
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


def test_a_nested_folder_is_read_in_the_order_of_its_names_without_labels(folder: Path) -> None:
    images = ImageList(folder)
    assert names_of(images) == ["cat/b.JPG", "cat/old/a.png", "dog/c.webp"]
    assert images.labels is None
    assert images.classes is None
    assert images.image(0).shape == (20, 30, 3)


def test_folders_become_labels_only_when_asked_for(folder: Path) -> None:
    images = ImageList(folder, "folder")
    assert images.classes == ["cat", "dog"]
    np.testing.assert_array_equal(images.labels, [0, 0, 1])
    assert images.labels is not None
    assert images.labels.dtype == np.int64


def test_can_be_built_by_name_and_sent_to_a_worker(folder: Path) -> None:
    images = DATASETS.build(dict(type="ImageList", root=str(folder), labels="folder"))
    copy = pickle.loads(pickle.dumps(images))
    assert len(pickle.dumps(images)) < 1000
    assert copy.name(2) == images.name(2)
    np.testing.assert_array_equal(copy.labels, images.labels)
    np.testing.assert_array_equal(copy.image(1), images.image(1))


def test_the_digest_is_that_of_names_order_and_labels_and_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    digest, labelled = ImageList(folder).digest, ImageList(folder, "folder").digest
    assert digest != labelled
    moved = folder.rename(tmp_path / "elsewhere")
    assert ImageList(moved).digest == digest
    (moved / "cat" / "b.JPG").rename(moved / "cat" / "z.JPG")
    assert ImageList(moved).digest != digest


def test_extensions_choose_the_files_whatever_their_case(folder: Path) -> None:
    assert names_of(ImageList(folder, extensions=("jpg",))) == ["cat/b.JPG"]


def test_links_are_followed_but_not_in_a_circle(folder: Path) -> None:
    (folder / "dog" / "round").symlink_to(folder)
    (folder / "cats").symlink_to(folder / "cat")
    names = names_of(ImageList(folder))
    assert names[:4] == ["cat/b.JPG", "cat/old/a.png", "cats/b.JPG", "cats/old/a.png"]
    assert names[4:] == ["dog/c.webp"]


def test_names_that_are_not_utf8_can_be_opened_and_printed(folder: Path) -> None:
    odd = os.fsencode(folder) + b"/dog/\xff.jpg"
    with open(odd, "wb") as stream:
        stream.write(encode(picture(), "JPEG"))
    images = ImageList(folder)
    assert images.image(3).shape == (75, 100, 3)
    assert images.name(3).endswith(r"dog/\xff.jpg")
    images.name(3).encode("utf-8")


def test_a_text_list_keeps_its_order_and_may_hold_spaces(folder: Path) -> None:
    (folder / "cat" / "two words.png").write_bytes(encode(picture(), "PNG"))
    (folder / "list.txt").write_text(f"dog/c.webp\n\ncat/two words.png\r\n{folder / 'cat' / 'b.JPG'}")
    images = ImageList(folder / "list.txt")
    assert names_of(images) == ["dog/c.webp", "cat/two words.png", "cat/b.JPG"]
    assert images.labels is None
    assert [images.image(index).shape[0] for index in range(3)] == [20, 75, 20]


def test_a_text_list_may_end_its_lines_with_the_label(folder: Path) -> None:
    (folder / "list.txt").write_text("dog/c.webp dog\ncat/b.JPG cat\n")
    images = ImageList(folder / "list.txt", "column")
    np.testing.assert_array_equal(images.labels, [1, 0])


def test_a_csv_list_needs_only_its_path_column(folder: Path) -> None:
    (folder / "list.csv").write_text('\ufeffid,path,label\n1,"cat/b.JPG",feline\n2,dog/c.webp,canine\n')
    assert ImageList(folder / "list.csv").labels is None
    images = ImageList(folder / "list.csv", "column")
    assert names_of(images) == ["cat/b.JPG", "dog/c.webp"]
    assert images.classes == ["canine", "feline"]
    np.testing.assert_array_equal(images.labels, [1, 0])


def test_an_image_may_have_several_labels(folder: Path, tmp_path: Path) -> None:
    (folder / "list.csv").write_text("path,label\ncat/b.JPG,cat; pet;cat\ndog/c.webp,pet;dog\n")
    images = ImageList(folder / "list.csv", "column", label_separator=";", cache=tmp_path / "c")
    assert images.classes == ["cat", "dog", "pet"]
    assert isinstance(images.labels, LabelSets)
    assert [images.labels[index].tolist() for index in (0, 1)] == [[1, 0, 1], [0, 1, 1]]
    again = ImageList(folder / "list.csv", "column", label_separator=";", cache=tmp_path / "c")
    assert isinstance(again.labels, LabelSets) and again.labels[1].tolist() == [0, 1, 1]
    whole = ImageList(folder / "list.csv", "column", cache=tmp_path / "c")
    assert isinstance(whole.labels, np.ndarray) and whole.classes == ["cat; pet;cat", "pet;dog"]


def test_a_separator_without_a_column_of_labels_is_rejected(folder: Path) -> None:
    with pytest.raises(DataError, match=r"label_separator: .* goes with labels='column', got ';' and labels='folder'"):
        ImageList(folder, "folder", label_separator=";")
    (folder / "list.csv").write_text("path,label\ncat/b.JPG, ; \n")
    with pytest.raises(DataError, match=r"1 of 1 images have no label, the first is cat/b\.JPG"):
        ImageList(folder / "list.csv", "column", label_separator=";")


def test_relative_paths_of_a_list_may_start_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("file\tspecies\ncat/b.JPG\tcat\n")
    images = ImageList(tmp_path / "list.tsv", "column", prefix=folder, path_column="file", label_column="species")
    assert images.image(0).shape == (20, 30, 3)


def test_a_list_whose_paths_start_at_the_current_folder_is_told_how_to_say_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    written = f"{folder.name}/cat/b.JPG"
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    (elsewhere / "list.txt").write_text(f"{written} cat\n")
    with pytest.raises(DataError) as caught:
        ImageList(elsewhere / "list.txt", "column")
    assert str(caught.value) == (
        f"prefix: relative paths of {elsewhere / 'list.txt'} start at {elsewhere}, where there is no "
        f"{written}, and at the current folder there is; set prefix='.' "
        "(--cfg-options train_dataloader.dataset.prefix=.)"
    )
    assert ImageList(elsewhere / "list.txt", "column", prefix=".").image(0).shape == (20, 30, 3)


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
    (folder / "list.csv").write_text("path,label\n" + "".join(rows))
    images = ImageList(folder / "list.csv", "column")
    assert images.classes == classes
    np.testing.assert_array_equal(images.labels, numbers)


def test_given_classes_may_write_numbers_as_the_list_does(folder: Path) -> None:
    (folder / "list.txt").write_text("a.jpg 07\nb.jpg 8\n")
    images = ImageList(folder / "list.txt", "column", classes=["07", "8", "9"])
    np.testing.assert_array_equal(images.labels, [0, 1])


def test_several_whole_numbers_are_classes_too(folder: Path) -> None:
    (folder / "list.txt").write_text("cat/b.JPG 4\ndog/c.webp 1|0\n")
    images = ImageList(folder / "list.txt", "column", label_separator="|")
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
    assert sides(ImageList(folder, "folder", groups=r"^(\w+)/", cache=tmp_path / "c")) == [0, 0, 1]
    assert sides(ImageList(folder, "folder", groups=r"^(\w+)/", cache=tmp_path / "c")) == [0, 0, 1]
    assert sides(ImageList(folder, groups=r"c.?t/")) == [0, 0, 1]
    (folder / "list.csv").write_text("path,patient\n1.jpg,p\n2.jpg,\n3.jpg,p\n4.jpg,q\n5.jpg,\n")
    by_column = ImageList(folder / "list.csv", groups="column", group_column="patient")
    assert sides(by_column) == [0, 1, 0, 2, 3]
    (folder / "more.csv").write_text("path,patient\n0.jpg,new\n1.jpg,p\n")
    more = ImageList(folder / "more.csv", groups="column", group_column="patient")
    assert more.groups is not None and by_column.groups is not None and more.groups[1] == by_column.groups[0]


@pytest.mark.parametrize("groups, message", [("column", "'column' needs a table"), ("(", "no regular expression")])
def test_groups_that_cannot_be_are_rejected(folder: Path, groups: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"groups: .*{message}"):
        ImageList(folder, groups=groups)


def test_what_a_run_has_written_is_no_image(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = folder / "dog" / "run"
    run.mkdir()
    (run / "environment.json").write_text(json.dumps({"found_in_work_dir": []}))
    (run / "views.png").write_bytes(encode(picture(), "PNG"))
    assert names_of(ImageList(folder)) == ["cat/b.JPG", "cat/old/a.png", "dog/c.webp"]
    assert [record.message for record in caplog.records if str(run) in record.message]
    (folder / "environment.json").write_text(json.dumps({"found_in_work_dir": ["cat"]}))
    (folder / "curves.png").write_bytes(encode(picture(), "PNG"))
    assert names_of(ImageList(folder)) == ["cat/b.JPG", "cat/old/a.png"]
    (folder / "environment.json").write_text("{}")  # somebody else's
    assert "curves.png" in names_of(ImageList(folder))


def test_folders_named_by_numbers_are_numbered_in_order_like_any_others(folder: Path) -> None:
    (folder / "cat").rename(folder / "2019")
    (folder / "dog").rename(folder / "2020")
    images = ImageList(folder, "folder")
    assert images.classes == ["2019", "2020"]
    np.testing.assert_array_equal(images.labels, [0, 0, 1])


def test_given_classes_number_a_second_list_as_the_first(folder: Path) -> None:
    (folder / "test.csv").write_text("path,label\ndog/c.webp,dog\n")
    images = ImageList(folder / "test.csv", "column", classes=["bird", "cat", "dog"])
    np.testing.assert_array_equal(images.labels, [2])
    with pytest.raises(DataError, match="label 'dog' is not among the classes; did you mean 'dogs'"):
        ImageList(folder / "test.csv", "column", classes=["bird", "dogs"])


def test_a_listed_file_that_is_not_there_is_found_out_on_decoding(folder: Path) -> None:
    (folder / "list.txt").write_text("gone.jpg\n")
    images = ImageList(folder / "list.txt")
    with pytest.raises(DecodeError, match=r"gone\.jpg: No such file"):
        images.image(0)


def test_large_jpegs_can_be_decoded_smaller(folder: Path) -> None:
    (folder / "big.jpg").write_bytes(encode(picture(400, 800), "JPEG"))
    images = ImageList(folder, min_side=100)
    assert images.image(0).shape == (100, 200, 3)
    with pytest.raises(DecodeError, match=r"big\.jpg: 800 x 400 = 320,000 pixels, at most 1,000 are decoded"):
        ImageList(folder, max_pixels=1000).image(0)


def test_only_files_are_images_and_a_broken_link_is_found_out_on_decoding(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "list.txt").write_bytes(b"pipe.jpg\nnul\0byte.jpg\n")
    images = ImageList(folder)
    assert names_of(images) == ["cat/b.JPG", "cat/old/a.png", "dog/c.webp", "gone.jpg"]
    with pytest.raises(DecodeError, match=r"gone\.jpg: No such file"):
        images.image(3)
    listed = ImageList(folder / "list.txt")
    with pytest.raises(DecodeError, match=r"pipe\.jpg: not a regular file"):
        listed.image(0)
    with pytest.raises(DecodeError, match=r"byte\.jpg: embedded null byte"):
        listed.image(1)


def test_a_cache_is_used_until_the_arguments_change(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "photos.paths"
    assert len(ImageList(folder, cache=cache)) == 3
    (folder / "new.png").write_bytes(encode(picture(), "PNG"))
    assert len(ImageList(folder, cache=cache)) == 3
    assert len(ImageList(folder, extensions=("png",), cache=cache)) == 2
    assert len(ImageList(folder, cache=cache)) == 4


def test_a_changed_list_is_read_again_despite_its_cache(folder: Path, tmp_path: Path) -> None:
    (folder / "list.txt").write_text("cat/b.JPG\n")
    assert len(ImageList(folder / "list.txt", cache=tmp_path / "c")) == 1
    (folder / "list.txt").write_text("cat/b.JPG\ndog/c.webp\n")
    assert len(ImageList(folder / "list.txt", cache=tmp_path / "c")) == 2


def test_a_missing_root_is_named_with_its_nearest_neighbor(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*fotos; did you mean 'photos'"):
        ImageList(folder.parent / "fotos")
    with pytest.raises(DataError, match=r"there is no .*nowhere either"):
        ImageList(folder / "nowhere" / "x")


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"no images below .*; looked for \.jpg, \.png"):
        ImageList(tmp_path, extensions=("png", ".JPG"))


@pytest.mark.parametrize(
    "name, text, labels, message",
    [
        ("a.txt", "\n\n", None, "names no images"),
        ("a.csv", "", None, "the list is empty; its first line must name the columns"),
        ("a.csv", "path,label\n", None, "names no images"),
        ("a.csv", "Path,label\nx.jpg,1\n", None, r"no column 'path' in its first line; did you mean 'Path'\?"),
        ("a.csv", "path,class\nx.jpg,1\n", "column", r"no column 'label'.*ImageList\.label_column"),
        ("a.csv", "path,label\nx.jpg,1\n,2\n", None, r"a\.csv, line 3: no 'path' in this row"),
        ("a.csv", "path,label\nx.jpg,\ny.jpg,-1\nz.jpg\n", "column", r"a\.csv: no image has a label"),
        ("a.csv", 'path\n"x.jpg\n' + "y.jpg\n" * 30_000, None, r"a\.csv, line .*stray quotation mark"),
        ("a.json", "[]", None, r"neither a folder nor a list; lists end in \.txt, \.csv, \.tsv"),
        ("a.txt", "x.jpg", "folder", "is a list; use 'column' or None"),
        ("a.txt", "x.jpg", "name", "must be None, 'folder' or 'column', got 'name'"),
    ],
)
def test_an_unusable_list_is_rejected_with_the_reason(
    tmp_path: Path, name: str, text: str, labels: str | None, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        ImageList(tmp_path / name, labels)  # type: ignore[arg-type]


def test_folder_labels_reject_an_image_without_a_folder(folder: Path) -> None:
    (folder / "loose.png").write_bytes(encode(picture(), "PNG"))
    with pytest.raises(DataError, match=r"loose\.png lies directly in .*photos"):
        ImageList(folder, "folder")
    with pytest.raises(DataError, match="is a folder and has no columns"):
        ImageList(folder, "column")


def test_a_list_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "list.csv").write_text("path\ncat/b.JPG\n")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("selfsup.data.sources.entries.open", denied, raising=False)
    with pytest.raises(DataError, match=r"root: cannot read .*list\.csv: Permission denied"):
        ImageList(folder / "list.csv")


def test_a_cache_that_is_something_else_is_not_overwritten(folder: Path) -> None:
    (folder / "notes").write_text("precious")
    with pytest.raises(DataError, match=r"cache: .*notes: not a path table; remove the file"):
        ImageList(folder, cache=folder / "notes")
    assert (folder / "notes").read_text() == "precious"


def test_a_list_with_labels_is_not_taken_for_one_of_paths(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "with space.jpg").touch()
    (tmp_path / "labelled.txt").write_text("a.jpg nature\n")
    with pytest.raises(DataError, match=r"seems to name a label behind each path, 'nature' behind .*a\.jpg; read"):
        ImageList(tmp_path / "labelled.txt")
    assert ImageList(tmp_path / "labelled.txt", labels="column").classes == ["nature"]
    (tmp_path / "plain.txt").write_text("with space.jpg\nmissing too.jpg\n")
    assert len(ImageList(tmp_path / "plain.txt")) == 2
