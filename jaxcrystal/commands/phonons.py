"""`jaxcrystal phonons`: phonons of the best relaxed crystals."""

import argparse
import time

from jaxcrystal.commands.parser import Commands, Help, add_name, add_number, named_module, warn
from jaxcrystal.commands.potentials import POTENTIAL, add_where
from jaxcrystal.limits import Within

_EXAMPLES = """\
examples:
  jaxcrystal phonons cu2ksi_relaxed --best 5 --out cu2ksi_phonons
  jaxcrystal phonons cu2ksi_relaxed --best 1 --potential 7net-l3i5 --min-length 15 --out finer

The best are those lowest above the hull where `jaxcrystal hull` has put hull.csv into the folder, else
those of the lowest energy per atom; where `jaxcrystal screen` has put screening.csv there, only crystals
that it keeps. Each is relaxed further in its group, until no force is above 0.001 eV/Å.

The folder given with --out gets parts/00000, parts/00001, ..., the best first: the crystal as CIF,
phonons.svg (band structure and density of states), phonopy's phonopy_params.yaml (cells, displacements,
forces), band.yaml and total_dos.dat. A run that was stopped or killed goes on with the same command. At
the end phonons.csv beside them holds a row each: lowest frequency (THz; imaginary ones are negative)
and where it is, lowest frequency at the points that the supercell holds (all others are interpolated),
whether there are imaginary modes and their share. Effects of long-range charges (the splitting of
longitudinal and transverse modes at the zone's centre) are not in them."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "phonons",
        help="compute phonons of the best relaxed crystals",
        description="Computes phonons of the best crystals of a folder that `jaxcrystal relax` wrote.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(parser, "source", metavar="RELAXED", help="folder of `jaxcrystal relax`, or its URL")
    add_number(parser, "--best", Within(1, 10**6), default=5, help="crystals at most")
    parser.add_argument(
        "--potential",
        type=named_module,
        metavar=POTENTIAL,
        help="as of `jaxcrystal relax` (default: that of the relaxation)",
    )
    add_name(
        parser,
        "--out",
        required=True,
        metavar="DIR|URL",
        help="new or empty, or of the same run to go on",
    )
    fine = parser.add_argument_group("how finely")
    add_number(
        fine,
        "--min-length",
        Within(0, 100, above=True),
        type=float,
        default=10.0,
        metavar="Å",
        help="least distance of two opposite faces of the supercell",
    )
    add_number(
        fine,
        "--displacement",
        Within(0, 0.5, above=True),
        type=float,
        default=0.01,
        metavar="Å",
        help="by which atoms are displaced",
    )
    add_number(
        fine,
        "--imaginary",
        Within(0, 100, above=True),
        type=float,
        default=0.1,
        metavar="THZ",
        help="a frequency below minus this is an imaginary mode",
    )
    add_where(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Computes, writes what was found and prints a table."""
    from jaxcrystal.discovery.best import best_relaxed
    from jaxcrystal.discovery.phonons import describe, phonons_to_folder
    from jaxcrystal.discovery.run import Work
    from jaxcrystal.discovery.vibrations import PhononSettings, require_phonopy

    started = time.perf_counter()
    require_phonopy()  # before minutes are spent on reading
    best = best_relaxed(arguments.source, arguments.best)
    settings = PhononSettings(
        arguments.potential or best.energies.potential,
        arguments.min_length,
        arguments.displacement,
        arguments.imaginary,
    )
    work = Work(arguments.processes, arguments.dask)
    folder = phonons_to_folder(best.entries, settings, arguments.out, work)
    text, warnings = describe(folder.summary(), settings.imaginary)
    print(text)
    for line in warnings:
        warn(line)
    print(f"{time.perf_counter() - started:.0f} s; written to {arguments.out}")
    return 0
