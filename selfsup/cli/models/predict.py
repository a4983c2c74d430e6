"""``selfsup predict``: the classes of images, by a classifier that ``selfsup transfer`` has left."""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from selfsup.cli.models.similar import Files
from selfsup.errors import DataError

PRINTED = 50  # images on the terminal where the rest is in a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("model", metavar="MODEL", help="the work dir of a transfer, or its model.safetensors")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files, folders of images, or lists of paths")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="classes for each image (default: 1)")
    parser.add_argument("--json", action="store_true", help="a JSON line for each image instead of a table")
    parser.add_argument("--out", type=Path, metavar="CSV", help="a table as a file")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images at a time (default: 64)")


def run(chosen: argparse.Namespace) -> int:
    """Name the classes of images by a classifier."""
    from selfsup.transfer.classifier import load_classifier, probabilities

    if chosen.top < 1:
        raise DataError.at("--top", "must be >= 1", got=chosen.top)
    source = Files(_files(chosen.images))
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    classifier = load_classifier(chosen.model, device=chosen.device, batch_size=chosen.batch_size)
    classifier.log = errors.print
    logits, index = classifier.predict(source)
    shares, classes = probabilities(logits).topk(min(chosen.top, len(classifier.classes)), dim=1)
    found: list[dict[str, Any]] = [
        {
            "image": source.name(place),
            "classes": [classifier.classes[number] for number in numbers],
            "probabilities": [round(share, 4) for share in of_image],
        }
        for place, numbers, of_image in zip(index.tolist(), classes.tolist(), shares.tolist(), strict=True)
    ]
    if chosen.out is not None:
        _write(found, source, chosen.out)
    if chosen.json:
        for each in found:
            print(json.dumps(each))
    else:
        for each in found[: PRINTED if chosen.out else None]:
            named = ", ".join(f"{name} {share:.1%}" for name, share in zip(*list(each.values())[1:], strict=True))
            print(f"{each['image']}: {named}")
    if chosen.out is not None and not chosen.json:
        print(f"{chosen.out}: {len(found):,} images, {len(source) - len(found):,} cannot be read")
    return 0


def _files(named: list[str]) -> list[str]:
    """The paths of images, in folders and lists too."""
    from selfsup.data import ImageList
    from selfsup.data.sources.entries import LIST_EXTENSIONS

    paths = []
    for each in named:
        path = Path(each).expanduser()
        if path.is_dir() or path.suffix.lower() in LIST_EXTENSIONS:
            try:
                images = ImageList(path)
            except DataError as error:
                raise DataError.at("IMAGES", error.problems[0].message, got=error.problems[0].got) from None
            paths += [images.file(index) for index in range(len(images))]
        else:
            paths.append(each)
    return paths


def _write(found: list[dict[str, Any]], source: Files, out: Path) -> None:
    """A line for each image; one that cannot be read has no class."""
    by_name = {each["image"]: each for each in found}
    top = max((len(each["classes"]) for each in found), default=1)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            heads = [f"{what}_{place}" for place in range(1, top + 1) for what in ("class", "probability")]
            writer.writerow(["image", *heads])
            for index in range(len(source)):
                each = by_name.get(source.name(index))
                pairs = zip(each["classes"], each["probabilities"], strict=True) if each else ()
                writer.writerow([source.name(index), *(value for pair in pairs for value in pair)])
    except OSError as error:
        raise DataError.at("--out", f"{out} cannot be written ({error.strerror or error})") from None
