"""The table of standard data sets. Counts are the published ones; what is read is checked against them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StandardSet:
    """One data set.

    Args:
        reader: how it is read, a function of :mod:`selfsup.data.standard.readers`.
        images: published number of images of each split; 0 where none is known.
        classes: published number of classes.
        where: the page or command that it comes from, and its size.
        layout: what must lie in the root.
        metric: that papers report: ``'top1'``, ``'per_class'``, ``'map'`` or ``'map_11'`` (mean average precision, that
            of 11 points).
        train: the split that is learned from; None for sets of test images alone.
        val: the official split to choose hyper-parameters in; None if there is none.
        test: the split that papers report; empty where there is no official one, so that ``all`` is cut by us.
        lists: the file in the root without which the official split is not known, and ``all`` is cut by us.
        per_class: training images of each class where we cut, the others are test; None for four fifths of each class.
        options: of the reader.
    """

    reader: str
    images: Mapping[str, int]
    classes: int
    where: str
    layout: str
    metric: str = "top1"
    train: str | None = "train"
    val: str | None = None
    test: str = "test"
    lists: str | None = None
    per_class: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)


_FOLDERS = "a folder for each split ({}), a folder for each class in it"
_ONE = "a folder for each class"


def _torchvision(name: str, images: Mapping[str, int], classes: int, where: str, **more: object) -> StandardSet:
    options = {"dataset": name, **more.pop("options", {})}  # type: ignore[dict-item]
    layout = f"as torchvision.datasets.{name} reads it"
    return StandardSet("torchvision", images, classes, where, layout, options=options, **more)  # type: ignore[arg-type]


def _folders(images: Mapping[str, int], classes: int, where: str, **more: object) -> StandardSet:
    return StandardSet("folders", images, classes, where, _FOLDERS.format(", ".join(images)), **more)  # type: ignore[arg-type]


def _challenge(images: int, classes: int, where: str) -> StandardSet:
    return StandardSet("folder", {"test": images}, classes, where, _ONE, train=None)


def _vtab(images: Mapping[str, int], classes: int, name: str, size: str, parts: str = "") -> StandardSet:
    """Of those that only tensorflow_datasets prepares, in the parts that VTAB's own code cuts.

    Sizes and parts were read in google-research/task_adaptation (``data/*.py``) and in the catalog of
    tensorflow_datasets, those of dmlab on the page of a copy of VTAB's, https://huggingface.co/dpdl-benchmark.
    """
    parts = f", {parts}" if parts else ""
    where = f"tensorflow_datasets.load('{name}') ({size}{parts}), each image written to a folder of its class"
    return _folders(images, classes, where, val="val")


def _sun397(images: Mapping[str, int], lists: Mapping[str, str], where: str, val: str | None = None) -> StandardSet:
    return StandardSet(
        "sun397",
        {**images, "all": 108_754},
        397,
        f"https://vision.princeton.edu/projects/2010/SUN (37 GB); the lists are {where}",
        f"SUN397/ with ClassName.txt and the images, Partitions/ with {', '.join(lists.values())}",
        val=val,
        lists=f"Partitions/{lists['test']}",
        options={"lists": lists},
    )


SETS: dict[str, StandardSet] = {
    "imagenet": _folders(
        {"train": 1_281_167, "val": 50_000},
        1000,
        "https://image-net.org/download-images (ILSVRC2012, about 155 GB; val sorted into its classes)",
        test="val",
    ),
    "places205": StandardSet(
        "path_lists",
        {"train": 2_448_873, "val": 20_500},
        205,
        "http://places.csail.mit.edu/downloadData.html (about 130 GB)",
        "images256/ with the images of the lists trainvalsplit_places205/{train,val}_places205.csv",
        test="val",
        options={"lists": "trainvalsplit_places205/{split}_places205.csv", "images": "images256"},
    ),
    "places365": _torchvision(
        "Places365",
        {"train": 1_803_460, "val": 36_500},
        365,
        "http://places2.csail.mit.edu/download.html (256 px, about 26 GB)",
        test="val",
        options={"splits": {"train": "train-standard", "val": "val"}, "arguments": {"small": True}},
    ),
    "inat2018": StandardSet(
        "inaturalist",
        {"train": 437_513, "val": 24_426},
        8142,
        "https://github.com/visipedia/inat_comp/tree/master/2018 (about 120 GB)",
        "train_val2018/, train2018.json, val2018.json, and categories.json for the taxonomy",
        test="val",
        options={"annotations": "{split}2018.json", "taxonomy": "categories.json"},
    ),
    "inat2021": StandardSet(
        "inaturalist",
        {"train": 2_686_843, "val": 100_000},
        10_000,
        "https://github.com/visipedia/inat_comp/tree/master/2021 (about 232 GB)",
        "train/, val/, train.json, val.json",
        test="val",
        options={"annotations": "{split}.json"},
    ),
    "inat2021_mini": StandardSet(
        "inaturalist",
        {"train_mini": 500_000, "val": 100_000},
        10_000,
        "https://github.com/visipedia/inat_comp/tree/master/2021 (about 50 GB)",
        "train_mini/, val/, train_mini.json, val.json",
        train="train_mini",
        test="val",
        options={"annotations": "{split}.json"},
    ),
    "cifar10": _torchvision(
        "CIFAR10", {"train": 50_000, "test": 10_000}, 10, "https://www.cs.toronto.edu/~kriz/cifar.html (0.2 GB)"
    ),
    "cifar100": _torchvision(
        "CIFAR100", {"train": 50_000, "test": 10_000}, 100, "https://www.cs.toronto.edu/~kriz/cifar.html (0.2 GB)"
    ),
    "fashion_mnist": _torchvision(
        "FashionMNIST",
        {"train": 60_000, "test": 10_000},
        10,
        "https://github.com/zalandoresearch/fashion-mnist (0.03 GB)",
    ),
    "voc07": StandardSet(
        "voc",
        {"trainval": 5011, "test": 4952},
        20,
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007 (0.9 GB)",
        "VOCdevkit/VOC2007 with JPEGImages and ImageSets/Main",
        "map_11",
        train="trainval",
        options={"folder": "VOCdevkit/VOC2007"},
    ),
    "coco2014": StandardSet(
        "coco",
        {"train": 82_783, "val": 40_504},
        80,
        "https://cocodataset.org/#download (19 GB)",
        "train2014/, val2014/, annotations/instances_{train,val}2014.json",
        "map",
        test="val",
        options={"year": 2014},
    ),
    "coco2017": StandardSet(
        "coco",
        {"train": 118_287, "val": 5_000},
        80,
        "https://cocodataset.org/#download (19 GB)",
        "train2017/, val2017/, annotations/instances_{train,val}2017.json",
        "map",
        test="val",
        options={"year": 2017},
    ),
    "openimages": StandardSet(
        "openimages",
        {"train": 1_743_042, "validation": 41_620, "test": 125_436},
        601,
        "https://storage.googleapis.com/openimages/web/download.html (images with boxable labels, about 561 GB)",
        "train/, validation/, test/, class-descriptions-boxable.csv, {split}-annotations-human-imagelabels-boxable.csv",
        "map",
        val="validation",
    ),
    "objectnet": StandardSet(
        "folder",
        {"test": 50_273},
        313,
        "https://objectnet.dev/download.html (about 195 GB)",
        "images/ with a folder for each class",
        train=None,
        options={"inside": "images", "border": 2},
    ),
    "imagenet_a": _challenge(7_500, 200, "https://github.com/hendrycks/natural-adv-examples (0.7 GB)"),
    "imagenet_r": _challenge(30_000, 200, "https://github.com/hendrycks/imagenet-r (2.2 GB)"),
    "imagenet_v2": _challenge(10_000, 1000, "https://github.com/modestyachts/ImageNetV2 (matched-frequency, 1.3 GB)"),
    "imagenet_sketch": _challenge(50_889, 1000, "https://github.com/HaohanWang/ImageNet-Sketch (about 7 GB)"),
    "glc20": StandardSet(
        "geolifeclef",
        {"train": 0, "val": 0},  # published as about a million, not by split
        16,
        "https://www.kaggle.com/c/geolifeclef-2020 (about 1 million patches of France and the USA)",
        "observations_{split}.csv, columns path (of an RGB image, relative to the root) and label (its land cover)",
        test="val",
    ),
    "food101": _torchvision(
        "Food101",
        {"train": 75_750, "test": 25_250},
        101,
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101 (5 GB)",
    ),
    "sun397": _sun397(
        {"train": 19_850, "test": 19_850},
        {"train": "Training_01.txt", "test": "Testing_01.txt"},
        "the first of the ten in download/Partitions.zip there",
    ),
    "sun397_tfds": _sun397(
        {"train": 76_128, "val": 10_875, "test": 21_750},
        {"train": "sun397_tfds_tr.txt", "val": "sun397_tfds_va.txt", "test": "sun397_tfds_te.txt"},
        "in tensorflow_datasets/image_classification of https://github.com/tensorflow/datasets",
        val="val",
    ),
    "cars": _torchvision(
        "StanfordCars", {"train": 8_144, "test": 8_041}, 196, "torchvision's page on StanfordCars says where (2 GB)"
    ),
    "aircraft": _torchvision(
        "FGVCAircraft",
        {"train": 3_334, "val": 3_333, "test": 3_333},
        100,
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft (2.6 GB)",
        metric="per_class",
        val="val",
    ),
    "pets": _torchvision(
        "OxfordIIITPet",
        {"trainval": 3_680, "test": 3_669},
        37,
        "https://www.robots.ox.ac.uk/~vgg/data/pets (0.8 GB)",
        metric="per_class",
        train="trainval",
    ),
    "flowers": _torchvision(
        "Flowers102",
        {"train": 1_020, "val": 1_020, "test": 6_149},
        102,
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102 (0.3 GB)",
        metric="per_class",
        val="val",
    ),
    "caltech101": StandardSet(
        "folder",
        {"all": 9_144},
        102,
        "https://data.caltech.edu/records/mzrjq-6wc02 (0.1 GB)",
        "caltech101/101_ObjectCategories/ with a folder for each class, BACKGROUND_Google among them",
        metric="per_class",
        train="all",
        test="",
        per_class=30,
        options={"inside": "caltech101/101_ObjectCategories"},
    ),
    "dtd": _torchvision(
        "DTD",
        {"train": 1_880, "val": 1_880, "test": 1_880},
        47,
        "https://www.robots.ox.ac.uk/~vgg/data/dtd (0.6 GB)",
        val="val",
    ),
    "birdsnap": _folders(
        {"train": 47_386, "test": 2_443}, 500, "http://thomasberg.org (addresses of the images; a part is gone by now)"
    ),
    "svhn": _torchvision(
        "SVHN", {"train": 73_257, "test": 26_032}, 10, "http://ufldl.stanford.edu/housenumbers (0.2 GB)"
    ),
    "eurosat": _torchvision(
        "EuroSAT", {"all": 27_000}, 10, "https://github.com/phelber/eurosat (0.09 GB)", train="all", test=""
    ),
    "camelyon": _torchvision(
        "PCAM",
        {"train": 262_144, "val": 32_768, "test": 32_768},
        2,
        "https://github.com/basveeling/pcam (8 GB; reading it needs h5py)",
        val="val",
    ),
    "clevr_count": _torchvision(
        "CLEVRClassification",
        {"train": 70_000, "val": 15_000},
        8,
        "https://cs.stanford.edu/people/jcjohns/clevr (18 GB)",
        test="val",
    ),
    "resisc45": _vtab(
        {"train": 18_900, "val": 6_300, "test": 6_300}, 45, "resisc45", "0.4 GB", "its train cut at 60 and 80 %"
    ),
    "retinopathy": _vtab(
        {"train": 35_126, "val": 10_906, "test": 42_670},
        5,
        "diabetic_retinopathy_detection/btgraham-300",
        "from Kaggle's 88 GB",
    ),
    "clevr_distance": _vtab(
        {"train": 63_000, "val": 7_000, "test": 15_000},
        6,
        "clevr",
        "18 GB",
        "its train cut at 90 %; test is its validation; the nearest object is at 8, 8.5, 9, 9.5, 10 or more",
    ),
    "dmlab": _vtab({"train": 65_550, "val": 22_628, "test": 22_735}, 6, "dmlab", "13 GB"),
    "dsprites_location": _vtab(
        {"train": 589_824, "val": 73_728, "test": 73_728},
        16,
        "dsprites",
        "0.03 GB",
        "its train cut at 80 and 90 %; 32 horizontal positions, two a class",
    ),
    "dsprites_orientation": _vtab(
        {"train": 589_824, "val": 73_728, "test": 73_728},
        16,
        "dsprites",
        "0.03 GB",
        "its train cut at 80 and 90 %; 40 orientations, 2.5 a class, rounded down",
    ),
    "kitti_distance": _vtab(
        {"train": 6_347, "val": 423, "test": 711},
        4,
        "kitti",
        "12 GB",
        "the distance of the nearest vehicle cut at 8 and 20 m, and no vehicle",
    ),
    "snorb_azimuth": _vtab(
        {"train": 24_300, "val": 12_150, "test": 12_150}, 18, "smallnorb", "0.3 GB", "val is the first half of its test"
    ),
    "snorb_elevation": _vtab(
        {"train": 24_300, "val": 12_150, "test": 12_150}, 9, "smallnorb", "0.3 GB", "val is the first half of its test"
    ),
}

VTAB = (
    "caltech101", "cifar100", "dtd", "flowers", "pets", "sun397", "svhn",
    "camelyon", "eurosat", "resisc45", "retinopathy",
    "clevr_count", "clevr_distance", "dmlab", "dsprites_location", "dsprites_orientation", "kitti_distance",
    "snorb_azimuth", "snorb_elevation",
)  # fmt: skip
"""The nineteen of Zhai et al. 2019, arXiv:1910.04867: natural, specialized, structured; SUN397 as ``sun397_tfds``."""

SIMCLR_TRANSFER = (
    "food101", "cifar10", "cifar100", "birdsnap", "sun397", "cars", "aircraft", "voc07", "dtd", "pets", "caltech101",
    "flowers",
)  # fmt: skip
"""The twelve of SimCLR's table 8, arXiv:2002.05709."""
