"""Declares the options with which a command runs as one of several processes or jobs, and joins processes."""

import argparse

from jaxcrystal.commands.parser import add_number
from jaxcrystal.limits import Within


def add_host_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--distributed` and how to find the others."""
    hosts = parser.add_argument_group("several hosts")
    hosts.add_argument("--distributed", action="store_true", help="this is one of several processes")
    hosts.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, where no launcher (Slurm, a TPU pod, ...) gives it",
    )
    add_number(hosts, "--processes", Within(1, 10**6), help="how many, with --coordinator")
    add_number(hosts, "--process-id", Within(0, 10**6), metavar="I", help="which this is, 0 to N - 1")


def add_shard_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--shard`."""
    jobs = parser.add_argument_group("several jobs")
    jobs.add_argument(
        "--shard",
        metavar="I/N",
        help="sample only the parts of job I of N that share a run: I from 1 to N. The jobs need nothing of "
        "each other and run at any time, all with the same --out and the same other options",
    )


def join_hosts(arguments: argparse.Namespace) -> bool:
    """Joins the other processes if there are to be any; before anything else uses jax.

    Returns:
      Whether this is one of several processes.
    Raises:
      RequestError: options that do not go together.
      DataError: the others cannot be found.
    """
    from jaxcrystal.errors import RequestError

    joining = (arguments.coordinator, arguments.processes, arguments.process_id)
    if not arguments.distributed:
        if any(x is not None for x in joining):
            raise RequestError("--coordinator, --processes and --process-id need --distributed")
        return False
    if any(x is None for x in joining) and any(x is not None for x in joining):
        raise RequestError("--coordinator, --processes and --process-id go together")
    from jaxcrystal.training.parallel import initialize

    initialize(*joining)
    return True
