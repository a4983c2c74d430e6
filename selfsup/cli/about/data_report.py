"""``selfsup data-report``: unreadable, tiny and repeated images, and those that are also where they should not be."""

import argparse
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selfsup.config.images import images_name
from selfsup.errors import ConfigError, DataError
from selfsup.ops.cpus import available_cpus
from selfsup.ops.images import on_background

_NAMED = 5
_GROUPS = 12  # on a sheet
_SHOWN = 6  # images of a group
_BAR = 30  # characters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("source", metavar="SOURCE", help="a folder or list of images, or a folder of shards")
    parser.add_argument(
        "--against", metavar="TASK", help="images that must not be among them: a folder, a list, or a config with tasks"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: work_dirs/data_report_<SOURCE>")
    parser.add_argument("--tiny", type=int, default=32, metavar="N", help="shorter side below which an image is tiny")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; one for each processor without it")


def run(chosen: argparse.Namespace) -> int:
    """Look for unreadable, tiny and repeated images, and for those of an evaluation."""
    from selfsup.data.report import report_on, write_findings
    from selfsup.planning.own_images import open_images

    source = open_images(chosen.source, option="SOURCE")
    against = None if chosen.against is None else _against(chosen.against)
    out = chosen.out or Path("work_dirs", f"data_report_{images_name(chosen.source)}")
    console = Console()
    try:
        report = report_on(
            source,
            out / "seen",
            against=against,
            tiny_side=chosen.tiny,
            workers=available_cpus() if chosen.workers is None else chosen.workers,
        )
        write_findings(report, out / "findings.csv")
        written = ["findings.csv", *_draw(report, out)]
    except OSError as error:
        raise DataError.at("--out", f"{out} cannot be written ({error.strerror or error})") from None
    _print(report, console)
    console.print(f"written: {', '.join(str(out / name) for name in written)}", highlight=False, soft_wrap=True)
    return 0


def _against(named: str) -> Any:
    """A folder or list, or the test images of a config's tasks."""
    from selfsup.data.shards.names import is_url
    from selfsup.planning.own_images import open_images

    if is_url(named) or (Path(named).expanduser().exists() and Path(named).suffix != ".py"):
        return open_images(named, option="--against")
    from selfsup.config import find_config
    from selfsup.config.read import read_config
    from selfsup.data import Pooled
    from selfsup.evaluation.build import build_tasks

    sections = read_config(find_config(named)).get("tasks")
    if not sections:
        raise ConfigError.at("--against", f"{named} has no tasks")
    tests = [each.parts.test for task in build_tasks(sections, None, None).values() for each in task.tests()]
    return tests[0] if len(tests) == 1 else Pooled(tests)


def _print(report: Any, console: Console) -> None:
    from selfsup.data.report import KINDS

    table = Table("found", "images", "what", "such as")
    for kind, images in report.of_kind.items():
        if kind.startswith("leak") and report.against is None:
            continue
        some = ", ".join(report.name(image) for image in images[: _NAMED if kind == "unreadable" else 2].tolist())
        table.add_row(kind, f"{len(images):,}", KINDS[kind], some + (", ..." if len(images) > _NAMED else ""))
    console.print(f"{len(report.scan):,} images of {report.source.root}", highlight=False, soft_wrap=True)
    console.print(table)
    for heading, counts in _histograms(report).items():
        bars = Table(heading, "images", "", box=None, padding=(0, 1))
        most = max(*counts.values(), 1)
        for label, count in counts.items():
            if count:
                bars.add_row(label, f"{count:,}", "█" * max(1, round(_BAR * count / most)))
        console.print(bars)


def _histograms(report: Any) -> dict[str, dict[str, int]]:
    from selfsup.data.report import ASPECTS, SIDES

    sides = [f"{low:,} to {high - 1:,}" for low, high in pairwise(SIDES)] + [f"{SIDES[-1]:,} on"]
    shapes = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(ASPECTS)]
    shapes.append(f"{ASPECTS[-1]:.3g} on")
    shapes[ASPECTS.index(0.98)] = "square"
    return {
        "shorter side, pixels": dict(zip(sides, report.shorter_sides().tolist(), strict=True)),
        "width / height": dict(zip(shapes, report.aspects().tolist(), strict=True)),
    }


def _draw(report: Any, out: Path) -> list[str]:
    """The names of the pictures."""
    from selfsup.plots import CAN_DRAW

    if not CAN_DRAW:
        return []
    from selfsup.plots.data_report import draw_counts, draw_groups

    draw_counts(_histograms(report), out / "sizes.png", title=f"{len(report.scan):,} images by size and shape")
    written = ["sizes.png"]
    sheets: Mapping[str, tuple[tuple[str, ...], str]] = {
        "near_duplicates.png": (("near",), "Images that show the same: the largest groups"),
        "leaks.png": (("leak_exact", "leak_near"), "Images of the other source that are also here"),
    }
    for name, (kinds, title) in sheets.items():
        if groups := report.groups_of(kinds, _GROUPS):
            draw_groups([_shown(report, group) for group in groups], out / name, title=title, most=_SHOWN)
            written.append(name)
        else:
            (out / name).unlink(missing_ok=True)  # of a report before
    return written


def _shown(report: Any, group: list[int]) -> list[tuple[Any, str]]:
    """The pictures and names of a group; of what lies beyond the edge of the sheet the names alone."""
    import numpy as np

    places = [report.place(image) for image in group]
    shown = [(on_background(source.image(index)), source.name(index)) for source, index in places[:_SHOWN]]
    return shown + [(np.zeros((1, 1, 3), np.uint8), "")] * (len(group) - len(shown))
