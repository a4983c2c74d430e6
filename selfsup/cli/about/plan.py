"""``selfsup plan``: what a config takes on many processes, before they are paid for."""

import argparse

from rich.console import Console

from selfsup.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("config", metavar="CONFIG", help="a name that `selfsup configs` lists, or a file")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="one for each device; 1 without it")
    parser.add_argument(
        "--per-machine", type=int, default=8, metavar="N", help="processes that may hold a copy together; 8 without it"
    )
    parser.add_argument("--memory", metavar="SIZE", help="of a device, such as 80GiB")
    parser.add_argument("--bandwidth", metavar="RATE", help="at which each process sends, such as 25GB/s or 200Gbit/s")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="as for `selfsup train`")


def run(chosen: argparse.Namespace) -> int:
    """Plan a training on many processes: memory, exchanges, checkpoints, and what fits."""
    from selfsup.planning import load_and_try
    from selfsup.planning.scale import plan_scale
    from selfsup.planning.scale_tables import print_scale
    from selfsup.planning.sizes import parse_size

    for option, number in (("--processes", chosen.processes), ("--per-machine", chosen.per_machine)):
        if number < 1:
            raise ConfigError.at(option, "must be >= 1", got=number)
    memory = None if chosen.memory is None else parse_size(chosen.memory, "--memory")
    bandwidth = None if chosen.bandwidth is None else parse_size(chosen.bandwidth, "--bandwidth")
    recipe = load_and_try(chosen.config, chosen.cfg_options)
    plan = plan_scale(recipe, processes=chosen.processes, memory=memory, per_machine=chosen.per_machine)
    print_scale(plan, Console(), bandwidth=bandwidth)
    return 0
