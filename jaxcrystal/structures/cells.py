"""Computes distances, structural validity and the primitive cell of pymatgen structures."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.structures.checks import MIN_DISTANCE, MIN_VOLUME
from jaxcrystal.symmetry.detect import find_primitive_cell

if TYPE_CHECKING:
    from pymatgen.core import Structure


def is_valid(structure: "Structure") -> bool:
    """Returns whether no two atoms are nearer than 0.5 Å and the volume is at least 0.1 Å³.

    Minimum-image distances, an atom's own images ignored, as in CDVAE.
    """
    return shortest_distance(structure) >= MIN_DISTANCE and structure.volume >= MIN_VOLUME


def shortest_distance(structure: "Structure") -> float:
    """Returns the least minimum-image distance of two atoms of the cell, Å; infinity for one atom."""
    distances = np.array(structure.distance_matrix)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(initial=np.inf))


#: Å; atoms related by a translation of the cell within this are one atom of the primitive cell.
_TRANSLATION_SYMPREC = 1e-5


def nearest_distance(structure: "Structure") -> float:
    """Returns the least distance between two atoms, Å; images of one atom count too."""
    return min(shortest_distance(structure), shortest_translation(structure))


def shortest_translation(structure: "Structure") -> float:
    """Returns the length of the shortest lattice vector, Å."""
    reduced = structure.lattice.get_lll_reduced_lattice().matrix
    shifts = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0
    return float(np.linalg.norm(shifts[np.any(shifts != 0, axis=1)] @ reduced, axis=1).min())


def translation_primitive(structure: "Structure") -> "Structure":
    """Returns the primitive cell; the structure itself where it has no translation to spare.

    Only exact translations (1e-5 Å) are used, so that nothing is idealised.
    """
    numbers = np.array(structure.atomic_numbers)
    if np.gcd.reduce(np.unique(numbers, return_counts=True)[1]) == 1:
        return structure
    found = find_primitive_cell(
        structure.lattice.matrix, numbers, structure.frac_coords, _TRANSLATION_SYMPREC
    )
    if found is None or len(found[1]) >= len(numbers):
        return structure
    return to_pymatgen(*found)
