"""Checks a finished crystal: distances and volume."""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.symmetry.detect import niggli_axes
from jaxcrystal.symmetry.lattice import has_free_angles
from jaxcrystal.symmetry.orbits import FullCell, centring_translations
from jaxcrystal.symmetry.wyckoff import group_operations

#: Å and Å³; a structure below either is not valid in `evaluate`, as others count.
MIN_DISTANCE = 0.5
MIN_VOLUME = 0.1
#: Å³; `Sample.valid` asks for this in place of the volume: no crystal is as dense.
MIN_VOLUME_PER_ATOM = 1.0
_SHIFTS = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0


class Audit(NamedTuple):
    """What was found in one crystal.

    Attributes:
      shortest_distance: Å, between two atoms; images of one atom by a lattice vector count.
      volume_per_atom: Å³.
      valid: no two different atoms of the cell nearer than `MIN_DISTANCE`, and a volume of
        at least `MIN_VOLUME_PER_ATOM`.
    """

    shortest_distance: float
    volume_per_atom: float
    valid: bool


def audit(cell: FullCell, space_group: int) -> Audit:
    """Checks the conventional cell of one crystal."""
    volume_per_atom = float(abs(np.linalg.det(cell.lattice))) / max(len(cell.species), 1)
    # One atom of each orbit: all others have the same surroundings.
    first_atoms = np.unique(cell.site_index, return_index=True)[1]
    lattice, frac_coords = cell.lattice, cell.frac_coords
    own = _own_images(space_group) @ lattice
    if has_free_angles(space_group):
        axes, primitive = niggli_axes(lattice), group_operations(space_group)[2] @ lattice
        lattice, frac_coords = axes @ lattice, frac_coords @ np.linalg.inv(axes)
        own = niggli_axes(primitive) @ primitive  # the shortest vector is an axis
    between = distance_between_atoms(lattice, frac_coords, first_atoms)
    own_lengths = np.linalg.norm(own, axis=1)
    return Audit(
        shortest_distance=min(between, float(own_lengths[own_lengths > 1e-6].min())),
        volume_per_atom=volume_per_atom,
        valid=between >= MIN_DISTANCE and volume_per_atom >= MIN_VOLUME_PER_ATOM,
    )


@cache
def _own_images(space_group: int) -> np.ndarray:
    """Returns lattice vectors [n, 3], fractional, of which the shortest of a cell is one."""
    return (centring_translations(space_group)[:, None] + _SHIFTS).reshape(-1, 3)


def distance_between_atoms(
    lattice: Float[np.ndarray, "3 3"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    from_atoms: Int[np.ndarray, " chosen"],
) -> float:
    """Returns the least distance of chosen atoms to another atom of the cell, Å.

    Each pair at its nearest image; an atom's own images are ignored, so that a cell of
    one atom gives infinity. Exact for reduced cells, and those with angles of 90° and 120° (a = b).
    """
    shortest = np.inf
    for atom in from_atoms:
        offset = np.delete(frac_coords, atom, axis=0) - frac_coords[atom]
        offset = (offset - np.round(offset))[:, None] + _SHIFTS
        squared = np.square(offset @ lattice)
        squared = squared[..., 0] + squared[..., 1] + squared[..., 2]  # quicker than sum(-1)
        shortest = min(shortest, float(squared.min(initial=np.inf)))
    return float(np.sqrt(shortest))
