"""Places crystals on the convex hull of known ones."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcrystal.discovery.energies import Compound, read_energies
from jaxcrystal.discovery.potentials import Energies
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.files import write_text
from jaxcrystal.structures.screening_files import encodable
from jaxcrystal.text import aligned, csv_text

if TYPE_CHECKING:
    from pymatgen.analysis.phase_diagram import PhaseDiagram

HULL_NAME = "hull.csv"
COLUMNS = (
    "id",
    "formula",
    "e_above_hull",
    "formation_energy",
    "energy_per_atom",
    "decomposition",
    "system",
    "known_compounds",
    "converged",
    "status",
    "potential",
    "correction",
)
#: eV per atom; no crystal forms from its elements with more, fluorides of rare earths have -4.5.
_FORMATION_ENERGIES = (-5.5, 5.5)
#: What any hull of this program is worth.
LOWER_BOUND = (
    "a hull from part of the known phases lies too high: the energies above it are lower bounds, and "
    "crystals below it may not be"
)


@dataclass(frozen=True)
class Placed:
    """One crystal on the hull.

    Attributes:
      compound: it.
      system: its elements, such as `Cu-K-Si`.
      known_compounds: references in the system beside its elements.
      e_above_hull: eV per atom above the hull of the references; negative below it; NaN if it has no
        place.
      formation_energy: eV per atom, from the references of the elements; NaN likewise.
      decomposition: what it would become, with shares of the atoms, such as `0.5 CuAu + 0.5 Au`.
      status: `ok`, or `energy` for a formation energy that no crystal has.
    """

    compound: Compound
    system: str
    known_compounds: int
    e_above_hull: float
    formation_energy: float
    decomposition: str
    status: str = "ok"


def require_same(first: Energies, second: Energies) -> None:
    """Refuses to mix energies.

    Raises:
      RequestError: they are not of one potential with one correction.
    """
    if first != second:
        raise RequestError(
            f"energies of {first} and of {second} do not go on one hull: make references with the same "
            "potential (`jaxcrystal references`)"
        )


def read_references(
    files: Sequence[str | Path], kind: Energies, told: Energies | None = None
) -> list[Compound]:
    """Returns the known crystals of some files.

    Args:
      files: see `read_energies`.
      kind: of which their energies must be.
      told: the kind of those that do not say it.

    Raises:
      DataError: see `read_energies`.
      RequestError: their energies are of another kind.
    """
    references = []
    for file in files:
        found, other = read_energies(file, told)
        require_same(kind, other)
        references += found
    return references


def pure_elements(references: Sequence[Compound]) -> set[str]:
    """Returns the elements of which there are crystals of nothing else."""
    return {one.composition.elements[0].symbol for one in references if _is_element(one)}


def require_elements(elements: Collection[str], references: Sequence[Compound]) -> None:
    """Refuses references that lack an element.

    Raises:
      DataError: which they lack.
    """
    lacking = sorted(set(elements) - pure_elements(references))
    if lacking:
        raise DataError(
            f"the references have no pure {', '.join(lacking)}: a hull needs every element of the crystals"
        )


def place_on_hull(compounds: Sequence[Compound], references: Sequence[Compound]) -> list[Placed]:
    """Returns the crystals with their places on the hull of the references, the lowest first.

    Energies of both must be of one kind: see `require_same`.

    Raises:
      DataError: the references lack an element.
    """
    systems = {_system(compound) for compound in compounds}
    require_elements({element for system in systems for element in system}, references)
    known = by_elements(references)
    diagrams: dict[tuple[str, ...], tuple[PhaseDiagram, int]] = {}
    placed = []
    for compound in compounds:
        system = _system(compound)
        if system not in diagrams:
            diagrams[system] = diagram(system, known)
        placed.append(_placed(compound, "-".join(system), *diagrams[system]))
    return sorted(placed, key=lambda one: (math.isnan(one.e_above_hull), one.e_above_hull, one.compound.name))


def hull_csv(placed: Sequence[Placed], kind: Energies) -> str:
    """Returns a row each: energies in eV per atom, empty where there is none."""
    rows = [
        [
            encodable(one.compound.name),
            one.compound.composition.reduced_formula,
            *(_number(x, 6) for x in (one.e_above_hull, one.formation_energy, one.compound.energy_per_atom)),
            encodable(one.decomposition),
            one.system,
            one.known_compounds,
            "yes" if one.compound.converged else "no",
            one.status,
            *kind,
        ]
        for one in placed
    ]
    return csv_text([COLUMNS, *rows])


def write_hull(placed: Sequence[Placed], kind: Energies, path: Path) -> None:
    """Writes `hull_csv`, in place of an older one.

    Raises:
      DataError: there is another file of this name, or it cannot be written.
    """
    head = ",".join(COLUMNS)
    try:
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(head):
            raise DataError(f"{path} is not a file of `jaxcrystal hull`: rename it, or give --out")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    write_text(path, hull_csv(placed, kind))


def table(placed: Sequence[Placed], max_rows: int = 16) -> str:
    """Returns the lowest crystals as a table for the terminal, and a line about all."""
    head = ("id", "formula", "above hull", "formation", "becomes")
    rows = [
        (
            one.compound.name[:40],
            one.compound.composition.reduced_formula,
            _number(one.e_above_hull, 4) or one.status,
            _number(one.formation_energy, 4),
            one.decomposition,
        )
        for one in placed[:max_rows]
    ]
    lines = aligned([head, *rows], left=(0, 1, 4))
    if len(placed) > max_rows:
        lines.append(f"... and {len(placed) - max_rows} more in {HULL_NAME}")
    below, near = (sum(one.e_above_hull <= limit for one in placed) for limit in (0.0, 0.1))
    lines += ["", f"{len(placed)} crystals, eV/atom: {below} on or below the hull, {near} within 0.1"]
    return "\n".join(lines)


def warnings_of(placed: Sequence[Placed]) -> list[str]:
    """Returns a line for each thing to know about the figures."""
    found = []
    bare = sorted({one.system for one in placed if one.known_compounds == 0 and "-" in one.system})
    if bare:
        shown = ", ".join(bare[:6]) + (f" and {len(bare) - 6} more" if len(bare) > 6 else "")
        found.append(
            f"no known compounds among the references in {shown}: their hull is that of the elements"
        )
    statuses = Counter(one.status for one in placed if one.status != "ok")
    found += [
        f"{count} of {len(placed)} crystals have a formation energy that no crystal has, and no place"
        for count in statuses.values()
    ]
    unfinished = sum(not one.compound.converged for one in placed)
    if unfinished:
        found.append(
            f"{unfinished} of {len(placed)} crystals had not relaxed: their energies are upper bounds"
        )
    return [*found, LOWER_BOUND]


def by_elements(references: Sequence[Compound]) -> dict[frozenset[str], list[Compound]]:
    """Returns crystals by their elements: there are tens of thousands, and systems are looked for often."""
    found: dict[frozenset[str], list[Compound]] = {}
    for one in references:
        found.setdefault(frozenset(_system(one)), []).append(one)
    return found


def diagram(
    system: Collection[str], known: Mapping[frozenset[str], Sequence[Compound]]
) -> tuple["PhaseDiagram", int]:
    """Returns pymatgen's diagram of a system, and how many compounds are among its crystals.

    Args:
      system: elements.
      known: crystals, see `by_elements`.
    """
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

    wanted = frozenset(system)
    within = [one for elements, members in known.items() if elements <= wanted for one in members]
    entries = [
        PDEntry(one.composition, one.energy_per_atom * one.composition.num_atoms, one.name) for one in within
    ]
    return PhaseDiagram(entries), sum(not _is_element(one) for one in within)


def _placed(compound: Compound, system: str, phases: "PhaseDiagram", known: int) -> Placed:
    from pymatgen.analysis.phase_diagram import PDEntry

    energy = compound.energy_per_atom * compound.composition.num_atoms
    entry = PDEntry(compound.composition, energy)
    formation = float(phases.get_form_energy_per_atom(entry))
    if not _FORMATION_ENERGIES[0] <= formation <= _FORMATION_ENERGIES[1]:
        return Placed(compound, system, known, math.nan, math.nan, "", "energy")
    shares, above = phases.get_decomp_and_e_above_hull(entry, allow_negative=True, check_stable=False)
    parts = sorted(((share, part) for part, share in (shares or {}).items()), key=lambda pair: -pair[0])
    words = [_part(share, part) for share, part in parts if share > 1e-6]
    return Placed(compound, system, known, float(above), formation, " + ".join(words))


def _part(share: float, part: Any) -> str:
    amount = "" if share > 1 - 1e-6 else f"{share:.3f} "
    return f"{amount}{part.composition.reduced_formula} ({part.name})"


def _system(compound: Compound) -> tuple[str, ...]:
    return tuple(sorted(element.symbol for element in compound.composition.elements))


def _is_element(compound: Compound) -> bool:
    return len(compound.composition.elements) == 1


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"
