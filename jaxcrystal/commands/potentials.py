"""What the commands that use a potential share."""

import argparse

from jaxcrystal.commands.parser import add_name, add_number, named_module
from jaxcrystal.limits import PROCESSES, Within

#: How users write potentials.
POTENTIAL = "NAME|MODULE:FACTORY"


def add_potential_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--potential`, and where and how finely crystals are relaxed."""
    parser.add_argument(
        "--potential",
        default="7net-0",
        type=named_module,
        metavar=POTENTIAL,
        help="7net-0, 7net-l3i5 (pip install 'jaxcrystal[relax]': their weights come along), chgnet, mace, "
        "orb, mattersim, nequix (each after pip install of its package), emt (Al, Cu, Ag, Au, Ni, Pd, Pt), "
        "or a function without arguments that returns an ASE calculator, found from this folder too",
    )
    fine = parser.add_argument_group("how finely")
    size = Within(0, 1000, above=True)
    add_number(
        fine,
        "--max-force",
        size,
        type=float,
        default=0.02,
        metavar="EV_PER_Å",
        help="at which a crystal has relaxed",
    )
    add_number(fine, "--max-stress", size, type=float, default=0.1, metavar="GPA", help="likewise")
    add_number(fine, "--max-steps", Within(1, 10**6), default=500, help="after which it has not")
    add_number(
        fine,
        "--symprec",
        Within(0, 1, above=True),
        type=float,
        default=0.01,
        metavar="Å",
        help="tolerance with which spglib finds the group that is kept",
    )
    add_where(parser)


def add_where(parser: argparse.ArgumentParser) -> None:
    """Adds `--processes` and `--dask`."""
    where = parser.add_argument_group("where")
    add_number(
        where,
        "--processes",
        PROCESSES,
        help="worker processes of one thread each (default: one a core; 1 where a GPU computes)",
    )
    add_name(
        where,
        "--dask",
        metavar="ADDRESS",
        help="scheduler such as tcp://10.0.0.1:8786, whose workers compute instead; they need this package "
        "and the potential",
    )
