"""``selfsup doctor``: what this machine has for training."""

import argparse
from pathlib import Path

from selfsup.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="FOLDER", help="whose disk is measured; here without it"
    )


def run(chosen: argparse.Namespace) -> int:
    """Examine the machine, in half a minute; under torchrun or srun the exchanges between processes too."""
    from rich.console import Console
    from rich.markup import escape

    from selfsup.ops.dist import is_main
    from selfsup.ops.launch import init_process_group, leave_process_group
    from selfsup.planning.doctor import examine

    folder = Path(chosen.folder).expanduser()
    if not folder.is_dir():
        raise ConfigError.at("FOLDER", "no such folder", got=chosen.folder)
    init_process_group()
    console = Console(soft_wrap=True, highlight=False)
    try:
        for finding in examine(folder):
            if is_main():
                limits = f"  [bold]-> {escape(finding.limits)}[/bold]" if finding.limits else ""
                console.print(f"{finding.what:<20}{escape(finding.found)}{limits}")
    finally:
        leave_process_group()
    return 0
