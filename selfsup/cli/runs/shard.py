"""``selfsup shard``: a folder of images as a few large files."""

import argparse
from pathlib import Path

from selfsup.errors import DataError
from selfsup.ops.cpus import available_cpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("folder", metavar="FOLDER", help="a folder or list of images; with --check, of shards")
    parser.add_argument("out", metavar="OUT", nargs="?", help="the folder to write to; the same again resumes there")
    parser.add_argument("--images-per-shard", type=int, default=10_000, metavar="N", help="10,000 without it")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; one for each processor without it")
    parser.add_argument("--labels", choices=("none", "folder", "column"), default="none", help="as for `selfsup train`")
    parser.add_argument("--check", action="store_true", help="compare shards with the checksums of their manifest")


def run(chosen: argparse.Namespace) -> int:
    """Write images as WebDataset shards, or check some."""
    from selfsup.data.shards.write import check_shards, write_shards
    from selfsup.data.sources.image_list import ImageList

    if chosen.check:
        if wrong := check_shards(chosen.folder):
            raise DataError.at(
                chosen.folder,
                f"{len(wrong):,} shards differ from their manifest: {', '.join(wrong[:5])}",
                expected="copy them again, or write them anew",
            )
        print(f"{chosen.folder}: every shard is as its manifest says")
        return 0
    if chosen.out is None:
        raise DataError.at("OUT", "must be the folder where the shards go")
    source = ImageList(chosen.folder, None if chosen.labels == "none" else chosen.labels)
    workers = available_cpus() if chosen.workers is None else chosen.workers
    report = write_shards(source, chosen.out, images_per_shard=chosen.images_per_shard, workers=workers)
    there = f", {report.kept:,} of them there before" if report.kept else ""
    shards = "1 shard" if report.shards == 1 else f"{report.shards:,} shards"
    print(f"{Path(chosen.out)}: {report.images:,} images in {shards}{there}, {report.bytes / 1e9:.3g} GB")
    if report.unreadable:
        print(f"{report.unreadable:,} images could not be read and are left out")
    return 0
