"""`jaxcrystal hull`: places crystals on the convex hull of known ones."""

import argparse
from pathlib import Path

from jaxcrystal.commands.parser import Commands, Help, add_name, warn

_EXAMPLES = """\
examples:
  jaxcrystal hull cu2ksi_relaxed --references cu_si_k.json.gz
  jaxcrystal hull my_dft.csv --references mp_entries.json.bz2 --potential PBE --correction MP2020

Both sides are a folder of `jaxcrystal relax`, a file of `jaxcrystal references`, JSON (also .gz,
.bz2, .xz) of pymatgen's ComputedEntry in a list, an object, or an object's `entries`, or CSV with
the columns formula and energy_per_atom (eV), or energy of the formula as written, and perhaps id,
potential, correction. Energies of different potentials, or corrected in different ways, are refused.

hull.csv gets a row a crystal, lowest first: energy above the hull of the references (eV/atom;
negative below it), formation energy, what it would become (shares of the atoms, formula, name of the
reference), its system and how many known compounds the references have there."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "hull",
        help="energies above the convex hull of known structures",
        description="Computes energies above the convex hull of known structures.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(parser, "source", metavar="RELAXED", help="folder of `jaxcrystal relax`, or a file of energies")
    add_name(
        parser, "--references", nargs="+", required=True, metavar="FILE", help="energies of known structures"
    )
    parser.add_argument(
        "--potential",
        metavar="NAME",
        help="what the energies of files are of that do not say it: a potential, or such as PBE",
    )
    parser.add_argument(
        "--correction",
        default="none",
        metavar="NAME",
        help="what they are corrected by, such as MP2020 (only with --potential)",
    )
    add_name(parser, "--out", metavar="FILE", help="CSV to write (default: hull.csv in RELAXED)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Places the crystals, writes and prints them."""
    from jaxcrystal.discovery.energies import read_energies
    from jaxcrystal.discovery.hull import (
        HULL_NAME,
        place_on_hull,
        read_references,
        table,
        warnings_of,
        write_hull,
    )
    from jaxcrystal.discovery.potentials import Energies
    from jaxcrystal.errors import RequestError

    source = Path(arguments.source)
    if arguments.out is None and source.exists() and not source.is_dir():
        raise RequestError(f"{source} is not a folder: say with --out where {HULL_NAME} shall go")
    told = Energies(arguments.potential, arguments.correction) if arguments.potential else None
    compounds, kind = read_energies(source, told)
    references = read_references(arguments.references, kind, told)
    placed = place_on_hull(compounds, references)
    out = Path(arguments.out) if arguments.out else source / HULL_NAME
    write_hull(placed, kind, out)
    print(table(placed))
    for line in warnings_of(placed):
        warn(line)
    print(f"energies of {kind}; {len(references)} references; written to {out}")
    return 0
