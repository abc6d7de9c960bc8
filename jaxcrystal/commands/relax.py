"""`jaxcrystal relax`: relaxes crystals with a potential, each in its space group."""

import argparse
import time

from jaxcrystal.commands.parser import Commands, Help, add_name, warn
from jaxcrystal.commands.potentials import add_potential_options

_EXAMPLES = """\
examples:
  jaxcrystal relax cu2ksi --out cu2ksi_relaxed
  jaxcrystal relax cu2ksi_kept --potential chgnet --free --out cu2ksi_free
  jaxcrystal relax al3ni --potential emt --out al3ni_emt
  jaxcrystal relax POSCAR --potential my_calculators:make --out mine

The symmetry holds: only the free coordinates of the sites and the free parameters of the lattice
change. Structures that are no crystals (atoms that overlap, a cell that explodes) or get an energy
that no crystal has are failures with a word in the column status, never crystals of low energy.

The folder given with --out gets parts/00000, parts/00001, ...: a CIF each, structures.extxyz with
energies, forces and stress, and relaxed.csv. A run that was stopped or killed goes on with the same
command. At the end relaxed.csv beside them holds all rows: energy (eV/atom), steps, whether they were
enough, largest force (eV/Å), pressure (GPa), how far an atom moved in the cell (Å), volume over
volume before, the group that was asked for, the one that was kept (spglib at --symprec) and the one
that is found afterwards (at 0.1 Å); with --free whether the crystal stays (gains no more than
2 meV/atom without symmetry) and the group and energy it has then."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "relax",
        help="relax crystals with an interatomic potential",
        description="Relaxes crystals with an interatomic potential, each in its space group.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser,
        "source",
        metavar="SAMPLES",
        help="folder that `jaxcrystal sample`, `screen` or `relax` wrote, or any folder or file of "
        "structures: CIF, POSCAR, extxyz, pymatgen JSON, CSV with a `cif` column (each also as .gz), .npz of "
        "`jaxcrystal prepare`; also the URL of one",
    )
    parser.add_argument(
        "--free",
        action="store_true",
        help="disturb each relaxed crystal (primitive cell, atoms by 0.03 Å, lengths by 0.5 %%), relax it "
        "without symmetry and say whether it stays; what does not is written as what it became",
    )
    add_name(
        parser,
        "--out",
        required=True,
        metavar="DIR|URL",
        help="new or empty, or of the same run to go on",
    )
    add_potential_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Relaxes, writes what was found and prints a table."""
    from jaxcrystal.discovery.potentials import find_potential
    from jaxcrystal.discovery.relaxation import RelaxSettings
    from jaxcrystal.discovery.relaxed import describe
    from jaxcrystal.discovery.run import Work, relax_to_folder
    from jaxcrystal.structures.entries import load_entries

    started = time.perf_counter()
    settings = RelaxSettings(
        *(arguments.potential, arguments.free, arguments.max_force, arguments.max_stress),
        *(arguments.max_steps, arguments.symprec),
    )
    find_potential(settings.potential)  # before minutes are spent on reading
    entries = load_entries(arguments.source, arguments.processes)
    folder = relax_to_folder(entries, settings, arguments.out, Work(arguments.processes, arguments.dask))
    text, warnings = describe(folder.summary())
    print(text)
    for line in warnings:
        warn(line)
    print(f"{time.perf_counter() - started:.0f} s; written to {arguments.out}")
    return 0
