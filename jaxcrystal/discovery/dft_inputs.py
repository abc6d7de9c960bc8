"""Writes inputs of VASP and Quantum ESPRESSO for the best crystals, with scripts that run them in order.

inputs.csv            a row each, the best first
run.sh                runs all of them
NAME/run.sh           runs one, with VASP or with Quantum ESPRESSO
NAME/1_pbe/           as the Materials Project relaxes (pymatgen's MPRelaxSet)
NAME/2_r2scan/        as it relaxes further (MPScanRelaxSet)
NAME/espresso/        vc-relax of pw.x by PBE
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from jaxcrystal.discovery.espresso_input import Pseudopotentials, espresso_input, pseudopotentials
from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.relaxation import sites_of
from jaxcrystal.discovery.relaxed import names_of
from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import write_text
from jaxcrystal.folders import results_folder
from jaxcrystal.io.convert import to_ase, to_pymatgen
from jaxcrystal.io.writers import cif_text
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.detect import STRICT_SYMPREC
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.text import csv_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

INPUTS_NAME = "inputs.csv"
COLUMNS = ("id", "formula", "space_group", "atoms", "e_above_hull")
#: Folders of the steps of VASP, and VASP's own names of the potentials that they are made for.
_STEPS = {"1_pbe": "potpaw_PBE", "2_r2scan": "potpaw_PBE.54"}
_ESPRESSO = "espresso"
_ONE = """\
#!/bin/sh
# Relaxes {name}: `./run.sh vasp` (by PBE, then by r2SCAN from there) or `./run.sh espresso`.
# What has converged has a file `done` and is not repeated.
#
# VASP             what starts VASP (default: vasp_std), such as "mpirun -n 16 vasp_std"
# VASP_POTENTIALS  folder with {potentials}, each with NAME/POTCAR
# PW               what starts pw.x (default: pw.x)
# ESPRESSO_PSEUDO  folder of the pseudopotentials{default}
set -eu
cd "$(dirname "$0")"

vasp() {{ # step, its potentials, the step before
  [ ! -e "$1/done" ] || return 0
  if [ -s "$1/CONTCAR" ]; then
    cp "$1/CONTCAR" "$1/POSCAR" # it goes on where it stopped
  elif [ -n "$3" ]; then
    cp "$3/CONTCAR" "$1/POSCAR"
  fi
  while read -r name || [ -n "$name" ]; do
    cat "$VASP_POTENTIALS/$2/$name/POTCAR"
  done < "$1/POTCAR.spec" > "$1/POTCAR"
  (cd "$1" && ${{VASP:-vasp_std}} > vasp.out)
  grep -qs "reached required accuracy" "$1/vasp.out" "$1/OUTCAR" && [ -s "$1/CONTCAR" ] || {{
    echo "{name}/$1: VASP has not converged; the same command goes on from its CONTCAR" >&2
    exit 1
  }}
  touch "$1/done"
}}

case "${{1:-}}" in
  vasp)
{steps}
    ;;
  espresso)
    [ ! -e {espresso}/done ] || exit 0
{pseudo}    (cd {espresso} && ${{PW:-pw.x}} -in relax.in > relax.out)
    # The job is done after the last step too, converged or not.
    grep -q "bfgs converged" {espresso}/relax.out && grep -q "JOB DONE" {espresso}/relax.out || {{
      echo "{name}/{espresso}: pw.x has not converged, see relax.out" >&2
      exit 1
    }}
    touch {espresso}/done
    ;;
  *) echo "usage: ./run.sh vasp|espresso" >&2; exit 2 ;;
esac
"""
#: Not in relax.in: on the machine that runs it the folder may be another one.
_PSEUDO = """\
    [ -n "${{ESPRESSO_PSEUDO:-}}" ] || ESPRESSO_PSEUDO={}
    export ESPRESSO_PSEUDO
"""
_ALL = """\
#!/bin/sh
# Relaxes all candidates, the best first: `./run.sh vasp` or `./run.sh espresso`; see NAME/run.sh.
# Where one fails, the others go on, and the names of those that failed come last.
set -eu
cd "$(dirname "$0")"
case "${{1:-}}" in
  vasp|espresso) ;;
  *) echo "usage: ./run.sh vasp|espresso" >&2; exit 2 ;;
esac
failed=
for name in {names}; do
  "./$name/run.sh" "$1" || failed="$failed $name"
done
[ -z "$failed" ] || {{ echo "failed:$failed" >&2; exit 1; }}
"""


def write_inputs(
    entries: Sequence[Entry],
    out: str | Path,
    *,
    pseudo_dir: str | Path | None = None,
    e_above_hull: Sequence[float] | None = None,
    symprec: float = STRICT_SYMPREC,
) -> list[str]:
    """Writes the inputs of some crystals, all or nothing, and returns the names of their folders.

    Args:
      entries: crystals, such as those of `best.best_relaxed`; the best first.
      out: new or empty folder.
      pseudo_dir: folder of pseudopotentials for Quantum ESPRESSO, see `espresso_input.pseudopotentials`.
      e_above_hull: eV/atom of each, for the table; NaN or None where not known.
      symprec: Å; tolerance with which the primitive cell is found.

    Raises:
      DataError: `out` is not empty or cannot be written, a crystal cannot be read, or there are no
        potentials of an element.
    """
    names = names_of(entries)
    chosen = pseudopotentials(pseudo_dir)
    rows: list[Sequence[object]] = [COLUMNS]
    with results_folder(out) as folder:
        for name, entry, height in zip(
            names, entries, e_above_hull or [math.nan] * len(entries), strict=True
        ):
            structure, group = _write_one(folder / name, name, entry, chosen, symprec)
            shown = "" if math.isnan(height) else f"{height:.6f}"
            rows.append([name, structure.reduced_formula, group, len(structure), shown])
        write_text(folder / INPUTS_NAME, csv_text(rows))
        _write_script(folder / "run.sh", _ALL.format(names=" ".join(names)))
    return names


def _write_one(
    folder: Path, name: str, entry: Entry, chosen: Pseudopotentials, symprec: float
) -> "tuple[Structure, int]":
    """Returns the primitive cell that the inputs are of, and the space group."""
    if entry.structure is None:
        raise DataError(f"{entry.name} cannot be read: {entry.error}")
    try:
        crystal, letters = sites_of(entry.structure, symprec)
    except Failure as failure:
        raise DataError(f"{entry.name} is no crystal: {failure.word} ({failure.detail})") from failure
    cell, group = expand_crystal(crystal), int(crystal.space_group)
    structure = to_pymatgen(*cell.primitive(group))
    write_text(folder / f"{name}.cif", cif_text(crystal, letters, name, cell))
    _write_vasp(folder, structure)
    text = espresso_input(to_ase(*cell.primitive(group)), name, chosen)
    write_text(folder / _ESPRESSO / "relax.in", text)
    before = ["", *_STEPS]
    steps = [
        f'    vasp {step} {potentials} "{earlier}"'
        for (step, potentials), earlier in zip(_STEPS.items(), before, strict=False)
    ]
    script = _ONE.format(
        name=name,
        pseudo=_PSEUDO.format(quote(str(chosen.folder))) if chosen.folder else "",
        default=", if not that of --pseudo-dir" if chosen.folder else "",
        potentials=" and ".join(_STEPS.values()),
        steps="\n".join(steps),
        espresso=_ESPRESSO,
    )
    _write_script(folder / "run.sh", script)
    return structure, group


def _write_vasp(folder: Path, structure: "Structure") -> None:
    from pymatgen.io.vasp.sets import MPRelaxSet, MPScanRelaxSet

    for step, kind in zip(_STEPS, (MPRelaxSet, MPScanRelaxSet), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of potentials that have newer ones than the project's
            try:
                kind(structure).write_input(str(folder / step), potcar_spec=True)
            except (KeyError, ValueError) as error:
                raise DataError(
                    f"pymatgen's {kind.__name__} has no input for {structure.reduced_formula}: "
                    f"{one_line(error)}"
                ) from error


def _write_script(path: Path, text: str) -> None:
    write_text(path, text)
    path.chmod(path.stat().st_mode | 0o111)
