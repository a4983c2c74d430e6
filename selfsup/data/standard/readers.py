"""How each kind of standard data set is read: from the files that its own page offers to a source."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.data.hierarchy import FINEST, Hierarchy
from selfsup.data.sources.image_list import ImageList
from selfsup.data.standard.files import NamedFiles, label_sets
from selfsup.errors import DataError, DecodeError

_VOC_VALUES = {"1": 1, "0": -1}  # shown, and difficult
TAXA = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


def folders(root: Path, split: str) -> Any:
    """A folder for each split, a folder for each class in it."""
    return ImageList(_there(root / split), "folder")


def folder(root: Path, split: str, *, inside: str = ".", border: int = 0) -> Any:
    """A folder for each class.

    Args:
        root: of the data set.
        split: the only one.
        inside: the folder that holds the classes.
        border: pixels cut off at each edge; ObjectNet's images have a red frame of 2.
    """
    found = ImageList(_there(root / inside), "folder")
    if not border:
        return found
    names = [found.name(index) for index in range(len(found))]
    return NamedFiles(root / inside, names, np.asarray(found.labels), found.classes or [], border=border)


def path_lists(root: Path, split: str, *, lists: str, images: str) -> Any:
    """A text file of paths and class numbers for each split."""
    file = _there(root / lists.format(split=split))
    pairs = [line.rsplit(None, 1) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    labels = np.array([int(number) for _, number in pairs], np.int64)
    base = next((path for path in (root / images, root) if path.is_dir()), root)
    names = [path for path, _ in pairs]
    by_number = {number: Path(name).parent.as_posix() for name, number in zip(names, labels.tolist(), strict=True)}
    classes = [by_number.get(number, str(number)) for number in range(int(labels.max()) + 1)]
    return NamedFiles(base, names, labels, classes)


def inaturalist(root: Path, split: str, *, annotations: str, taxonomy: str | None = None) -> Any:
    """The competition's JSON; ``taxa`` of what is returned holds the names from kingdom to species of each class."""
    found = _json(root / annotations.format(split=split))
    categories = found.get("categories") or []
    if taxonomy is not None and (root / taxonomy).is_file():
        categories = _json(root / taxonomy)
    if not categories:
        raise DataError.at(str(root), "no names of the categories", expected=f"{taxonomy} beside the annotations")
    categories = sorted(categories, key=lambda category: category["id"])
    position = {category["id"]: number for number, category in enumerate(categories)}
    file_of = {image["id"]: image["file_name"] for image in found["images"]}
    pairs = [(file_of[each["image_id"]], position[each["category_id"]]) for each in found["annotations"]]
    pairs.sort()
    species = [category.get("name") or str(category["id"]) for category in categories]
    source = NamedFiles(root, [name for name, _ in pairs], np.array([label for _, label in pairs], np.int64), species)
    source.taxa = [  # type: ignore[attr-defined]
        [str(category.get(rank) or "") for rank in TAXA[:-1]] + [name]
        for category, name in zip(categories, species, strict=True)
    ]
    levels = tuple(rank for rank in TAXA[:-1] if any(category.get(rank) for category in categories))
    lineages = {
        name: tuple(str(category.get(rank) or "none") for rank in levels)
        for category, name in zip(categories, species, strict=True)
    }
    named = tuple(f"taxonomic {rank}" if rank == FINEST else rank for rank in levels)
    source.taxonomy = Hierarchy(named, lineages)  # type: ignore[attr-defined]
    return source


def voc(root: Path, split: str, *, folder: str) -> Any:
    """ImageSets/Main: a file of images for each class: 1 where it is shown, 0 where only as difficult, else -1."""
    base = _there(root / folder)
    lists = sorted((base / "ImageSets" / "Main").glob(f"*_{split}.txt"))
    if not lists:
        raise DataError.at(str(base), f"no ImageSets/Main/CLASS_{split}.txt")
    classes = [path.name.removesuffix(f"_{split}.txt") for path in lists]
    known: dict[str, list[tuple[int, int]]] = {}
    for number, path in enumerate(lists):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, value = line.split()
            known.setdefault(name, []).extend([(number, _VOC_VALUES[value])] if value in _VOC_VALUES else [])
    names = sorted(known)
    sets = label_sets([known[name] for name in names], len(classes))
    return NamedFiles(base / "JPEGImages", [f"{name}.jpg" for name in names], sets, classes)


def coco(root: Path, split: str, *, year: int) -> Any:
    """instances_SPLIT.json: the categories of an image's objects are its classes; images without any are kept."""
    found = _json(root / "annotations" / f"instances_{split}{year}.json")
    categories = sorted(found["categories"], key=lambda category: category["id"])
    position = {category["id"]: number for number, category in enumerate(categories)}
    shown: dict[int, set[int]] = {image["id"]: set() for image in found["images"]}
    for each in found["annotations"]:
        shown[each["image_id"]].add(position[each["category_id"]])
    images = sorted(found["images"], key=lambda image: image["file_name"])
    sets = label_sets([[(number, 1) for number in sorted(shown[image["id"]])] for image in images], len(categories))
    names = [image["file_name"] for image in images]
    return NamedFiles(root / f"{split}{year}", names, sets, [category["name"] for category in categories])


def openimages(root: Path, split: str) -> Any:
    """The human-verified labels of images: confidence 1 means shown, 0 means verified as not shown."""
    with _there(root / "class-descriptions-boxable.csv").open(newline="", encoding="utf-8") as file:
        described = [(row[0], row[1]) for row in csv.reader(file) if row]
    position = {identifier: number for number, (identifier, _) in enumerate(described)}
    verified: dict[str, list[tuple[int, int]]] = {}
    path = _there(root / f"{split}-annotations-human-imagelabels-boxable.csv")
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            known = (position[row["LabelName"]], int(float(row["Confidence"]) > 0))
            verified.setdefault(row["ImageID"], []).append(known)
    names = sorted(verified)
    sets = label_sets([verified[name] for name in names], len(described), unlisted=-1)
    return NamedFiles(root / split, [f"{name}.jpg" for name in names], sets, [name for _, name in described])


def sun397(root: Path, split: str, *, lists: Mapping[str, str]) -> Any:
    """Partitions/LIST names the images of a split below SUN397, such as ``/a/abbey/sun_aqswjsnjlrfzzhiz.jpg``.

    Args:
        root: of the data set.
        split: of ``lists``, or ``'all'`` for every image.
        lists: the file of each split.
    """
    base = _there(root / "SUN397")
    found = _there(base / "ClassName.txt").read_text(encoding="utf-8").split()
    number = {name.strip("/"): place for place, name in enumerate(found)}
    if split == "all":
        names = sorted(path.relative_to(base).as_posix() for path in base.rglob("sun_*.jpg"))
    else:
        lines = _there(root / "Partitions" / lists[split]).read_text(encoding="utf-8").split()
        names = [line.strip("/") for line in lines]
    labels = np.array([number[name.rpartition("/")[0]] for name in names], np.int64)
    return NamedFiles(base, names, labels, [name.partition("/")[2] for name in number])


def geolifeclef(root: Path, split: str) -> Any:
    """A table of paths and labels, as one makes it from the competition's patches."""
    return ImageList(_there(root / f"observations_{split}.csv"), "column")


class TorchvisionImages:
    """A data set that torchvision reads, as a source.

    Args:
        dataset: without transforms; gives a PIL image and a class number.
        name: what its images are called, before their number.
        classes: names of the classes; None calls them by their numbers.
    """

    groups = None

    def __init__(self, dataset: Any, name: str, classes: list[str] | None) -> None:
        self.dataset, self._name = dataset, name
        self.labels = _torchvision_labels(dataset)
        if classes is None:
            numbers, self.labels = np.unique(self.labels, return_inverse=True)
            classes = [str(number) for number in numbers.tolist()]
        self.classes = classes

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def file(self) -> Callable[[int], str] | None:
        """``file(index)``, the path of an image; None where images lie in archives of torchvision's."""
        files = next((found for name in _FILES if (found := getattr(self.dataset, name, None)) is not None), None)
        return files and (lambda index: str(files[index][0] if isinstance(files[index], tuple) else files[index]))

    def name(self, index: int) -> str:
        """Data set, split and number."""
        return f"{self._name}/{index}"

    def image(self, index: int) -> np.ndarray:
        """The image, uint8 (H, W, 3).

        Raises:
            DecodeError: if it is not there, or cannot be decoded.
        """
        try:
            return np.asarray(self.dataset[index][0].convert("RGB"))
        except OSError as error:
            raise DecodeError(f"{self.name(index)}: {error}") from None


def torchvision(
    root: Path,
    split: str,
    *,
    dataset: str,
    splits: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    """What torchvision reads; nothing is downloaded."""
    from torchvision import datasets

    kind = getattr(datasets, dataset)
    how: dict[str, Any] = dict(arguments or {})
    if split != "all":
        how |= {"train": split == "train"} if dataset in _BY_FLAG else {"split": (splits or {}).get(split, split)}
    try:
        found = kind(str(root), **how)
    except (RuntimeError, FileNotFoundError, ModuleNotFoundError) as error:
        raise DataError.at(str(root), f"torchvision does not read it: {str(error).splitlines()[0]}") from None
    names = getattr(found, "classes", None) or getattr(found, "categories", None)
    return TorchvisionImages(found, f"{dataset}/{split}", None if names is None else [str(name) for name in names])


_FILES = ("imgs", "_image_files", "_images", "_samples")  # what torchvision calls its list of paths
_BY_FLAG = ("CIFAR10", "CIFAR100", "FashionMNIST")


def _torchvision_labels(dataset: Any) -> np.ndarray:
    """The class numbers of all images, int64, without decoding one: each data set keeps them elsewhere."""
    if type(dataset).__name__ == "PCAM":
        file = dataset._base_folder / dataset._FILES[dataset._split]["targets"][0]
        with dataset.h5py.File(file) as kept:
            return np.asarray(kept["y"], np.int64).reshape(-1)
    if type(dataset).__name__ == "StanfordCars":
        return np.array([number for _, number in dataset._samples], np.int64)
    kept = (getattr(dataset, name, None) for name in ("targets", "_labels", "labels", "y"))
    return np.asarray(next(each for each in kept if each is not None), np.int64)


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError.at(str(path), "is not there")
    return path


def _json(path: Path) -> Any:
    try:
        return json.loads(_there(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError.at(str(path), f"is no JSON ({error})") from None
