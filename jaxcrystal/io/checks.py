"""What every structure must be, whatever kind of file it is from."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.limits import FRAC_COORD

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Å; atoms nearer than this are on one point.
ONE_POINT = 0.01
#: Occupancies above this one count as full.
FULL = 0.99
#: Å; no cell is thinner, or longer.
_THINNEST, _LONGEST = 0.3, 1e4
#: Above so many atoms a tree finds near pairs faster than all distances do.
_MANY = 300


def checked(structure: "Structure") -> "Structure":
    """Returns the structure.

    Raises:
      Rejected: a number is not finite, the cell is flat, it is not periodic in three
        directions, or two atoms are on one point.
    """
    lattice, frac_coords = structure.lattice.matrix, structure.frac_coords
    if not all(structure.lattice.pbc):
        directions = "".join("FT"[bool(flag)] for flag in structure.lattice.pbc)
        raise Rejected(Reason.NOT_PERIODIC, f"not periodic in three directions (pbc {directions})")
    if not np.isfinite(frac_coords).all():
        raise Rejected(Reason.UNPARSABLE, "a coordinate is not a finite number")
    if refused := FRAC_COORD.refusal(tuple(frac_coords.ravel().tolist())):
        raise Rejected(Reason.UNPARSABLE, f"a fractional coordinate {refused}")
    require_cell(lattice)
    for one, other, distance in near_pairs(lattice, frac_coords, ONE_POINT):
        names = f"{structure[one].species_string} and {structure[other].species_string}"
        raise Rejected(Reason.OVERLAPPING, f"{names} are {distance:.2g} Å apart: atoms on one point")
    return structure


def atomic_numbers(structure: "Structure") -> Int[np.ndarray, " atoms"]:
    """Returns [atoms] the elements; without oxidation states, deuterium and tritium as hydrogen.

    Raises:
      Rejected: no atoms, something that is no element, or a site that is not one full atom.
    """
    if len(structure) == 0:
        raise Rejected(Reason.EMPTY, "no atoms")
    numbers = []
    for site in structure:
        occupants: dict[Any, float] = dict(site.species.items())
        elements = {int(getattr(occupant, "Z", 0)) for occupant in occupants}
        if not all(1 <= element <= 118 for element in elements):
            raise Rejected(Reason.UNKNOWN_ELEMENT, f"a site holds {site.species_string}")
        if len(elements) != 1 or sum(occupants.values()) < FULL:
            raise Rejected(Reason.DISORDERED, f"a site holds {site.species_string}")
        numbers.append(elements.pop())
    return np.array(numbers, np.int32)


def require_cell(lattice: Float[np.ndarray, "3 3"]) -> None:
    """Raises Rejected where lattice vectors are not finite, or span no volume.

    Args:
      lattice: [3, 3] rows are vectors, Å.
    """
    if not np.isfinite(lattice).all():
        raise Rejected(Reason.UNPARSABLE, "the cell is not of finite numbers, or its angles make no cell")
    if np.abs(lattice).max() > _LONGEST:
        raise Rejected(Reason.UNPARSABLE, f"the cell is {np.abs(lattice).max():.2g} Å long")
    thin = thickness(lattice)
    if thin < _THINNEST:
        raise Rejected(Reason.UNPARSABLE, f"the cell is flat: {thin:.2g} Å thin")


def thickness(lattice: Float[np.ndarray, "3 3"]) -> float:
    """Returns the smallest distance between opposite faces of a cell, Å; 0 if it has no volume."""
    if np.linalg.det(lattice) == 0:
        return 0.0
    reciprocal = np.linalg.inv(lattice)
    return float(1 / np.sqrt((reciprocal * reciprocal).sum(0).max()))


def near_pairs(
    lattice: Float[np.ndarray, "3 3"], frac_coords: Float[np.ndarray, "atoms 3"], distance: float
) -> list[tuple[int, int, float]]:
    """Returns the pairs of atoms nearer than a distance, and how near, in rising order of atoms.

    Args:
      lattice: [3, 3] rows are vectors, Å.
      frac_coords: [atoms, 3], any branch.
      distance: Å; much shorter than the cell is thick, since one image of a pair is looked at.
    """
    if len(frac_coords) <= _MANY:
        offsets = frac_coords[:, None] - frac_coords[None]
        lengths = np.linalg.norm((offsets - np.rint(offsets)) @ lattice, axis=-1)
        first, second = np.nonzero(np.triu(lengths < distance, 1))
        return [(int(i), int(j), float(lengths[i, j])) for i, j in zip(first, second, strict=True)]
    from scipy.spatial import cKDTree

    inside = frac_coords - np.floor(frac_coords)
    inside[inside >= 1.0] = 0.0
    reach = min(distance / thickness(lattice), 0.49)
    found = []
    for i, j in sorted(cKDTree(inside, boxsize=1.0).query_pairs(reach)):
        offset = inside[i] - inside[j]
        length = float(np.linalg.norm((offset - np.rint(offset)) @ lattice))
        if length < distance:
            found.append((i, j, length))
    return found
