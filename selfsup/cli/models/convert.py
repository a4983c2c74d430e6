"""``selfsup convert``: weights that others wrote, as files that every command here takes."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selfsup.config import load_config, validate_component
from selfsup.config.options import literal
from selfsup.errors import ConfigError

SOURCES = ("selfsup", "timm", "torchvision", "vissl", "swav", "moco", "simsiam", "byol", "bit")
SUFFIXES = (".safetensors", ".pth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("file", metavar="FILE", help="the weights: .pth, .pt, .tar, .torch, .safetensors or .npz")
    parser.add_argument("out", metavar="OUT", help="the file to write: .safetensors or .pth")
    parser.add_argument("--source", required=True, choices=SOURCES, help="who wrote it")
    parser.add_argument(
        "--backbone",
        required=True,
        metavar="CONFIG|DICT",
        help="the network: a config that has it, or a dict such as \"dict(type='RegNet', arch='y_32gf')\"",
    )
    parser.add_argument("--prefix", default="", help="of the names to look at, such as 'encoder.'; it is taken off")
    parser.add_argument(
        "--key",
        default="",
        help="which of several state dicts in the file, such as 'state_dict_ema'; the usual one without it",
    )
    parser.add_argument(
        "--heads",
        action="store_true",
        help="the config's whole method, neck and prototypes too, to train on (vissl, swav)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Convert weights that others wrote; every tensor is reported."""
    out = Path(chosen.out)
    if out.suffix not in SUFFIXES or (chosen.heads and out.suffix != ".pth"):
        wanted = ".pth with --heads" if chosen.heads else " or ".join(SUFFIXES)
        raise ConfigError.at("OUT", f"must end in {wanted}", got=chosen.out)
    model, architecture = described(chosen.backbone)
    if chosen.heads and model is None:
        raise ConfigError.at(
            "--backbone",
            "--heads needs a config here, which says what neck and prototypes are",
            got=chosen.backbone,
        )
    from selfsup.weights.convert import convert_file

    report = convert_file(
        chosen.file,
        out,
        architecture=architecture,
        method=model if chosen.heads else None,
        source=chosen.source,
        prefix=chosen.prefix,
        key=chosen.key,
    )
    table = Table("tensors", "what", "names", title=f"{chosen.file}", title_justify="left")
    for count, what, names in report.rows():
        table.add_row(str(count), what, names)
    Console().print(table)
    print(f"written to {out}, with a card in {out.with_suffix('.json').name}")
    return 0


def described(backbone: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The method, if a config was named, and the backbone that the words on the command line mean.

    Raises:
        ConfigError: if they are neither a config nor a dict, or the dict's arguments do not fit.
    """
    if not backbone.lstrip().startswith(("{", "dict(")):
        model = load_config(backbone).model
        return model, model["backbone"]
    try:
        architecture = literal(backbone)
    except ValueError as error:
        raise ConfigError.at(
            "--backbone", f"must be a config or a dict of plain values ({error})", got=backbone
        ) from None
    if not isinstance(architecture, Mapping) or "type" not in architecture:
        raise ConfigError.at(
            "--backbone", "the dict has no 'type'", got=backbone, expected="such as dict(type='ResNet', depth=50)"
        )
    validate_component(architecture, "backbone", source="--backbone")
    return None, dict(architecture)
