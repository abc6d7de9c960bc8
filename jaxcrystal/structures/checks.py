"""Checks of a finished crystal: distances, volume, and the group that spglib finds."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.symmetry.orbits import centring_translations
from jaxcrystal.symmetry.wyckoff import group_operations

#: Å and Å³; a structure below either is not valid (evaluation convention).
MIN_DISTANCE = 0.5
MIN_VOLUME = 0.1
_SHIFTS = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0


class Audit(NamedTuple):
    """What was found in one crystal.

    Attributes:
      shortest_distance: Å, between two atoms; images of one atom by a lattice vector count.
      volume_per_atom: Å³.
      valid: no two different atoms of the cell nearer than `MIN_DISTANCE`, and a volume of
        the cell of at least `MIN_VOLUME`.
    """

    shortest_distance: float
    volume_per_atom: float
    valid: bool


def audit(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    first_atoms: Int[np.ndarray, " sites"],
    space_group: int,
) -> Audit:
    """Checks one crystal.

    Args:
      lattice: [3, 3] conventional cell of a group from 16 to 230, rows are vectors, Å.
      species: [atoms] of the conventional cell.
      frac_coords: [atoms, 3] as `expand_orbit` lists them: each image with its centring
        translations after it.
      first_atoms: [sites] one atom of each orbit; all others have the same surroundings.
      space_group: whose centring the list has.
    """
    volume = float(abs(np.linalg.det(lattice)))
    between = distance_between_atoms(lattice, frac_coords, first_atoms)
    centring = centring_translations(space_group)
    own = (centring[:, None] + _SHIFTS).reshape(-1, 3) @ lattice
    own_lengths = np.linalg.norm(own, axis=1)
    return Audit(
        shortest_distance=min(between, float(own_lengths[own_lengths > 1e-6].min())),
        volume_per_atom=volume / max(len(species), 1),
        valid=between >= MIN_DISTANCE and volume >= MIN_VOLUME,
    )


def distance_between_atoms(
    lattice: Float[np.ndarray, "3 3"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    from_atoms: Int[np.ndarray, " chosen"],
) -> float:
    """Returns the least distance of chosen atoms to another atom of the cell, Å.

    Each pair at its nearest image; an atom's own images are ignored, so that a cell of
    one atom gives infinity. Exact for cells with angles of 90° and 120° (a = b).
    """
    shortest = np.inf
    for atom in from_atoms:
        offset = np.delete(frac_coords, atom, axis=0) - frac_coords[atom]
        offset = (offset - np.round(offset))[:, None] + _SHIFTS
        squared = ((offset @ lattice) ** 2).sum(-1)
        shortest = min(shortest, float(squared.min(initial=np.inf)))
    return float(np.sqrt(shortest))


def primitive_cell(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    space_group: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the primitive cell of a conventional one listed by `expand_orbit`.

    Returns:
      lattice [3, 3], species [n], frac_coords [n, 3] in [0, 1).
    """
    vectors = group_operations(space_group)[2]
    # Each atom stands before its centring translations.
    one = slice(None, None, len(centring_translations(space_group)))
    return vectors @ lattice, species[one], frac_coords[one] @ np.linalg.inv(vectors) % 1.0
