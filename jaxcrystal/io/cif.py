"""CIF as a structure: every atom of the cell, and what the file says of itself checked against it."""

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.io.checks import require_cell
from jaxcrystal.io.cif_atoms import Places, expanded
from jaxcrystal.io.cif_sites import Site, read_sites
from jaxcrystal.io.cif_symmetry import Cell, completed, read_cell, told_operations
from jaxcrystal.io.cif_tags import CifTags
from jaxcrystal.io.formulas import ToldFormula, told_formula
from jaxcrystal.io.operations import Operations
from jaxcrystal.io.rejection import Reason, Rejected

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure


def parse_cif(text: str) -> "Structure":
    """Returns the structure of a CIF with one data block of atoms.

    The atoms are sorted by electronegativity, as pymatgen sorts them. A place that is not one
    full atom becomes a disordered site.

    Args:
      text: clean (`text.clean`).

    Raises:
      DataError: it is not CIF.
      Rejected: it contradicts itself, leaves open which structure it means, or lists alternatives.
    """
    from pymatgen.core import Structure

    tags = CifTags(text)
    formula = _formula(tags)
    sites = read_sites(tags, None if formula is None else set(formula.counts))
    cell = read_cell(tags)
    readings = told_operations(tags, cell)
    if not readings:
        readings = [_listed_whole(formula)]
    if len(readings) == 1:
        lattice, places = _reading(sites, readings[0], cell, formula)
    else:
        lattice, places = _only_reading(sites, readings, cell, formula)
    if not places.is_ordered:
        mixed = [_mixed(of_place) for of_place in places.occupants]
        return Structure(lattice, mixed, places.frac_coords)
    species = places.species
    order = _by_electronegativity(species)
    return Structure(lattice, [SYMBOLS[z] for z in species[order]], places.frac_coords[order])


def _mixed(of_place: dict[int, float]) -> dict[str, float]:
    """Returns the occupancies of a place by symbol; those that sum to a little more than 1 scaled to it."""
    total = max(1.0, sum(of_place.values()))
    return {SYMBOLS[z]: x / total for z, x in of_place.items()}


def _formula(tags: CifTags) -> ToldFormula | None:
    found = told_formula(tags.value("_chemical_formula_sum"), tags.value("_cell_formula_units_z"))
    return found or told_formula(tags.value("_chemical_formula_structural"))


def _listed_whole(formula: ToldFormula | None) -> Operations:
    """Returns the identity, for a file that tells no symmetry but how many atoms the cell holds."""
    if formula is None or not formula.units:
        raise Rejected(
            Reason.AMBIGUOUS,
            "neither a space group nor operations are given: with P 1 the list is taken for the whole cell",
        )
    return Operations(np.eye(3, dtype=int)[None], np.zeros((1, 3)), "P 1")


def _reading(
    sites: Sequence[Site], operations: Operations, cell: Cell, formula: ToldFormula | None
) -> tuple["Lattice", Places]:
    """Returns lattice and atoms under one set of operations, checked against the formula."""
    from pymatgen.core import Lattice

    whole = completed(cell, operations)
    lattice = Lattice.from_parameters(*whole.lengths, *whole.angles)
    require_cell(lattice.matrix)
    places = expanded(sites, operations, lattice.matrix)
    if formula is not None and places.is_ordered:
        formula.check(places.species)
    return lattice, places


def _only_reading(
    sites: Sequence[Site], readings: Sequence[Operations], cell: Cell, formula: ToldFormula | None
) -> tuple["Lattice", Places]:
    """Returns the one of several readings that the formula allows."""
    names = " or ".join(reading.name for reading in readings)
    if formula is None:
        raise Rejected(Reason.AMBIGUOUS, f"{names}? The file tells neither its operations nor a formula")
    right = []
    for operations in readings:
        try:
            right.append(_reading(sites, operations, cell, formula))
        except Rejected:
            continue
    if len(right) != 1:
        fit = "both fit" if right else "neither fits"
        raise Rejected(
            Reason.AMBIGUOUS, f"{names}? The file does not tell, and {fit} its formula {formula.text}"
        )
    return right[0]


def _by_electronegativity(species: Int[np.ndarray, " atoms"]) -> Int[np.ndarray, " atoms"]:
    """Returns the order of pymatgen's CIF reader, on which the choice of an origin can depend."""
    groups = sorted({int(z) for z in species}, key=_pauling, reverse=True)
    ranked = sorted(groups, key=functools.cmp_to_key(_compare))
    return np.concatenate([np.flatnonzero(species == z) for z in ranked])


@functools.cache
def _electronegativity(number: int) -> float:
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have none: NaN
        return float(Element.from_Z(number).X)


def _pauling(number: int) -> tuple[float, str]:
    value = _electronegativity(number)
    return (float("inf") if np.isnan(value) else value), SYMBOLS[number]


def _compare(one: int, other: int) -> int:
    return _is_before(other, one) - _is_before(one, other)


def _is_before(one: int, other: int) -> bool:
    a, b = _electronegativity(one), _electronegativity(other)
    return a < b or (not a > b and SYMBOLS[one] < SYMBOLS[other])
