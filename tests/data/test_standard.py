"""Small copies of standard data sets, laid out and annotated as their own pages describe them."""

import dataclasses
import json
import pickle
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torchvision

from selfsup.config import find_config
from selfsup.config.read import read_config
from selfsup.data import InputContract
from selfsup.data.standard import SETS, Standard
from selfsup.data.standard.readers import TorchvisionImages
from selfsup.data.standard.sets import SIMCLR_TRANSFER, VTAB
from selfsup.errors import ConfigError, DataError, DecodeError
from selfsup.evaluation import KNN, RawPixels, Representation, Retrieval
from selfsup.evaluation.evaluator import evaluate_task
from selfsup.evaluation.standard import StandardTask


def write_image(path: Path, level: int, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), level, np.uint8))


def shown(source: Standard) -> dict[str, list[str]]:
    """The classes of each image, by name."""
    found = {}
    for index in range(len(source)):
        row = np.atleast_1d(source.labels[index])
        numbers = np.flatnonzero(row) if hasattr(source.labels, "num_classes") else row
        found[source.name(index)] = [source.classes[number] for number in numbers]
    return found


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for number, wnid in enumerate(("n01440764", "n01443537")):
        for index in range(10):
            write_image(tmp_path / "train" / wnid / f"{wnid}_{index}.JPEG", 20 * number + index)
        write_image(tmp_path / "val" / wnid / f"ILSVRC2012_val_0000000{number}.JPEG", 100 + number)
    return tmp_path


def test_imagenet_lies_in_folders_and_the_official_lists_choose_labels(imagenet: Path) -> None:
    official = imagenet / "1percent.txt"
    official.write_text("n01440764_3.JPEG\nn01443537_7.JPEG\nn01443537_1.JPEG\n")
    task = StandardTask("imagenet", imagenet, label_list=official, val=0.4, complete=False)
    assert [task.train.name(index).rpartition("/")[2] for index in range(3)] == [
        "n01440764_3.JPEG", "n01443537_1.JPEG", "n01443537_7.JPEG",
    ]  # fmt: skip
    assert len(task.parts.test) == 2
    official.write_text("n01440764_99.JPEG\n")
    with pytest.raises(DataError) as caught:
        StandardTask("imagenet", imagenet, label_list=official, complete=False)
    assert caught.value.problems[0].got == "n01440764_99.JPEG"


def test_few_labels_come_from_the_official_validation_split_too(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("val", 10), ("test", 2)):
        for number in range(count):
            write_image(tmp_path / split / ("airport", "beach")[number % 2] / f"{split}_{number}.jpg", number)
    parts = StandardTask("resisc45", tmp_path, max_train=10, complete=False).parts
    assert (len(parts.train), len(parts.val), len(parts.test)) == (8, 2, 2)
    assert all("val_" in parts.val.name(index) for index in range(2))


def test_places205_is_a_list_of_paths_and_numbers(tmp_path: Path) -> None:
    rows = "a/abbey/gsun_0003d7ee4fb6a7e2ca8d9d6dde1bb3e5.jpg 0\na/airport_terminal/gsun_f6a1e4ad.jpg 1\n"
    lists = tmp_path / "trainvalsplit_places205"
    lists.mkdir()
    (lists / "val_places205.csv").write_text(rows)
    write_image(tmp_path / "images256" / "a/abbey/gsun_0003d7ee4fb6a7e2ca8d9d6dde1bb3e5.jpg", 90)
    places = Standard("places205", tmp_path, "val", complete=False)
    assert places.classes == ["a/abbey", "a/airport_terminal"]
    assert places.labels.tolist() == [0, 1]
    np.testing.assert_allclose(places.image(0), 90, atol=2)


def test_inaturalist_has_a_taxonomy(tmp_path: Path) -> None:
    category = {
        "id": 1, "name": "Eisenia fetida", "common_name": "Red Wiggler Worm", "supercategory": "Animalia",
        "kingdom": "Animalia", "phylum": "Annelida", "class": "Clitellata", "order": "Haplotaxida",
        "family": "Lumbricidae", "genus": "Eisenia", "specific_epithet": "fetida", "image_dir_name": "00001_Animalia",
    }  # fmt: skip
    other = {**category, "id": 0, "name": "Lumbricus terrestris", "genus": "Lumbricus"}
    annotations = {
        "images": [
            {"id": 5, "file_name": "val/00001_Animalia/b.jpg"},
            {"id": 9, "file_name": "val/00000_Animalia/a.jpg"},
        ],
        "annotations": [{"id": 0, "image_id": 5, "category_id": 1}, {"id": 1, "image_id": 9, "category_id": 0}],
        "categories": [category, other],
    }
    (tmp_path / "val.json").write_text(json.dumps(annotations))
    found = Standard("inat2021", tmp_path, "val", complete=False)
    assert shown(found) == {
        "val/00000_Animalia/a.jpg": ["Lumbricus terrestris"], "val/00001_Animalia/b.jpg": ["Eisenia fetida"],
    }  # fmt: skip
    assert found.taxa[1] == [
        "Animalia", "Annelida", "Clitellata", "Haplotaxida", "Lumbricidae", "Eisenia", "Eisenia fetida",
    ]  # fmt: skip


def test_inaturalist_2018_has_its_names_in_a_file_of_their_own(tmp_path: Path) -> None:
    """Names in train2018.json are obfuscated; categories.json holds the list that replaces them."""
    ranks = {"kingdom": "Animalia", "phylum": "Chordata", "class": "Aves", "order": "Anseriformes"}
    ranks |= {"supercategory": "Aves", "family": "Anatidae"}
    named = [
        {"id": 4141, "name": "Anas platyrhynchos", "genus": "Anas", **ranks},
        {"id": 2820, "name": "Aix sponsa", "genus": "Aix", **ranks},
    ]
    hidden = [{"id": each["id"], "name": str(each["id"]), **dict.fromkeys(ranks, "5")} for each in named]
    file = "train_val2018/Aves/2820/be77d37b52ef9f0f0f15a4bb2cb8bc14.jpg"
    image = {"id": 1, "width": 800, "height": 600, "file_name": file, "license": 3, "rights_holder": "Ruth"}
    annotations = {
        "info": {"year": 2018, "version": "1"}, "licenses": [{"id": 3, "name": "CC BY-NC", "url": ""}],
        "images": [image], "categories": hidden, "annotations": [{"id": 1, "image_id": 1, "category_id": 2820}],
    }  # fmt: skip
    for split in ("train", "val"):
        (tmp_path / f"{split}2018.json").write_text(json.dumps(annotations))
    assert shown(Standard("inat2018", tmp_path, "train", complete=False)) == {file: ["2820"]}
    (tmp_path / "categories.json").write_text(json.dumps(named))
    write_image(tmp_path / file, 70)
    found = Standard("inat2018", tmp_path, "val", complete=False)
    assert (shown(found), found.classes) == ({file: ["Aix sponsa"]}, ["Aix sponsa", "Anas platyrhynchos"])
    assert found.taxa[0] == ["Animalia", "Chordata", "Aves", "Anseriformes", "Anatidae", "Aix", "Aix sponsa"]
    assert found.taxonomy.lineages["Aix sponsa"] == tuple(found.taxa[0][:-1])
    np.testing.assert_allclose(found.image(0), 70, atol=2)


def test_voc_tells_difficult_objects_from_absent_ones(tmp_path: Path) -> None:
    main = tmp_path / "VOCdevkit/VOC2007/ImageSets/Main"
    main.mkdir(parents=True)
    (main / "aeroplane_test.txt").write_text("000001 -1\n000002  1\n000004  0\n")
    (main / "car_test.txt").write_text("000001  1\n000002  1\n000004 -1\n")
    found = Standard("voc07", tmp_path, "test", complete=False)
    assert shown(found) == {"000001.jpg": ["car"], "000002.jpg": ["aeroplane", "car"], "000004.jpg": []}
    assert [np.flatnonzero(found.labels.row(index) < 0).tolist() for index in range(3)] == [[], [], [0]]
    assert SETS["voc07"].metric == "map_11"


def test_coco_categories_keep_their_order_whatever_their_ids(tmp_path: Path) -> None:
    annotations = {
        "images": [{"id": 139, "file_name": "000000000139.jpg"}, {"id": 285, "file_name": "000000000285.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 139, "category_id": 90, "bbox": [1, 1, 4, 4], "iscrowd": 0},
            {"id": 2, "image_id": 139, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0},
            {"id": 3, "image_id": 139, "category_id": 1, "bbox": [2, 1, 4, 4], "iscrowd": 0},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(annotations))
    found = Standard("coco2017", tmp_path, "val", complete=False)
    assert shown(found) == {"000000000139.jpg": ["person", "toothbrush"], "000000000285.jpg": []}


def test_openimages_ignores_what_nobody_has_verified(tmp_path: Path) -> None:
    (tmp_path / "class-descriptions-boxable.csv").write_text(
        "/m/011k07,Tortoise\n/m/011q46kg,Container\n/m/012074,Magpie\n"
    )
    (tmp_path / "test-annotations-human-imagelabels-boxable.csv").write_text(
        "ImageID,Source,LabelName,Confidence\n000026e7ee790996,verification,/m/011k07,1\n"
        "000026e7ee790996,verification,/m/012074,0\n000062a39995e348,crowdsource-verification,/m/012074,1\n"
    )
    found = Standard("openimages", tmp_path, "test", complete=False)
    assert shown(found) == {"000026e7ee790996.jpg": ["Tortoise"], "000062a39995e348.jpg": ["Magpie"]}
    assert [np.flatnonzero(found.labels.row(index) < 0).tolist() for index in range(2)] == [[1], [0, 1]]


def test_the_red_frame_of_objectnet_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "images/air_freshener/0a1b.png"
    write_image(path, 80, side=20)
    framed = cv2.copyMakeBorder(cv2.imread(str(path)), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0, 0, 255))
    cv2.imwrite(str(path), framed)
    found = Standard("objectnet", tmp_path, "test", complete=False)
    assert found.classes == ["air_freshener"]
    np.testing.assert_array_equal(found.image(0), np.full((20, 20, 3), 80))


def test_torchvision_reads_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    for batch in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / batch).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 8]}))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    found = Standard("cifar10", tmp_path, "test", complete=False)
    assert shown(found) == {"CIFAR10/test/0": ["cat"], "CIFAR10/test/1": ["ship"]}
    np.testing.assert_array_equal(found.image(1), pixels[1].reshape(3, 32, 32).transpose(1, 2, 0))


def write_idx(path: Path, values: np.ndarray) -> None:
    """Fashion-MNIST's format: 0, 0, 8 for bytes, the number of dimensions, their sizes with the high byte first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.array(values.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes())


def test_fashion_mnist_is_gray_images_in_idx_files(tmp_path: Path) -> None:
    pixels = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    for part in ("train", "t10k"):
        write_idx(tmp_path / "FashionMNIST/raw" / f"{part}-images-idx3-ubyte", pixels)
        write_idx(tmp_path / "FashionMNIST/raw" / f"{part}-labels-idx1-ubyte", np.array([9, 0, 3]))
    found = Standard("fashion_mnist", tmp_path, "test", complete=False)
    labels = [["Ankle boot"], ["T-shirt/top"], ["Dress"]]
    assert shown(found) == {f"FashionMNIST/test/{number}": label for number, label in enumerate(labels)}
    np.testing.assert_array_equal(found.image(2), np.repeat(pixels[2][..., None], 3, axis=2))


def test_places365_lists_paths_and_numbers_of_256_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dataclasses.replace(SETS["places365"], images={"train": 2, "val": 1}, classes=3)
    monkeypatch.setitem(SETS, "places365", known)
    monkeypatch.setattr("torchvision.datasets.places365.check_integrity", lambda file, md5: Path(file).is_file())
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n/f/field/wild 1\n/f/field_road 2\n")
    (tmp_path / "places365_train_standard.txt").write_text("/a/airfield/00000001.jpg 0\n/f/field/wild/00004872.jpg 1\n")
    (tmp_path / "places365_val.txt").write_text("Places365_val_00000001.jpg 2\n")
    write_image(tmp_path / "data_256_standard/f/field/wild/00004872.jpg", 50)
    with pytest.raises(DataError) as caught:
        Standard("places365", tmp_path, "train")
    assert caught.value.problems[0].got == str(tmp_path / "data_256_standard/a/airfield/00000001.jpg")
    train = Standard("places365", tmp_path, "train", complete=False)
    assert list(shown(train).values()) == [["/a/airfield"], ["/f/field/wild"]]
    np.testing.assert_allclose(train.image(1), 50, atol=2)
    with pytest.raises(DecodeError):
        train.image(0)
    write_image(tmp_path / "val_256/Places365_val_00000001.jpg", 60)
    assert list(shown(Standard("places365", tmp_path, "val")).values()) == [["/f/field_road"]]


def test_glc20_is_a_table_of_patches_and_land_covers(tmp_path: Path) -> None:
    """Patches lie as the competition's do: that of occurrence XXXXXABCD at CD/AB/XXXXXABCD."""
    rows = "path,label\npatches/75/16/10171675.png,forest\npatches/02/88/22068802.png,pasture and meadows\n"
    (tmp_path / "observations_val.csv").write_text(rows)
    write_image(tmp_path / "patches/02/88/22068802.png", 40)
    found = Standard("glc20", tmp_path, "val", complete=False)
    assert [labels for labels in shown(found).values()] == [["forest"], ["pasture and meadows"]]
    np.testing.assert_array_equal(found.image(1), np.full((8, 8, 3), 40))
    with pytest.raises(DataError) as caught:
        Standard("glc20", tmp_path, "val")
    assert (caught.value.problems[0].got, caught.value.problems[0].message) == (2, "val must have 16 classes")


@pytest.fixture
def sun397(tmp_path: Path) -> Path:
    classes = ("/a/abbey", "/a/apartment_building/outdoor")
    for number, name in enumerate(classes):
        for index in range(10):
            write_image(tmp_path / f"SUN397{name}" / f"sun_aaalbzqrima{index}.jpg", 20 * index + 10 * number)
    (tmp_path / "SUN397/ClassName.txt").write_text("\n".join(classes) + "\n")
    return tmp_path


def test_sun397_follows_its_official_lists(sun397: Path) -> None:
    (sun397 / "Partitions").mkdir()
    abbey, building = "/a/abbey/sun_aaalbzqrima3.jpg", "/a/apartment_building/outdoor/sun_aaalbzqrima7.jpg"
    (sun397 / "Partitions/Training_01.txt").write_text(f"{abbey}\r\n{building}\r\n")
    (sun397 / "Partitions/Testing_01.txt").write_text(f"{building.replace('7', '8')}\r\n")
    train = Standard("sun397", sun397, "train", complete=False)
    assert shown(train) == {abbey[1:]: ["abbey"], building[1:]: ["apartment_building/outdoor"]}
    np.testing.assert_allclose(train.image(1), 150, atol=2)
    task = StandardTask("sun397", sun397, val=0.5, complete=False)
    assert (len(task.parts.test), task.note) == (1, None)


def test_rows_say_that_a_split_is_ours(sun397: Path) -> None:
    task = StandardTask("sun397", sun397, complete=False)
    assert [len(task.parts.train) + len(task.parts.val), len(task.parts.test)] == [16, 4]
    assert np.bincount(task.parts.test.labels).tolist() == [2, 2]
    representation = Representation(RawPixels(2), InputContract(size=8, resize="none"))
    for evaluator in (KNN(k=3), Retrieval()):
        (note,) = [
            note for note in evaluate_task(representation, task, "x", evaluator).notes if "split is ours" in note
        ]
        assert "Partitions/Testing_01.txt is not there" in note


def test_caltech101_learns_from_30_images_of_each_class(tmp_path: Path) -> None:
    for first, (name, count) in ((0, ("BACKGROUND_Google", 31)), (100, ("accordion", 34))):
        for number in range(1, count + 1):
            write_image(tmp_path / "caltech101/101_ObjectCategories" / name / f"image_{number:04d}.jpg", first + number)
    task = StandardTask("caltech101", tmp_path, complete=False)
    train, val, test = (np.asarray(part.labels) for part in (task.parts.train, task.parts.val, task.parts.test))
    assert np.bincount(np.concatenate([train, val])).tolist() == [30, 30]
    assert (np.bincount(test).tolist(), task.metric) == ([1, 4], "per_class")
    assert "30 images of each class" in (task.note or "")


class KeptLabels(SimpleNamespace):
    """A torchvision data set as far as its labels go."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))


def test_labels_are_found_where_torchvision_keeps_them() -> None:
    cars = type("StanfordCars", (KeptLabels,), {})(_samples=[("a.jpg", 1), ("b.jpg", 0)])
    assert TorchvisionImages(cars, "cars", ["BMW", "Audi"]).labels.tolist() == [1, 0]
    assert {type(cars).__name__, "PCAM"} <= set(dir(torchvision.datasets))
    opened: dict[str, Any] = {
        "pcam/camelyonpatch_level_2_split_valid_y.h5": {"y": np.array([1, 0, 1]).reshape(3, 1, 1, 1)}
    }
    pcam = type("PCAM", (KeptLabels,), {"_FILES": torchvision.datasets.PCAM._FILES})(
        h5py=SimpleNamespace(File=lambda path: nullcontext(opened[path.as_posix()])),
        _base_folder=Path("pcam"),
        _split="val",
    )
    assert TorchvisionImages(pcam, "camelyon", None).labels.tolist() == [1, 0, 1]
    clevr = TorchvisionImages(KeptLabels(_labels=[3, 10, 3, 6]), "clevr", None)  # counts of objects, from 3 on
    assert (clevr.labels.tolist(), clevr.classes) == ([0, 2, 0, 1], ["3", "6", "10"])


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_is_not_there_is_said_with_where_it_comes_from(name: str, tmp_path: Path) -> None:
    known = SETS[name]
    with pytest.raises(DataError) as caught:
        Standard(name, tmp_path, next(iter(known.images)))
    assert caught.value.problems[0].path.startswith(f"{name}: ")
    assert known.where in caught.value.problems[0].expected


def test_counts_are_held_against_the_published_ones(imagenet: Path) -> None:
    with pytest.raises(DataError) as caught:
        Standard("imagenet", imagenet, "val")
    assert (caught.value.problems[0].got, caught.value.problems[0].message) == (2, "val must have 50,000 images")
    with pytest.raises(ConfigError):
        Standard("imagenet", imagenet, "test")


def test_the_two_suites_are_complete() -> None:
    assert len(set(VTAB)) == 19 and set(VTAB) <= set(SETS)
    config = read_config(find_config("eval/vtab"))["tasks"]
    assert [name.partition("/")[2] for name in config] == list(VTAB)
    assert {section["set"] for section in config.values()} == {*VTAB, "sun397_tfds"} - {"sun397"}
    assert len(set(SIMCLR_TRANSFER)) == 12 and set(SIMCLR_TRANSFER) <= set(SETS)


def test_annotations_whose_images_are_not_there_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dataclasses.replace(SETS["coco2017"], images={"val": 2}, classes=1)
    monkeypatch.setitem(SETS, "coco2017", known)
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2)]
    annotations = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(annotations))
    write_image(tmp_path / "val2017" / "1.jpg", 9)
    with pytest.raises(DataError) as caught:
        Standard("coco2017", tmp_path, "val")
    assert caught.value.problems[0].got == str(tmp_path / "val2017" / "2.jpg")
    write_image(tmp_path / "val2017" / "2.jpg", 9)
    assert len(Standard("coco2017", tmp_path, "val")) == 2
