"""Compares distances, density and symmetry of one structure with those of real crystals."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.structures.cells import shortest_translation, translation_primitive
from jaxcrystal.structures.checks import MIN_DISTANCE
from jaxcrystal.symmetry.detect import SYMPREC, find_orbits

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Of 4,433 real crystals (`test.csv.gz` of the benchmarks), 3 have two atoms nearer than this share of
#: the sum of their covalent radii; of 19,264 in the training split, 39, most of them of actinides.
MIN_DISTANCE_RATIO = 0.7
#: Volume of the cell over that of its atoms (spheres of covalent radius): outside are 2 of those
#: 4,433 and 42 of the 19,264, actinide metals and loose molecules.
VOLUME_RATIOS = (0.8, 25.0)
#: The last element with a known radius, curium, which stands for those after it.
_LAST_KNOWN = 96


class Geometry(NamedTuple):
    """What is measured of a structure.

    Attributes:
      shortest_distance: Å between two atoms; images of one atom count too.
      distance_ratio: the least distance over the sum of the two covalent radii.
      density: g/cm³.
      volume_per_atom: Å³.
      volume_ratio: volume of the cell over that of the atoms, as spheres of covalent radius.
      found_group: by spglib at 0.1 Å; 0 for none.
      orbits: element and share of the atoms of every orbit, sorted. It is what Wyckoff letters
        say that depends on no choice of origin or axes: letters themselves differ between equal
        structures (in Pm-3m, a and b change places).
    """

    shortest_distance: float
    distance_ratio: float
    density: float
    volume_per_atom: float
    volume_ratio: float
    found_group: int
    orbits: tuple[tuple[int, float], ...]


def measure(structure: "Structure") -> Geometry:
    """Measures an ordered structure; raises what pymatgen does where its cell is beyond reason."""
    numbers = np.array(structure.atomic_numbers)
    radii = covalent_radii(numbers)
    distances = np.array(structure.distance_matrix)
    np.fill_diagonal(distances, np.inf)
    own = shortest_translation(structure)
    group, orbits = _orbits(structure)
    return Geometry(
        shortest_distance=min(float(distances.min()), own),
        distance_ratio=min(
            float((distances / (radii[:, None] + radii)).min()), float(own / (2 * radii.max()))
        ),
        density=float(structure.density),
        volume_per_atom=structure.volume / len(numbers),
        volume_ratio=structure.volume / float((4 / 3 * np.pi * radii**3).sum()),
        found_group=group,
        orbits=orbits,
    )


def is_short(geometry: Geometry, min_distance: float | None = None) -> bool:
    """Returns whether two atoms are too close.

    Args:
      geometry: what `measure` returns.
      min_distance: Å. Default: `MIN_DISTANCE_RATIO` times the sum of the two covalent radii
        (Cordero et al., Dalton Trans. 2008, 2832), and 0.5 Å.
    """
    if min_distance is not None:
        return geometry.shortest_distance < min_distance
    return geometry.distance_ratio < MIN_DISTANCE_RATIO or geometry.shortest_distance < MIN_DISTANCE


def is_odd_density(geometry: Geometry, density: tuple[float, float] | None = None) -> bool:
    """Returns whether a structure is too dense or too loose.

    Args:
      geometry: what `measure` returns.
      density: least and greatest, g/cm³. Default: `VOLUME_RATIOS`, which judge light and heavy
        elements alike, as g/cm³ cannot.
    """
    value, (low, high) = (
        (geometry.volume_ratio, VOLUME_RATIOS) if density is None else (geometry.density, density)
    )
    return not low <= value <= high


def covalent_radii(numbers: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns the covalent radii of elements, Å."""
    from ase.data import covalent_radii as radii

    return np.asarray(radii, float)[np.minimum(numbers, _LAST_KNOWN)]


def _orbits(structure: "Structure") -> tuple[int, tuple[tuple[int, float], ...]]:
    cell = translation_primitive(structure)
    numbers = np.array(cell.atomic_numbers)
    group, first = find_orbits(cell.lattice.matrix, numbers, cell.frac_coords, SYMPREC)
    atoms, counts = np.unique(first, return_counts=True)
    # Shares, so that a supercell, whose translations are not exact, has the orbits of its cell.
    return group, tuple(
        sorted((int(numbers[a]), int(n) / len(numbers)) for a, n in zip(atoms, counts, strict=True))
    )
