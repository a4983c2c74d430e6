"""``selfsup embed``: the features of one's own images, with their names, as a file."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfsup.errors import ConfigError, DataError

SUFFIXES = (".npz", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_weights_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write: .npz or .parquet")


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of verbs that look at a folder with some weights."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a work dir, a file of weights with its card, or timm:NAME")
    parser.add_argument("folder", metavar="FOLDER", help="a folder of images, a list of their paths, shards or a URL")
    parser.add_argument("--layer", default="pooled", help="pooled (default), or res2 to res5")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the images shown, instead of the card's")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images at a time (default: 64)")


def run(chosen: argparse.Namespace) -> int:
    """Write the features of all images of a folder, with their names."""
    out = Path(chosen.out).expanduser()
    if out.suffix not in SUFFIXES:
        raise ConfigError.at("--out", f"must end in {' or '.join(SUFFIXES)}", got=chosen.out)
    if out.suffix == ".parquet":
        _pyarrow()
    from selfsup.planning.own_images import open_images

    images = open_images(chosen.folder, option="FOLDER")
    representation = opened(chosen)
    found = representation.features(images)
    columns: dict[str, np.ndarray] = {
        "names": np.array([images.name(index) for index in found.index.tolist()]),
        "features": found.features.numpy(),
    }
    from selfsup.engine.start import trained_method

    method = None if chosen.weights.startswith("timm:") or chosen.layer != "pooled" else trained_method(chosen.weights)
    if method is not None and hasattr(method, "prototype_scores"):
        import torch

        with torch.no_grad():
            scores = [method.prototype_scores(part).argmax(dim=1) for part in found.features.split(4096)]
        columns["prototypes"] = torch.cat(scores).numpy()
    _write(columns, out)
    dim = found.features.shape[1]
    more = ", and the prototype that each is nearest to" if "prototypes" in columns else ""
    print(f"{out}: {len(found):,} names, and as many features of {dim} numbers{more}")
    return 0


def opened(chosen: argparse.Namespace) -> Any:
    """The representation that the command names."""
    from selfsup.evaluation.opening import open_representation

    stated = {} if chosen.size is None else {"size": chosen.size, "resize": f"shorter:{round(chosen.size * 256 / 224)}"}
    return open_representation(
        chosen.weights, layer=chosen.layer, device=chosen.device, batch_size=chosen.batch_size, **stated
    )


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError.at(
            "--out", ".parquet needs the package pyarrow", expected="pip install 'selfsup[parquet]', or a .npz"
        ) from None
    return pyarrow


def _write(columns: Mapping[str, np.ndarray], out: Path) -> None:
    """The columns as a file, whole or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez(file, **columns)  # type: ignore[arg-type]
        else:
            pyarrow = _pyarrow()
            features = columns["features"]
            values = pyarrow.array(features.reshape(-1))
            lists = pyarrow.FixedSizeListArray.from_arrays(values, features.shape[1])
            table = {**columns, "features": lists}
            pyarrow.parquet.write_table(pyarrow.table(table), partial)
        os.replace(partial, out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError.at("--out", f"{out} cannot be written ({error.strerror or error})") from None
