"""`jaxcrystal inputs`: inputs of VASP and Quantum ESPRESSO for the best relaxed crystals."""

import argparse

from jaxcrystal.commands.parser import Commands, Help, add_name, add_number, add_out
from jaxcrystal.limits import Within

_EXAMPLES = """\
examples:
  jaxcrystal inputs cu2ksi_relaxed --best 3 --out cu2ksi_dft
  jaxcrystal inputs cu2ksi_relaxed --best 3 --pseudo-dir ~/SSSP_1.3.0_PBE --out cu2ksi_dft
  VASP="mpirun -n 16 vasp_std" VASP_POTENTIALS=~/potentials cu2ksi_dft/run.sh vasp

The best are those that `jaxcrystal phonons` takes. Each gets a folder: 1_pbe and 2_r2scan (pymatgen's
MPRelaxSet and MPScanRelaxSet, with POTCAR.spec in place of POTCAR), espresso/relax.in (vc-relax by PBE),
its CIF, and run.sh, which runs them in order; run.sh beside them runs all, the best first. What is done
is not repeated. inputs.csv has a row each.

Pseudopotentials of Quantum ESPRESSO are those that a table in --pseudo-dir names, as SSSP has one, with
its cutoffs; else files there that begin with the element; without --pseudo-dir ELEMENT.upf."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "inputs",
        help="write inputs of VASP and Quantum ESPRESSO for the best relaxed crystals",
        description="Writes inputs of VASP and Quantum ESPRESSO for the best crystals of a folder that "
        "`jaxcrystal relax` wrote.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(parser, "source", metavar="RELAXED", help="folder of `jaxcrystal relax`, or its URL")
    add_number(parser, "--best", Within(1, 10**6), default=5, help="crystals at most")
    add_name(parser, "--pseudo-dir", metavar="FOLDER", help="pseudopotentials for Quantum ESPRESSO (.upf)")
    add_out(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the inputs and says where they are."""
    from jaxcrystal.discovery.best import best_relaxed
    from jaxcrystal.discovery.dft_inputs import write_inputs
    from jaxcrystal.files import require_free

    require_free(arguments.out, "choose another --out, nothing is overwritten", leftovers=True)
    best = best_relaxed(arguments.source, arguments.best)
    names = write_inputs(
        best.entries, arguments.out, pseudo_dir=arguments.pseudo_dir, e_above_hull=best.e_above_hull
    )
    for name in names:
        print(name)
    print(f"inputs of {len(names)} crystals; written to {arguments.out}; run.sh there runs them")
    return 0
