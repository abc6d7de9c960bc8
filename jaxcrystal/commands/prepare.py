"""`jaxcrystal prepare`: makes training data from structure files."""

import argparse

from jaxcrystal.commands.parser import Commands, Help, add_name, add_number
from jaxcrystal.limits import PROCESSES, Within

_EXAMPLES = """\
examples:
  jaxcrystal prepare my_structures/ more.csv.gz --out my_data.npz
  jaxcrystal prepare aflow --out aflow.npz      (288 prototypes that come with pymatgen)

Each structure is brought into the standard setting of its space group (spglib, tolerance
0.1 Å) and stored as its inequivalent sites. Structures that cannot be used are listed with
the reason in rejected.csv beside the file: unreadable, disordered, too many sites, or a file
that contradicts itself (its group and its operations, its formula and its atoms) or can be
read in two ways. What folders hold beside structures is passed over, and named."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "prepare",
        help="make training data from structure files",
        description="Reads structures, finds their symmetry and writes one file to train on.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser,
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="CIF, POSCAR or extxyz file, JSON (pymatgen, OPTIMADE, JARVIS, ASE, pandas), CSV with a `cif` "
        "or `structure` column, each also as .gz, .bz2 or .xz; a .zip or folder of such files, or the word "
        "aflow",
    )
    add_name(parser, "--out", required=True, metavar="FILE", help="the .npz file to write; must not exist")
    add_number(
        parser,
        "--max-sites",
        Within(1, 10_000),
        default=20,
        help="structures with more inequivalent sites are refused",
    )
    parser.add_argument(
        "--keep",
        default="",
        metavar="COLUMN,...",
        help="columns of numbers that stay with the structures, such as band_gap: what a network can be told "
        "(data.cond of `jaxcrystal train`)",
    )
    add_number(parser, "--processes", PROCESSES, help="worker processes (default: one a core)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prepares the file and prints what became of the structures."""
    from jaxcrystal.data.prepare import prepare

    keep = [name.strip() for name in arguments.keep.split(",") if name.strip()]
    report = prepare(arguments.sources, arguments.out, arguments.max_sites, arguments.processes, keep=keep)
    print(report.describe())
    return 0
