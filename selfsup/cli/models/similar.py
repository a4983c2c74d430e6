"""``selfsup similar``: the images of a folder that are nearest to some images, as a table and a picture."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from selfsup.cli.models.embed import add_weights_arguments, opened
from selfsup.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_weights_arguments(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files whose nearest images are looked for")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="images for each (default: 8)")
    parser.add_argument("--out", default="similar.png", metavar="FILE", help="the picture (default: similar.png)")


def run(chosen: argparse.Namespace) -> int:
    """Find the images of a folder that are nearest to some images."""
    from selfsup.planning.own_images import open_images

    if chosen.count < 1:
        raise DataError.at("--count", "must be > 0", got=chosen.count)
    images, queries = open_images(chosen.folder, option="FOLDER"), Files(chosen.images)
    representation = opened(chosen)
    from selfsup.evaluation.neighbors import nearest_images, neighbor_rows, same_images

    asked, searched = representation.extract(queries), representation.features(images)
    own = same_images(queries, asked, images, searched)
    places, cosines = nearest_images(asked, searched, chosen.count, skip=own)
    console = Console(soft_wrap=True)
    for number, (some, similarities) in enumerate(zip(places, cosines, strict=True)):
        table = Table("cosine", "image", title=queries.name(int(asked.index[number])), title_justify="left")
        for row, cosine in zip(some, similarities, strict=True):
            table.add_row(f"{cosine:.3f}", images.name(int(searched.index[row])))
        console.print(table)
    from selfsup.plots import CAN_DRAW, NOT_DRAWN

    if not CAN_DRAW:
        console.print(f"{chosen.out}: {NOT_DRAWN}", highlight=False)
        return 0
    from selfsup.plots.neighbors import draw_neighbors

    out = Path(chosen.out).expanduser()
    rows = neighbor_rows(representation, queries, images, asked, searched, places, cosines)
    summary = f"{representation.name}, {len(searched):,} images searched"
    try:
        draw_neighbors(rows, out, summary=summary)
    except (OSError, ValueError) as error:
        raise DataError.at("--out", f"{out} cannot be written ({error})") from None
    console.print(f"drawn: {out}", highlight=False)
    return 0


class Files:
    """Images named one by one."""

    labels = None
    classes = None

    def __init__(self, paths: list[str]) -> None:
        self.paths = [Path(path).expanduser() for path in paths]
        for path in self.paths:
            if not path.is_file():
                raise DataError.at("IMAGE", "no such file", got=str(path))

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> str:
        """The path of the image."""
        return str(self.paths[index])

    def name(self, index: int) -> str:
        """The path as it was given."""
        return str(self.paths[index])

    def image(self, index: int) -> np.ndarray:
        """Decode the image."""
        from selfsup.data.decode import decode_image

        return decode_image(self.paths[index])
