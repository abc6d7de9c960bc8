"""`jaxcrystal screen`: sets aside duplicates, implausible structures and known ones."""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcrystal.commands.parser import Commands, Help, add_model_options, add_name, add_number, model_of
from jaxcrystal.limits import PROCESSES, Within, shown

if TYPE_CHECKING:
    from jaxcrystal.structures.screening import Measure, Screening

_EXAMPLES = """\
examples:
  jaxcrystal screen run1
  jaxcrystal screen run1 --rank --novel-against train.npz --out run1_kept
  jaxcrystal screen run1 --rank energy --out run1_lowest
  jaxcrystal screen other_program.extxyz --min-distance 1.2 --density 2,12 --out theirs_kept

screening.csv has one row a structure, best first: flags (short_distance, density, unreadable,
no_geometry, or why the sampler stopped it), the equal structure that is kept, the equal one of
the reference, distances, density and scores. Kept is what has no flag, is not known and equals
no better structure. Equal is what pymatgen's StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
takes as equal, of one formula, space group (spglib at 0.1 Å) and Wyckoff multiplicities."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "screen",
        help="set aside duplicates, odd structures and known ones",
        description="Sets aside structures that are duplicates, have atoms too close or an odd density, or "
        "are known, and ranks the rest.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser,
        "source",
        metavar="DIR",
        help="folder that `jaxcrystal sample` wrote, or any folder or file of structures: CIF, POSCAR, "
        "extxyz, pymatgen JSON, CSV with a `cif` column (each also as .gz), .npz of `jaxcrystal prepare`; "
        "also the URL of one, with --out, which is copied to a temporary folder first",
    )
    add_name(
        parser,
        "--novel-against",
        metavar="FILE",
        help="known crystals, in any of these formats: structures equal to one of them are not kept",
    )
    add_number(
        parser,
        "--min-distance",
        Within(0, 100),
        type=float,
        metavar="Å",
        help="flags structures with atoms nearer than this (default: 0.7 times the sum of the two covalent "
        "radii, and 0.5 Å)",
    )
    parser.add_argument(
        "--density",
        metavar="LOW,HIGH",
        help="flags densities outside these, g/cm³ (default: by the volume of the cell over that of the "
        "atoms with their covalent radii, 0.8 to 25)",
    )
    parser.add_argument(
        "--rank",
        nargs="?",
        const="scores",
        choices=("scores", "energy", "likelihood"),
        help="ranks, of equal structures the best is kept; otherwise the order is that of DIR. scores "
        "(also --rank alone): by the size of the sampler's final scores (score_coords and score_lattice of "
        "summary.csv), the smallest first. energy: by the formation energy that the bundled CGCNN estimates "
        "(eV/atom). likelihood: by the bound on -log p of --model (nats). The latter two are columns of "
        "screening.csv; benchmarks/README.md says what they are worth",
    )
    add_name(
        parser,
        "--out",
        metavar="FOLDER",
        help="new or empty folder that gets screening.csv and the kept structures as CIF (otherwise "
        "screening.csv goes to DIR, in place of an older one; a DIR of zipped parts needs it)",
    )
    add_number(parser, "--processes", PROCESSES, help="worker processes (default: one a core)")
    add_model_options(parser.add_argument_group("the model of --rank likelihood"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Screens, writes what was found and prints the best."""
    from jaxcrystal.errors import RequestError
    from jaxcrystal.remote import is_url
    from jaxcrystal.structures.folder import opened_source

    density = None if arguments.density is None else _range(arguments.density)
    if arguments.out is None and is_url(arguments.source):
        raise RequestError(f"{arguments.source} is a URL: say with --out where screening.csv shall go")
    with opened_source(arguments.source) as source:
        if arguments.out is None and source != Path(arguments.source):
            raise RequestError(f"the parts of {arguments.source} are archives: say with --out what to write")
        _screen(arguments, source, density)
    return 0


def _screen(arguments: argparse.Namespace, source: Path, density: tuple[float, float] | None) -> None:
    from jaxcrystal.errors import DataError, RequestError
    from jaxcrystal.folders import results_folder
    from jaxcrystal.structures.screening_files import (
        SCREENING_NAME,
        require_writable,
        table,
        write_kept,
        write_screening,
    )

    started = time.perf_counter()
    if arguments.out is None:
        if source.exists() and not source.is_dir():
            raise RequestError(f"{source} is not a folder: say with --out where screening.csv shall go")
        require_writable(source / SCREENING_NAME)
        screening = _screening(arguments, source, density)
        write_screening(screening, source)
    else:
        if not source.exists():  # before the folder is made
            raise DataError(f"{source} does not exist")
        with results_folder(arguments.out) as out:
            screening = _screening(arguments, source, density)
            write_kept(screening, source, out)
            write_screening(screening, out)
    print(table(screening))
    path = Path(arguments.out or source) / SCREENING_NAME
    print(f"{time.perf_counter() - started:.0f} s; written to {path}")


def _screening(
    arguments: argparse.Namespace, source: Path, density: tuple[float, float] | None
) -> "Screening":
    from jaxcrystal.structures.screening import screen

    return screen(
        source,
        novel_against=arguments.novel_against,
        min_distance=arguments.min_distance,
        density=density,
        rank=_rank(arguments),
        processes=arguments.processes,
    )


def _rank(arguments: argparse.Namespace) -> "bool | Measure":
    """Returns what structures are ranked by."""
    from jaxcrystal.structures.screening import Measure

    if arguments.rank == "energy":
        from jaxcrystal.cgcnn.model import formation_energies

        return Measure("formation_energy", partial(formation_energies, processes=arguments.processes))
    if arguments.rank == "likelihood":
        from jaxcrystal.sampling.likelihoods import likelihoods

        return Measure("minus_log_likelihood", partial(likelihoods, model=model_of(arguments)))
    return arguments.rank == "scores"


def _range(text: str) -> tuple[float, float]:
    from jaxcrystal.errors import RequestError

    try:
        low, high = (float(word) for word in text.split(","))
        if 0 <= low < high:
            return low, high
    except ValueError:
        pass
    raise RequestError(f"--density is {shown(text)}; expected LOW,HIGH in g/cm³, such as 2,12")
