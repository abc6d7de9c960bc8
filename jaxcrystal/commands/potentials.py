"""What the commands that use a potential share."""

import argparse

from jaxcrystal.commands.parser import named_module

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
    fine.add_argument(
        "--max-force", type=float, default=0.02, metavar="EV_PER_Å", help="at which a crystal has relaxed"
    )
    fine.add_argument("--max-stress", type=float, default=0.1, metavar="GPA", help="likewise")
    fine.add_argument("--max-steps", type=int, default=500, metavar="N", help="after which it has not")
    fine.add_argument(
        "--symprec",
        type=float,
        default=0.01,
        metavar="Å",
        help="tolerance with which spglib finds the group that is kept",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="worker processes of one thread each (default: one a core; 1 where a GPU computes)",
    )
    where.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="scheduler such as tcp://10.0.0.1:8786, whose workers relax instead; they need this package and "
        "the potential",
    )
