"""``selfsup advise``: what would help on one's own labelled images, from small proxies of the studies."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from selfsup.errors import CheckpointError, ConfigError

ADVICE, SETTINGS = "advice.md", "advice.json"
OFF_THE_SHELF = "timm:resnet18"
STEPS = (50, 2000)
"""The fewest and the most of a training."""
_UNITS = 10
"""Trainings of that many steps that a seed takes, with its evaluations."""
_DRAWINGS = {"type": "Scenes", "split": "train", "background": "photo"}
"""What stands in for images of another kind: emoji on photographs, which come with the toolkit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("data", metavar="FOLDER", help="labelled images: a folder of classes or a list")
    parser.add_argument("--labels", choices=("folder", "column"), help="where labels are (default: found by itself)")
    parser.add_argument(
        "--others", metavar="PATH", help="images of another source: would they help? (default: the toolkit's drawings)"
    )
    parser.add_argument("--budget", default="1h", metavar="TIME", help="of all of it (default: 1h)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="repetitions (default: 3)")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="default: work_dirs/advice_<name of FOLDER>")
    parser.add_argument("--plan", action="store_true", help="show every cell and what it will take, and stop")


def run(chosen: argparse.Namespace) -> int:
    """Find out on one's own images what would help, and say it in plain words."""
    from selfsup.cli.runs.study import work_on
    from selfsup.planning.budget import parse_budget
    from selfsup.registry import DATASETS
    from selfsup.studies.axes.advice import Advice, advice_page
    from selfsup.studies.claims import verdict
    from selfsup.studies.load import on_own_images
    from selfsup.studies.reading import of_axis
    from selfsup.studies.study import Study

    if chosen.seeds < 1:
        raise ConfigError.at("--seeds", "must be >= 1", got=chosen.seeds)
    root = Path(chosen.data).expanduser()
    name = root.resolve().stem
    work_dir = chosen.work_dir or Path("work_dirs", f"advice_{name}")
    section = on_own_images([{"type": "Advice", "base": "folder/cpu_small_images"}], root, chosen.labels)[0]
    section.pop("type")
    section["num_images"] = len(DATASETS.build(section["images"]))
    section |= _others(chosen.others, section)
    settings = work_dir / SETTINGS
    if settings.is_file():  # the same cells as before, whatever the budget is now
        section |= json.loads(settings.read_text(encoding="utf-8"))
    else:
        budget = parse_budget(chosen.budget)
        section |= {"steps": _steps(section, budget, chosen.seeds), "off_the_shelf": _weights()}
        work_dir.mkdir(parents=True, exist_ok=True)
        known = {key: section[key] for key in ("steps", "off_the_shelf")}
        settings.write_text(json.dumps(known) + "\n", encoding="utf-8")
    axis = Advice(**section)
    study = Study(f"advice on {name}", [axis], range(chosen.seeds), "What would help?")
    code = work_on(study, work_dir, chosen, Console())
    if not chosen.plan:
        cells = of_axis(axis, study, work_dir)
        page = advice_page(axis, [verdict(claim, cells) for claim in axis.claims()], name)
        (work_dir / ADVICE).write_text(page, encoding="utf-8")
        print(f"\n{page}\nwritten to {work_dir / ADVICE}")
    return code


def _others(path: str | None, section: dict) -> dict:
    """The arguments of the axis that say which other images are tried."""
    from selfsup.registry import DATASETS
    from selfsup.studies.recipes import recipe_of

    if path is None:
        size = recipe_of(section["base"])["train_dataloader"]["views"].get("size", 224)
        others: dict = {**_DRAWINGS, "size": size}
        return {"others": others, "others_name": "drawings of emoji", "num_others": len(DATASETS.build(others))}
    root = Path(path).expanduser().absolute()
    others = {"type": "ImageList", "root": str(root)}
    return {"others": others, "others_name": root.stem, "num_others": len(DATASETS.build(others)), "added": True}


def _steps(section: dict, budget: float, seeds: int) -> int:
    """So many that all trainings fit into the budget, by the pace of the first steps."""
    from selfsup.config import Recipe
    from selfsup.planning.budget import measure
    from selfsup.studies.recipes import recipe_of

    pace = measure(Recipe.of(recipe_of(section["base"], images=section["images"])), budget=budget)
    each = budget * 0.7 / (seeds * _UNITS) - pace.start - pace.end
    return int(min(max(each / pace.step, STEPS[0]), STEPS[1]))


def _weights() -> list[str]:
    """Weights of timm's, if they are there."""
    from selfsup.evaluation.opening import pretrained_timm

    try:
        pretrained_timm(OFF_THE_SHELF.removeprefix("timm:"))
    except (CheckpointError, ConfigError):
        return []
    return [OFF_THE_SHELF]
