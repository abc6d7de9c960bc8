"""`jaxcrystal discover`: from a chemical system to candidates on the hull."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcrystal.commands.parser import (
    Commands,
    Help,
    add_model_options,
    add_name,
    add_number,
    add_seed,
    model_of,
    say,
    warn,
)
from jaxcrystal.commands.potentials import add_potential_options
from jaxcrystal.commands.sampler_options import add_sampler_options, config_of
from jaxcrystal.limits import BATCH_SIZE, COUNT, SITES, Within

if TYPE_CHECKING:
    from jaxcrystal.discovery.found import Discovery
    from jaxcrystal.requests.requests import Request

#: Stages of `discovery.discover`, which is slow to import.
_STAGES = ("plan", "sample", "screen", "relax", "hull", "phonons", "inputs")
#: Inequivalent sites of a chemical system, unless it has more elements.
_MAX_SITES = 4
#: Crystals: of each group and combination of sites; of a formula.
_COUNT, _OF_FORMULA = 16, 400

_EXAMPLES = """\
examples:
  jaxcrystal references train.csv.gz val.csv.gz --system Cu-Si-K --out cu_si_k.json.gz
  jaxcrystal discover Cu-Si-K --references cu_si_k.json.gz --out cu_si_k
  jaxcrystal discover Cu-Si-K --count 60 --relax 200 --references cu_si_k.json.gz --out more
  jaxcrystal discover Cu2KSi --unique 200 --references cu_si_k.json.gz --out cu2ksi
  jaxcrystal discover orders.toml --until relax --out mine

The stages, each in a folder of its own, which the other commands read:
  plan      plan.csv: the assignments of Wyckoff letters, and how many crystals each gets by its weight
  sample    sample/00, sample/01, ...: rounds. An assignment whose last crystals were all equal to earlier
            ones gets no more, and the others share what is left
  screen    screen/: the different crystals as CIF; screening.csv says why others are set aside
  relax     with --relax N first/: five steps of each crystal. relax/: see `jaxcrystal relax`; of crystals
            that became equal the lowest is kept (screening.csv)
  hull      relax/hull.csv: energies above the hull of the references
  phonons   phonons/: see `jaxcrystal phonons`
  inputs    inputs/: see `jaxcrystal inputs`

report.html, from the hull on, has all of it on one page. A run that was stopped or killed goes on with
the same command, and ends in the same files; a later --until goes further."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "discover",
        help="from a chemical system to candidates on the hull",
        description="Samples, screens and relaxes crystals, places them on the convex hull of known ones, "
        "computes phonons of the best and writes inputs for DFT.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser,
        "what",
        metavar="WHAT",
        help="elements, such as Cu-Si-K, all present; or a formula, such as Cu2KSi; or a file of orders "
        "(.toml, see `jaxcrystal sample`)",
    )
    add_name(
        parser,
        "--references",
        nargs="+",
        default=[],
        metavar="FILE",
        help="energies of known crystals by the same potential, every element among them: files of "
        "`jaxcrystal references`, or others that `jaxcrystal hull` reads",
    )
    add_name(
        parser, "--out", required=True, metavar="DIR", help="new or empty, or of the same discovery to go on"
    )
    parser.add_argument("--until", choices=_STAGES, default=_STAGES[-1], help="the last stage")
    _add_what(parser)
    _add_how(parser)
    best = parser.add_argument_group("what becomes of the best")
    some = Within(0, 10**6)
    add_number(
        best,
        "--relax",
        Within(1, 10**6),
        help="crystals that are relaxed: those that lie lowest above the hull after five steps "
        "(default: all)",
    )
    add_number(best, "--phonons", some, default=5, help="crystals whose phonons are computed; 0: none")
    add_number(best, "--inputs", some, default=5, help="crystals that inputs for DFT are written of; 0: none")
    parser.add_argument(
        "--free",
        action="store_true",
        help="let each relaxed crystal go without symmetry and say whether it stays: see `jaxcrystal relax`",
    )
    add_potential_options(parser)
    parser.set_defaults(run=run)


def _add_what(parser: argparse.ArgumentParser) -> None:
    """Adds what is sampled, and how much of it."""
    what = parser.add_argument_group("what to sample")
    number = what.add_mutually_exclusive_group()
    add_number(
        number,
        "--count",
        COUNT,
        help=f"crystals for each group and combination of sites (default: {_COUNT}); in all of a formula "
        f"(default: {_OF_FORMULA})",
    )
    add_number(
        number,
        "--unique",
        Within(1, 10**6),
        help="different crystals, in place of --count: sampling ends with the round that has so many",
    )
    what.add_argument(
        "--space-group",
        metavar="GROUP[,GROUP...]",
        help="numbers or symbols, any (default of a formula) or common (default of a system): the 32 "
        "commonest of the training data",
    )
    what.add_argument("--sites-per-element", metavar="N,...", help="of a system (default: 1,2)")
    add_number(
        what,
        "--max-sites",
        SITES,
        help=f"inequivalent ones (default: {_MAX_SITES}, or one an element; 20 of a formula)",
    )
    add_seed(what, "the same seed gives the same crystals")


def _add_how(parser: argparse.ArgumentParser) -> None:
    """Adds the model and the sampler."""
    how = parser.add_argument_group("how to sample")
    add_model_options(how)
    add_sampler_options(how)
    add_number(
        how,
        "--batch-size",
        BATCH_SIZE,
        help="crystals computed together on each core or device (default: 8 on a CPU)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the stages, writes the report and prints a table."""
    from jaxcrystal.discovery.relaxation import RelaxSettings
    from jaxcrystal.discovery.run import Work
    from jaxcrystal.environment import use_all_cores

    started = time.perf_counter()
    requests = _requests(arguments)
    relaxing = RelaxSettings(
        *(arguments.potential, arguments.free, arguments.max_force, arguments.max_stress),
        *(arguments.max_steps, arguments.symprec),
    )
    use_all_cores()
    import jax

    from jaxcrystal.discovery.discover import discover
    from jaxcrystal.discovery.stages import DiscoverSettings
    from jaxcrystal.sampling.run import RunSettings

    def report(found: "Discovery") -> None:
        from jaxcrystal.reports.discovery import write_report

        write_report(found, f"Candidates of {arguments.what}")

    model = model_of(arguments)
    config = config_of(arguments, model)
    # Rounds differ in how many crystals of a shape they have: of one size of batch, they share programs.
    batch_size = arguments.batch_size or (8 if jax.default_backend() == "cpu" else None)
    found = discover(
        *(requests, model, arguments.out),
        DiscoverSettings(
            *(RunSettings(config, arguments.seed, batch_size), relaxing, arguments.unique),
            *(arguments.relax, arguments.phonons, arguments.inputs),
        ),
        arguments.references,
        until=arguments.until,
        work=Work(arguments.processes, arguments.dask),
        say=say,
        report=report,
    )
    _tell(found)
    print(f"{time.perf_counter() - started:.0f} s; written to {arguments.out}")
    return 0


def _tell(found: "Discovery") -> None:
    """Prints what was found."""
    from jaxcrystal.discovery.hull import table, warnings_of
    from jaxcrystal.text import aligned

    if found.placed:
        print(table(found.placed))
        for line in warnings_of(found.placed):
            warn(line)
    rows = [
        (one.stage, str(one.given), str(one.kept), ", ".join(f"{n} {word}" for word, n in one.lost.items()))
        for one in found.counts()
    ]
    if rows:
        print("\n".join(["", *aligned([("", "crystals", "went on", "set aside"), *rows], left=(0, 3))]))
    for line in found.notes():
        warn(line)
    print(f"\n{found.spending()}")
    if found.placed:
        from jaxcrystal.reports.discovery import REPORT_NAME

        print(f"the report: {found.path / REPORT_NAME}")


def _requests(arguments: argparse.Namespace) -> "list[Request]":
    """Returns what is asked for."""
    from jaxcrystal.errors import RequestError
    from jaxcrystal.requests.orders import parse_numbers
    from jaxcrystal.requests.requests import make_request, read_requests

    what = arguments.what.strip()
    is_file = what.endswith(".toml") or Path(what).is_file()
    names = ("count", "space_group", "sites_per_element", "max_sites")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if is_file:
        if given:
            raise RequestError(
                f"--{next(iter(given)).replace('_', '-')} does not go with a file of orders: the file says it"
            )
        return read_requests(what)
    if "sites_per_element" in given:
        given["sites_per_element"] = parse_numbers(given["sites_per_element"], "--sites-per-element")
    if "-" in what:
        most = max(_MAX_SITES, what.count("-") + 1)
        return [make_request({"chemical_system": what, "max_sites": most, "count": _COUNT} | given)]
    return [make_request({"formula": what, "count": max(_OF_FORMULA, 4 * (arguments.unique or 0))} | given)]
