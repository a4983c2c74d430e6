"""``selfsup consolidate``: one file of a checkpoint that many processes wrote."""

import argparse
from pathlib import Path

from selfsup.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder step_N, or the work dir of a run")
    parser.add_argument("out", metavar="OUT", help="the file to write: .pth")


def run(chosen: argparse.Namespace) -> int:
    """Make one file of a checkpoint that many processes wrote; every checksum is looked at."""
    from selfsup.weights.checkpoint import Checkpoint, checkpoint_file

    out = Path(chosen.out)
    if out.suffix != ".pth":
        raise ConfigError.at("OUT", "must end in .pth", got=chosen.out)
    if out.exists():
        raise ConfigError.at("OUT", "is there already", got=chosen.out)
    checkpoint = Checkpoint.read(checkpoint_file(chosen.checkpoint))
    checkpoint.write(out)
    print(f"step {checkpoint.step} of {checkpoint.path} written to {out}, {out.stat().st_size / 1e9:.3g} GB")
    return 0
