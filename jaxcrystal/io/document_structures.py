"""The objects that OPTIMADE, JARVIS, ASE and OQMD write for a structure, as full cells."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import DataError
from jaxcrystal.io.atoms import Atoms
from jaxcrystal.io.checks import FULL, require_cell
from jaxcrystal.io.formulas import told_formula
from jaxcrystal.io.labels import element_of
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.text import number


def parse_document(kind: str, content: dict[str, Any]) -> Atoms:
    """Returns the cell of an object.

    Args:
      kind: one of `documents.KINDS` that is not pymatgen's.
      content: the object.

    Raises:
      DataError: the object is not as its kind should be.
      Rejected: disordered, not periodic, or in contradiction with its own formula.
    """
    parsers: dict[str, Callable[[dict[str, Any]], Atoms]] = {
        "optimade": _optimade,
        "jarvis": _jarvis,
        "ase": _ase,
        "oqmd": _oqmd,
    }
    try:
        return parsers[kind](content)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"not a structure as {kind} writes it: {missing}") from error


def _optimade(content: dict[str, Any]) -> Atoms:
    periodic = content.get("dimension_types") or [1, 1, 1]
    if list(periodic) != [1, 1, 1]:
        raise Rejected(Reason.NOT_PERIODIC, f"not periodic in three directions (dimension_types {periodic})")
    features = set(content.get("structure_features") or ())
    for feature in ("implicit_atoms", "site_attachments"):
        if feature in features:
            raise Rejected(Reason.CONTRADICTORY, f"not all atoms are listed ({feature})")
    if features & {"assemblies", "disorder"}:
        raise Rejected(Reason.DISORDERED, f"disordered ({', '.join(sorted(features))})")
    elements = {species["name"]: _optimade_element(species) for species in content.get("species") or ()}
    names = content["species_at_sites"]
    species = [elements[name] if name in elements else element_of(name) for name in names]
    cell = _from_cartesian(content["lattice_vectors"], species, content["cartesian_site_positions"])
    formula = told_formula(content.get("chemical_formula_reduced") or "")
    if formula is not None:
        formula.check(species)
    return cell


def _optimade_element(species: dict[str, Any]) -> int:
    symbols = species["chemical_symbols"]
    if len(symbols) != 1 or sum(species.get("concentration") or [1.0]) < FULL:
        raise Rejected(Reason.DISORDERED, f"a site holds {' '.join(symbols)}")
    return element_of(symbols[0])


def _jarvis(content: dict[str, Any]) -> Atoms:
    lattice, coords = _array(content["lattice_mat"], (3, 3)), _array(content["coords"], (-1, 3))
    species = [element_of(symbol) for symbol in content["elements"]]
    if content.get("cartesian"):
        return _from_cartesian(lattice, species, coords)
    return _of_one_length(Atoms(lattice, species, coords))


def _ase(content: dict[str, Any]) -> Atoms:
    from ase.cell import Cell

    if content.get("cell") is None:
        raise Rejected(Reason.NOT_PERIODIC, "no cell")
    periodic = np.atleast_1d(_array(content.get("pbc", True)).astype(bool))
    if not periodic.all():
        flags = "".join("FT"[int(flag)] for flag in periodic)
        raise Rejected(Reason.NOT_PERIODIC, f"not periodic in three directions (pbc {flags})")
    numbers = _array(content["numbers"]).astype(int)
    if not ((numbers >= 1) & (numbers < len(SYMBOLS))).all():
        raise Rejected(Reason.UNKNOWN_ELEMENT, "an atomic number is none")
    lattice = Cell.new(_array(content["cell"])).array
    return _from_cartesian(lattice, numbers.tolist(), _array(content["positions"], (-1, 3)))


def _oqmd(content: dict[str, Any]) -> Atoms:
    species, coords = [], []
    for site in content["sites"]:
        symbol, _, place = site.partition("@")
        species.append(element_of(symbol))
        coords.append([number(word, "a coordinate") for word in place.split()])
    return _of_one_length(Atoms(_array(content["unit_cell"], (3, 3)), species, _array(coords, (-1, 3))))


def _array(value: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns an array, also as ASE writes one: `{"__ndarray__": [shape, type, numbers]}`."""
    if isinstance(value, dict) and "array" in value:
        return _array(value["array"], shape)
    if isinstance(value, dict):
        written, _, numbers = value["__ndarray__"]
        return _array(np.array(numbers).reshape(written), shape)
    array = np.asarray(value, float)
    return array if shape is None else array.reshape(shape)


def _from_cartesian(lattice: Any, species: list[int], coords: Any) -> Atoms:
    vectors: Float[np.ndarray, "3 3"] = _array(lattice, (3, 3))
    require_cell(vectors)
    return _of_one_length(Atoms(vectors, species, _array(coords, (-1, 3)) @ np.linalg.inv(vectors)))


def _of_one_length(cell: Atoms) -> Atoms:
    if len(cell.species) != len(cell.frac_coords):
        raise Rejected(
            Reason.CONTRADICTORY, f"{len(cell.species)} elements for {len(cell.frac_coords)} places of atoms"
        )
    return cell
