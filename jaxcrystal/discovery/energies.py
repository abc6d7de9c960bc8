"""Energies of compositions, by one potential: what a hull is made of, and what is placed on it.

Read from folders of `jaxcrystal relax`, files of `jaxcrystal references`, JSON of pymatgen's
ComputedEntry (as the Materials Project's and Alexandria's, also compressed) and CSV.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcrystal.discovery.potentials import Energies
from jaxcrystal.discovery.run import RelaxFolder
from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import read_text
from jaxcrystal.io.text import TEXT_ERRORS, open_text
from jaxcrystal.structures.folder import RUN_NAME, summary_rows

if TYPE_CHECKING:
    from pymatgen.core import Composition

FORMAT = "jaxcrystal-references-1"
#: Names of columns of a CSV, the first that is there.
_FORMULA = ("formula", "composition", "reduced_formula", "formula_pretty")
_PER_ATOM = ("energy_per_atom",)
_TOTAL = ("energy",)
_ID = ("id", "entry_id", "material_id", "name")


@dataclass(frozen=True)
class Compound:
    """One structure's composition and energy.

    Attributes:
      name: of the structure.
      composition: atoms of any cell.
      energy_per_atom: eV.
      converged: False where a relaxation ended too soon, so that the energy is an upper bound.
    """

    name: str
    composition: "Composition"
    energy_per_atom: float
    converged: bool = True


def read_energies(source: str | Path, told: Energies | None = None) -> tuple[list[Compound], Energies]:
    """Returns the compounds of a source and of which kind their energies are.

    Structures that failed are left out.

    Args:
      source: a folder or file.
      told: the kind, for sources that do not say it.

    Raises:
      DataError: the source cannot be read, holds no energy, does not say of which kind they are, or
        says another one than was told.
    """
    path = Path(source)
    if path.is_dir():
        compounds, found = _of_folder(path)
    else:
        compounds, found = _of_file(path)
    if not compounds:
        raise DataError(f"{path} holds no energies")
    if not found.potential:
        if told is None:
            raise DataError(
                f"{path} does not say which potential its energies are of: --potential NAME says it"
            )
        # Entries of pymatgen say what they are corrected by, tables do not.
        found = Energies(told.potential, found.correction or told.correction)
    if told is not None and found != told:
        raise DataError(f"the energies of {path} are of {found}, not of {told}, as was said")
    return compounds, found


def _of_file(path: Path) -> tuple[list[Compound], Energies]:
    if not path.exists():
        raise DataError(f"{path} does not exist")
    try:
        with open_text(path) as file:
            text = file.read()
        table = ".csv" in [suffix.lower() for suffix in path.suffixes]
        return _of_table(text) if table else _of_json(json.loads(text))
    except (*TEXT_ERRORS, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise DataError(f"cannot read energies of {path}: {one_line(error)}") from error


def _of_folder(folder: Path) -> tuple[list[Compound], Energies]:
    try:
        run = json.loads(read_text(folder / RUN_NAME))
        if run["format"] != RelaxFolder.format:
            raise ValueError(f"its format is {run['format']!r}")
        kind = Energies(run["settings"]["potential"], run["settings"]["correction"])
    except (DataError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder} is no folder that `jaxcrystal relax` wrote ({one_line(error)})") from error
    try:
        return list(_of_rows(summary_rows(folder))), kind
    except ValueError as error:
        raise DataError(f"cannot read energies of {folder}: {one_line(error)}") from error


def _of_table(text: str) -> tuple[list[Compound], Energies]:
    rows = list(csv.DictReader(text.splitlines()))
    kinds = {(row.get("potential") or "", row.get("correction") or "") for row in rows}
    if len(kinds) > 1:
        raise ValueError("its rows are of different potentials or corrections")
    potential, correction = kinds.pop() if kinds else ("", "")
    return list(_of_rows(rows)), Energies(potential, correction or ("none" if potential else ""))


def _of_rows(rows: Iterable[Mapping[str, str]]) -> Iterator[Compound]:
    from pymatgen.core import Composition

    for number, row in enumerate(rows, start=1):
        if row.get("status", "ok") != "ok":
            continue
        formula, per_atom, total = (_first(row, names) for names in (_FORMULA, _PER_ATOM, _TOTAL))
        if not formula or not (per_atom or total):
            raise ValueError(f"row {number} has no formula, or neither energy_per_atom nor energy")
        composition = _of_elements(Composition(formula))
        energy = float(per_atom) if per_atom else float(total) / composition.num_atoms
        if not math.isfinite(energy):
            raise ValueError(f"row {number} has no finite energy")
        name = _first(row, _ID) or f"{formula}:{number}"
        yield Compound(name, composition, energy, row.get("converged") != "no")


def _of_json(content: Any) -> tuple[list[Compound], Energies]:
    if isinstance(content, dict) and content.get("format") == FORMAT:
        kind = Energies(str(content["potential"]), str(content["correction"]))
        return _of_entries(content["entries"])[0], kind
    if isinstance(content, dict):
        content = content.get("entries", content)
    entries = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise ValueError("neither a list nor an object of entries")
    compounds, correction = _of_entries(entries)
    return compounds, Energies("", correction)


def _of_entries(entries: list[Any]) -> tuple[list[Compound], str]:
    """Returns compounds of pymatgen's entries, and what their energies are corrected by."""
    from pymatgen.entries.computed_entries import ComputedEntry

    compounds, corrections = [], {"none"}
    for number, content in enumerate(entries):
        try:
            entry = ComputedEntry.from_dict(content)
            name = str(entry.entry_id or f"{entry.composition.reduced_formula}:{number}")
            energy = float(entry.energy_per_atom)
            if not math.isfinite(energy):
                raise ValueError("it has no finite energy")
            compounds.append(Compound(name, _of_elements(entry.composition), energy))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"entry {number} is no ComputedEntry of pymatgen ({one_line(error)})") from error
        corrections |= {_scheme(adjustment) for adjustment in entry.energy_adjustments if adjustment.value}
    corrections.discard("none") if len(corrections) > 1 else None
    if len(corrections) > 1:
        raise ValueError(f"energies are corrected in several ways: {', '.join(sorted(corrections))}")
    return compounds, corrections.pop()


def _of_elements(composition: "Composition") -> "Composition":
    """Returns a composition without oxidation states; raises ValueError where it has what is no element."""
    if not composition.valid or composition.num_atoms <= 0:
        raise ValueError(f"{composition.formula or 'nothing'} does not consist of elements")
    return composition.element_composition


def _scheme(adjustment: Any) -> str:
    words = f"{adjustment.name} {adjustment.description} {getattr(adjustment, 'cls', '')}"
    return "MP2020" if "MP2020" in words or "MaterialsProject2020" in words else "other"


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((row[name].strip() for name in names if row.get(name)), "")
