"""The table of recipes in model_zoo.md: what follows from the configs is computed, the rest is written by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from selfsup.config import config_names, effective_batch, load_config
from selfsup.config.batch import recipe_batch
from selfsup.errors import ConfigError
from selfsup.ops.cost import multiply_adds
from selfsup.planning import describe

START, END = "<!-- recipes: `make zoo` -->", "<!-- end of recipes -->"
COMPUTED = (
    "config",
    "model",
    "parameters: backbone / whole",
    "multiply-adds: large view / all views",
    "batch",
    "length",
)
BY_HAND = ("reported", "measured")

OWN = ("folder/",)
"""Configs that are made for somebody's own images: no number is to be expected of them."""


def zoo_names() -> list[str]:
    """The packaged configs that are recipes of papers, or of the embedded data."""
    return [name for name in config_names() if not name.startswith(OWN)]


def recipe_row(name: str) -> tuple[str, ...]:
    """The computed cells of a packaged config, at the batch that its learning rate belongs to.

    Multiply-adds are those of the backbone's forward pass: for one of the largest views, and for all views of an image.
    """
    recipe = load_config(name)
    of_size: dict[int, int] = {}

    def count(backbone: nn.Module, size: int) -> int:
        of_size[size] = multiply_adds(backbone, size)
        return of_size[size]

    own_batch = effective_batch(recipe, 1)
    plan = describe(recipe, processes=(recipe_batch(recipe) or own_batch) // own_batch, multiply_adds=count)
    steps = "" if plan.steps is None else f"{plan.steps:,} steps"
    epochs = recipe.train_cfg.max_epochs
    largest = max(of_size, default=0)
    return (
        f"[{name}](configs/{name}.py)",
        f"{recipe.model['type']}, {_backbone(recipe.model['backbone'])}",
        f"{plan.parameters['backbone']:,} / {plan.parameters['total']:,}",
        f"{_giga(of_size[largest])} at {largest} px / {_giga(plan.multiply_adds or 0)}" if of_size else "",
        f"{plan.effective_batch:,}",
        ", ".join(part for part in (f"{epochs} epochs" if epochs else "", steps) if part),
    )


def _backbone(config: Mapping[str, Any]) -> str:
    """A backbone by its class and the arguments that tell its sizes apart."""
    words = [config["type"], *(str(config[key]) for key in ("arch", "name", "depth") if config.get(key) is not None)]
    width = f" x {config['width']:g}" if config.get("width", 1) != 1 else ""
    return " ".join(words) + width + (" + SK" if config.get("selective_kernels") else "")


def _giga(count: int) -> str:
    return f"{count / 1e9:.4g} G"


def refreshed(page: str, rows: Sequence[tuple[str, ...]] | None = None) -> str:
    """The text of model_zoo.md with its table's computed ``rows`` as the configs have them, and the rest as it was.

    Raises:
        ConfigError: if the page has no such table.
    """
    before, start, rest = page.partition(START)
    table, end, after = rest.partition(END)
    lines = [_cells(line) for line in table.strip().splitlines()]
    if not (start and end and lines) or not set(BY_HAND) <= set(lines[0]):
        raise ConfigError.at("model_zoo.md", f"needs {START!r}, a table with {', '.join(BY_HAND)}, and {END!r}")
    places = [lines[0].index(column) for column in BY_HAND]
    kept = {line[0]: tuple(line[place] for place in places) for line in lines[2:]}
    computed = [recipe_row(name) for name in zoo_names()] if rows is None else rows
    header = (*COMPUTED, *BY_HAND)
    body = [(*row, *kept.get(row[0], ("",) * len(BY_HAND))) for row in computed]
    texts = ["| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *body)]
    return "".join((before, start, "\n", "\n".join(texts), "\n", end, after))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
