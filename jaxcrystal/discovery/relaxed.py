"""Relaxed crystals as rows of `relaxed.csv` and as files."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.relaxation import Ground
from jaxcrystal.files import claim_folder
from jaxcrystal.io.convert import formula, symbols, to_ase, to_pymatgen
from jaxcrystal.io.extxyz import write_frame
from jaxcrystal.io.together import write_together
from jaxcrystal.io.writers import cif_text
from jaxcrystal.structures.entries import Entry
from jaxcrystal.structures.finished import letters_by_element
from jaxcrystal.structures.screening_files import encodable, file_names
from jaxcrystal.structures.summary import RELAXED_NAME, summary_csv
from jaxcrystal.symmetry.orbits import FullCell, expand_crystal
from jaxcrystal.text import aligned

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

COLUMNS = (
    "id",
    "source",
    "formula",
    "letters",
    "requested_group",
    "group_before",
    "group_after",
    "status",
    "energy_per_atom",
    "steps",
    "converged",
    "max_force",
    "pressure",
    "moved",
    "volume_ratio",
    "volume_per_atom",
    "stays",
    "released_group",
    "released_energy_per_atom",
    "detail",
)
#: Structures as extended XYZ, with energies and forces.
FRAMES_NAME = "structures.extxyz"


@dataclass(frozen=True, eq=False)
class Relaxed:
    """One structure after its relaxation.

    Attributes:
      name: plain and unique; of its files, and `id` in `relaxed.csv`.
      source: what its source calls it.
      formula: reduced; empty if it could not be read.
      requested_group: that it was sampled for; 0: not known.
      status: `ok`, or in one word why there is no relaxed crystal.
      detail: the same in a line.
      ground: the relaxed crystal; None if the status is not `ok`.
    """

    name: str
    source: str
    formula: str
    requested_group: int
    status: str
    detail: str
    ground: Ground | None

    @property
    def energy_per_atom(self) -> float:
        """eV; NaN if it was not relaxed."""
        return math.nan if self.ground is None else self.ground.energy_per_atom

    @cached_property
    def cell(self) -> FullCell:
        """The conventional cell of the relaxed crystal."""
        assert self.ground is not None, f"{self.name} was not relaxed: {self.status}"
        return expand_crystal(self.ground.crystal)

    def to_pymatgen(self) -> "Structure":
        """Returns a pymatgen Structure of the conventional cell."""
        return to_pymatgen(*self.cell[:3])

    def to_ase(self) -> "Atoms":
        """Returns an ASE Atoms object of the conventional cell, with energy (eV), forces and stress."""
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms, ground = to_ase(*self.cell[:3]), self.ground
        assert ground is not None
        results = {
            "energy": ground.energy_per_atom * len(atoms),
            "forces": ground.forces,
            "stress": ground.stress.ravel()[[0, 4, 8, 5, 2, 1]],
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def row(self) -> dict[str, str]:
        """Returns its row of `relaxed.csv`: eV, eV/Å, GPa, Å, Å³; empty where there is nothing."""
        found = dict.fromkeys(COLUMNS, "") | {
            "id": self.name,
            "source": encodable(self.source),
            "formula": self.formula,
            "requested_group": str(self.requested_group or ""),
            "status": self.status,
            "detail": encodable(self.detail),
        }
        g = self.ground
        if g is None:
            return found
        found |= {
            "letters": letters_by_element(g.crystal.species, g.letters),
            "group_before": str(g.group_before),
            "group_after": str(g.group_after),
            "energy_per_atom": f"{g.energy_per_atom:.6f}",
            "steps": str(g.steps),
            "converged": "yes" if g.converged else "no",
            "max_force": f"{g.max_force:.4f}",
            "pressure": f"{g.pressure + 0.0:.3f}",
            "moved": f"{g.moved:.4f}",
            "volume_ratio": f"{g.volume_ratio:.4f}",
            "volume_per_atom": f"{abs(np.linalg.det(self.cell.lattice)) / len(self.cell.species):.4f}",
        }
        if g.released is not None:
            found |= {
                "stays": "yes" if g.released.stays else "no",
                "released_group": str(g.released.group),
                "released_energy_per_atom": f"{g.released.energy_per_atom:.6f}",
            }
        return found


def relaxed(entry: Entry, name: str, outcome: Ground | Failure) -> Relaxed:
    """Returns what became of a structure."""
    return Relaxed(
        name=name,
        source=entry.name,
        formula="" if entry.structure is None else formula(np.array(entry.structure.atomic_numbers)),
        requested_group=entry.requested_group,
        status=outcome.word if isinstance(outcome, Failure) else "ok",
        detail=outcome.detail if isinstance(outcome, Failure) else "",
        ground=None if isinstance(outcome, Failure) else outcome,
    )


def names_of(entries: Sequence[Entry]) -> list[str]:
    """Returns a plain name for each structure, each another one."""
    return [name.removesuffix(".cif") for name in file_names([entry.name for entry in entries])]


def write_relaxed(structures: Sequence[Relaxed], out: Path) -> None:
    """Writes a CIF each, one extended XYZ file, and `relaxed.csv`, which comes last.

    Raises:
      DataError: the folder is not empty, or cannot be written.
    """
    claim_folder(out)
    there = [(one, one.ground) for one in structures if one.ground is not None]
    texts = [
        (f"{one.name}.cif", cif_text(ground.crystal, ground.letters, one.name, one.cell))
        for one, ground in there
    ]
    frames = "".join(_frame(one, ground) for one, ground in there)
    rows = summary_csv((one.row() for one in structures), columns=COLUMNS)
    write_together(out, [*texts, *([(FRAMES_NAME, frames)] if frames else []), (RELAXED_NAME, rows)])


def _frame(one: Relaxed, ground: Ground) -> str:
    lattice, species, frac_coords, _ = one.cell
    info: dict[str, str | int | float] = {
        "energy": round(ground.energy_per_atom * len(species), 8),
        "stress": " ".join(f"{x + 0.0:.8g}" for x in np.round(ground.stress, 10).ravel()),
        "name": one.name,
        "space_group": int(ground.crystal.space_group),
    }
    return write_frame(lattice, symbols(species), frac_coords, info, ground.forces)


def describe(rows: Iterable[Mapping[str, str]], max_rows: int = 16) -> tuple[str, list[str]]:
    """Returns the first rows as a table with a line about all, and a warning for each kind of failure.

    Args:
      rows: of `relaxed.csv`; read once, and not kept.
      max_rows: of the table.
    """
    rows = iter(rows)
    first = list(islice(rows, max_rows))
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for row in (row for group in (first, rows) for row in group):
        counts["all"] += 1
        if row["status"] != "ok":
            failures[row["status"]] += 1
            continue
        counts["relaxed"] += row["converged"] == "yes"
        counts["unfinished"] += row["converged"] == "no"
        counts["kept"] += row["group_before"] == row["group_after"]
        counts["let go"] += row["stays"] != ""
        counts["stay"] += row["stays"] == "yes"
    lines = aligned([_HEAD, *(_cells(row) for row in first)], left=(0, 1, 10))
    if counts["all"] > len(first):
        lines.append(f"... and {counts['all'] - len(first)} more in {RELAXED_NAME}")
    released = (
        f"; let go, {counts['stay']} of {counts['let go']} stay as they are" if counts["let go"] else ""
    )
    lines += [
        "",
        f"{counts['all']} structures: {counts['relaxed']} relaxed, {counts['unfinished']} not within the "
        f"steps, {failures.total()} failed; {counts['kept']} are in the group that they began in{released}",
    ]
    warnings = [
        f"{count} of {counts['all']} structures failed: {word} ({RELAXED_NAME} says more)"
        for word, count in failures.most_common()
    ]
    return "\n".join(lines), warnings


_HEAD = (
    *("id", "letters", "group", "after", "eV/atom", "steps", "eV/Å", "GPa", "moved", "volume"),
    "status",
)


def _cells(row: Mapping[str, str]) -> tuple[str, ...]:
    shown = ("group_before", "group_after", "energy_per_atom", "steps", "max_force", "pressure", "moved")
    return (
        row["id"],
        row["letters"] or row["formula"],
        *(row[name] for name in shown),
        row["volume_ratio"],
        row["status"] if row["converged"] != "no" else "not converged",
    )
