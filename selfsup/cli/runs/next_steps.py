"""What to do with a run that has ended: commands that exist, with the paths filled in."""

import shlex
from pathlib import Path

from rich.console import Console

from selfsup.config import Recipe
from selfsup.config.images import images_name
from selfsup.data.splits import SPLIT_FILES
from selfsup.errors import SelfsupError
from selfsup.planning.own_images import find_labels

PICTURES = {
    "views.png": "what the network was shown",
    "neighbors.png": "images and their nearest",
    "curves.png": "how it went",
    "embedding.png": "a map of images",
    "prototypes.png": "what the prototypes stand for",
}


def next_steps(recipe: Recipe, data: str) -> list[tuple[str, str]]:
    """Commands for a finished run, each with what it does.

    Args:
        recipe: of the run.
        data: its images, as they were named.
    """
    work_dir = str(recipe.work_dir)
    where = shlex.quote(work_dir)
    folder = shlex.quote(data)
    name = images_name(data)
    steps = [
        (f"selfsup embed {where} {folder} --out {shlex.quote(name)}.npz", "features of all images, with their names")
    ]
    if (image := _an_image(recipe)) is not None:
        steps.insert(0, (f"selfsup similar {where} {folder} {shlex.quote(image)}", "the images nearest to one"))
    if any(Path(work_dir, name).is_file() for name in SPLIT_FILES) and recipe.evaluators:
        config = shlex.quote(str(Path(work_dir, "config.py")))
        steps.append((f"selfsup test {config} {where}", "scores on images that nothing was chosen by"))
    if recipe.budget is not None:
        longer = shlex.quote(f"{work_dir}_longer")
        same = _same_images(recipe, data)
        again = f"selfsup train --data {folder}{same} --init-from {where} --budget 2h --work-dir {longer}"
        if str(recipe.recipe).startswith("folder/"):
            steps.append((again, "two more hours, from here"))
    return steps


def print_next_steps(recipe: Recipe, data: str, console: Console, *, seconds: float) -> None:
    """Say where the pictures are and what to do next."""
    from selfsup.planning.budget import clock

    work_dir = Path(str(recipe.work_dir))
    there = [f"{name} ({what})" for name, what in PICTURES.items() if (work_dir / name).is_file()]
    took = f"{clock(seconds)}" + (f" of {recipe.budget}" if recipe.budget else "")
    what = f": {', '.join(there)}" if there else ""
    console.print(f"\ndone in {took}; in {work_dir}{what}\nnext:", highlight=False, soft_wrap=True)
    for command, purpose in next_steps(recipe, data):
        console.print(f"  {command}  # {purpose}", highlight=False, markup=False, soft_wrap=True)


def _same_images(recipe: Recipe, data: str) -> str:
    """The options by which another run holds out the images that this one has held out."""
    dataset = recipe.train_dataloader.dataset
    options = f" --groups {shlex.quote(dataset['groups'])}" if dataset.get("groups") else ""
    if dataset.get("labels") != find_labels(data)[0]:
        options += f" --labels {dataset.get('labels') or 'none'}"
    return options


def _an_image(recipe: Recipe) -> str | None:
    """The path of some image of the run."""
    from selfsup.registry import DATASETS

    try:
        images = DATASETS.build(recipe.train_dataloader.dataset)
    except SelfsupError:
        return None
    return str(images.file(0)) if hasattr(images, "file") and len(images) else None
