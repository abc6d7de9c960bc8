"""Computes orbits of sites on the host: special positions, and the full cell of a crystal.

All numpy, float64. Two images of a site nearer than `merge_distance` are one atom, and
the mean of the images that coincide with the site is its projection on a special
position: exact, once the operations that made them are closed to a group.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.symmetry.detect import niggli_axes
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import has_free_angles, host_lattice
from jaxcrystal.symmetry.wyckoff import coset_representatives, group_operations


def project_on_special_position(
    frac_coords: Float[np.ndarray, "3"],
    lattice: Float[np.ndarray, "3 3"],
    space_group: int,
    merge_distance: float,
) -> tuple[Float[np.ndarray, "3"], Bool[np.ndarray, " 48"]]:
    """Moves a site onto the special position that its coinciding images surround.

    Repeated until no further image falls within `merge_distance` of the moved site.

    Args:
      frac_coords: [3] fractional in the conventional cell, any branch.
      lattice: [3, 3] conventional cell, rows are vectors, Å.
      space_group: 1-230.
      merge_distance: images nearer than this are the site itself, Å.
    Returns:
      The site [3], on the branch it came on, and its `site_ops` [MAX_OPS]: one
      operation for each atom of its orbit, up to centring. Unmoved with all operations
      if no image coincides.
    """
    rotations, translations, primitive = group_operations(space_group)
    site, size = np.asarray(frac_coords, np.float64), 1
    while True:
        members, shifts = _fixing_group(site, lattice, space_group, merge_distance)
        if members.sum() <= size:
            break
        size = int(members.sum())
        images = rotations @ site + translations + shifts @ primitive
        site = images[members].mean(0)
    stabilizer = np.zeros(MAX_OPS, bool)
    stabilizer[: len(members)] = members
    return site, coset_representatives(stabilizer, space_group)


def expand_orbit(
    frac_coords: Float[np.ndarray, "3"], site_ops: Bool[np.ndarray, " 48"], space_group: int
) -> Float[np.ndarray, "multiplicity 3"]:
    """Returns all atoms of a site in the conventional cell, coordinates in [0, 1).

    Args:
      frac_coords: [3] fractional, any branch.
      site_ops: [MAX_OPS] the operations whose images are distinct atoms.
      space_group: 1-230.
    Returns:
      [multiplicity, 3] the images, each with its centring translations after it.
    """
    rotations, translations, _ = group_operations(space_group)
    kept = np.asarray(site_ops)[: len(rotations)]
    images = rotations[kept] @ np.asarray(frac_coords, np.float64) + translations[kept]
    return _wrap((images[:, None] + centring_translations(space_group)).reshape(-1, 3))


class FullCell(NamedTuple):
    """The conventional cell of one crystal with all its atoms.

    Attributes:
      lattice: [3, 3] rows are vectors, Å.
      species: [n_atoms] atomic numbers.
      frac_coords: [n_atoms, 3] in [0, 1); the images of a site stand together, each with its
        centring translations after it.
      site_index: [n_atoms] the site that an atom is an image of.
    """

    lattice: Float[np.ndarray, "3 3"]
    species: Int[np.ndarray, " n_atoms"]
    frac_coords: Float[np.ndarray, "n_atoms 3"]
    site_index: Int[np.ndarray, " n_atoms"]

    def primitive(self, space_group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the primitive cell: lattice [3, 3], species [n], frac_coords [n, 3] in [0, 1)."""
        vectors = group_operations(space_group)[2]
        # Each atom stands before its centring translations.
        one = slice(None, None, len(centring_translations(space_group)))
        frac_coords = self.frac_coords[one] @ np.linalg.inv(vectors) % 1.0
        return vectors @ self.lattice, self.species[one], frac_coords


def expand_crystal(crystal: Crystal) -> FullCell:
    """Returns the conventional cell of one crystal, padded or not; arrays of numpy or JAX."""
    space_group = int(crystal.space_group)
    lattice = host_lattice(np.asarray(crystal.lattice_params, np.float64), space_group)
    sites = np.flatnonzero(np.asarray(crystal.node_mask))
    coords, site_ops = np.asarray(crystal.frac_coords, np.float64), np.asarray(crystal.site_ops)
    orbits = [expand_orbit(coords[site], site_ops[site], space_group) for site in sites]
    site_index = np.repeat(sites, [len(orbit) for orbit in orbits])
    species = np.asarray(crystal.species)[site_index]
    return FullCell(lattice, species, np.concatenate([np.zeros((0, 3)), *orbits]), site_index)


@cache
def centring_translations(space_group: int) -> np.ndarray:
    """Returns the lattice points [num_centring, 3] of the conventional cell, 0 first."""
    primitive = group_operations(space_group)[2]
    steps = np.indices((4, 4, 4)).reshape(3, -1).T
    points = np.round(_wrap(steps @ primitive + 1e-9) * 12) / 12 % 1.0  # all are twelfths
    points = np.unique(points, axis=0)
    points.setflags(write=False)
    return points


def _fixing_group(
    frac_coords: np.ndarray, lattice: np.ndarray, space_group: int, merge_distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a group of operations that hold a site, each with its lattice vector.

    Returns:
      members [num_ops] bool, and shifts [num_ops, 3], integers in primitive vectors: the
      images `R x + t + shift @ primitive` of the members are near the site. The
      operations so shifted form a finite group, hence with a fixed point: their mean.
    """
    site = np.asarray(frac_coords, np.float64)
    rotations, translations, primitive = group_operations(space_group)
    tables = group_tables()
    product = tables.product[space_group]
    inverse = np.linalg.inv(primitive)
    shifts, distance = _nearest_shifts(rotations @ site + translations - site, space_group, lattice)
    # The operations in primitive coordinates, where the lattice is that of integers.
    turns = np.rint(inverse.T @ rotations @ primitive.T)
    moves = translations @ inverse

    members = np.zeros(len(rotations), bool)
    members[0] = True
    held = np.where(members[:, None], shifts, 0.0)
    for op in np.argsort(distance, kind="stable"):
        if distance[op] >= merge_distance:
            break
        if members[op]:
            continue
        grown, grown_held = members.copy(), held.copy()
        grown[op], grown_held[op] = True, shifts[op]
        while True:
            index = np.flatnonzero(grown)
            products = product[np.ix_(index, index)]
            # (g∘h)(x) = R_g (R_h x + t_h + s_h) + t_g + s_g, minus R_gh x + t_gh
            inner = moves[index] + grown_held[index]
            shift = np.einsum("gij,hj->ghi", turns[index], inner) + inner[:, None] - moves[products]
            shift = np.rint(shift)
            size = grown.sum()
            grown_held[products[~grown[products]]] = shift[~grown[products]]
            grown[products] = True
            if (grown_held[products] != shift).any():  # a translation: no common fixed point
                break
            if grown.sum() == size:
                members, held = grown, grown_held
                break
    return members, held


def _nearest_shifts(
    vectors: np.ndarray, space_group: int, lattice: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lattice vectors that make `vectors` short, and the lengths then.

    Args:
      vectors: [n, 3] fractional in the conventional cell.
      space_group: 1-230; where angles are free, the reduced cell is searched.
      lattice: [3, 3] conventional cell, Å.
    Returns:
      shifts [n, 3] integers in primitive vectors, and lengths [n], Å.
    """
    primitive = group_operations(space_group)[2]
    axes = niggli_axes(primitive @ lattice) if has_free_angles(space_group) else np.eye(3)
    primitive = axes @ primitive
    coefficients = vectors @ np.linalg.inv(primitive)
    base = -np.round(coefficients)
    window = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0
    shifts = base[:, None] + window
    lengths = np.linalg.norm((coefficients[:, None] + shifts) @ primitive @ lattice, axis=-1)
    nearest = lengths.argmin(1)
    rows = np.arange(len(vectors))
    return shifts[rows, nearest] @ axes, lengths[rows, nearest]


def _wrap(frac_coords: np.ndarray) -> np.ndarray:
    """Returns coordinates in [0, 1); rounding can make `x % 1.0` equal to 1."""
    wrapped = frac_coords % 1.0
    return np.where(wrapped >= 1.0, 0.0, wrapped)
