"""`jaxcrystal references`: energies of known structures, to make hulls of."""

import argparse
import time
from pathlib import Path

from jaxcrystal.commands.parser import Commands, Help, add_name, warn
from jaxcrystal.commands.potentials import add_potential_options

_EXAMPLES = """\
examples:
  jaxcrystal references known/ --out references.json
  jaxcrystal references train.csv.gz val.csv.gz --system Cu-Si-K --out cu_si_k.json.gz
  jaxcrystal references train.csv.gz --for samples --single-points --out for_samples.json.gz
  jaxcrystal references known.extxyz --potential emt --single-points --out emt.json

Each energy is kept in ~/.cache/jaxcrystal (JAXCRYSTAL_CACHE) under the structure, the potential and
how it was relaxed, as soon as it is there: a run that was killed goes on with the same command, and
another one with the same structures computes nothing. The file holds entries as pymatgen's
ComputedEntry.from_dict reads them. A hull needs every element: give pure ones too."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "references",
        help="compute energies of known structures for `hull`",
        description="Computes energies of known structures with a potential, to make convex hulls of.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser, "sources", nargs="+", metavar="FILE", help="known structures, of the kinds that `relax` reads"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--system", metavar="A-B-C", help="only structures of these elements, such as Cu-Si-K (default: all)"
    )
    add_name(
        which,
        "--for",
        dest="samples",
        metavar="SAMPLES",
        help="only structures that the hulls of these crystals need: a folder or file that `relax` reads",
    )
    parser.add_argument(
        "--single-points",
        action="store_true",
        help="energies of the structures as they are, which is quicker; they lie higher than relaxed ones, "
        "so that crystals seem too near to the hull",
    )
    add_name(parser, "--out", required=True, metavar="FILE", help="new file, .json or .json.gz")
    add_potential_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Computes, writes the file and says what is missing in it."""
    from jaxcrystal.discovery.potentials import find_potential
    from jaxcrystal.discovery.references import (
        elements_of,
        reference_energies,
        systems_of,
        within,
        write_references,
    )
    from jaxcrystal.discovery.relaxation import RelaxSettings
    from jaxcrystal.discovery.run import Work
    from jaxcrystal.errors import DataError
    from jaxcrystal.files import require_absent
    from jaxcrystal.structures.entries import load_entries

    started = time.perf_counter()
    out = Path(arguments.out)
    require_absent(out)
    systems = None if arguments.system is None else {elements_of(arguments.system)}
    if arguments.samples is not None:
        systems = systems_of(load_entries(arguments.samples, arguments.processes))
    settings = RelaxSettings(
        potential=arguments.potential,
        max_force=arguments.max_force,
        max_stress=arguments.max_stress,
        max_steps=0 if arguments.single_points else arguments.max_steps,
        symprec=arguments.symprec,
    )
    find_potential(settings.potential)
    entries = [entry for source in arguments.sources for entry in load_entries(source, arguments.processes)]
    if systems is not None:
        total, entries = len(entries), within(entries, systems)
        if not entries:
            of = arguments.system or f"the elements of {arguments.samples}"
            raise DataError(f"none of {total} structures is of {of}")
    content, failures = reference_energies(entries, settings, Work(arguments.processes, arguments.dask))
    write_references(content, out)
    for word, count in failures.most_common():
        warn(f"{count} of {len(entries)} structures: {word}")
    kind = "relaxed" if content["relaxed"] else "single-point"
    print(
        f"{len(content['entries'])} {kind} energies of {content['potential']}; "
        f"{time.perf_counter() - started:.0f} s; written to {out}"
    )
    return 0
