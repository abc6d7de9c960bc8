"""Chooses one description of a crystal among all that its setting allows.

**The cell.** In groups with fixed angles spglib's choice stands (its order of the axes). Of a monoclinic
group, infinitely many cells have the operations in the same form, and of a triclinic one, all that are
primitive. The rule:

    triclinic   the shortest axes, a <= b <= c, with angles all acute or none: Niggli's cell, where only
                one cell has axes so short
    monoclinic  the cell of least a² + c²; of several, that of the least a; and β is not acute

so that two descriptions of a crystal have the same lattice parameters.

**The sites.** What is left in all groups are the changes of axes and origin that leave operations and
lengths as they are (`symmetry.normalizer`), which image of a site is listed, and the order of the sites.
The rule: the least letters, whichever elements have them, so that crystals of one structure type are on the
same; if elements can change places, the letters of the one that comes first in a given order; then the least
coordinates. Where the group leaves the origin free, it is on an atom.

Each clause of the rule for cells keeps of the cells that are left those that are equal to the best *of
them all*, so that what is chosen depends on the set of cells alone. (Compared in pairs, as a reduction does
step by step, lengths that are equal within a tolerance make circles: a = b and b = c, but a < c.) The set
has all cells within the tolerance of the shortest axes:

    A descent ends where no change of `allowed_changes` shortens the axes. There every vector that
    could be a short axis is a sum of the axes with coefficients -1, 0 and 1, since the axes are reduced
    in Minkowski's sense. That is all in triclinic groups. In a monoclinic group, what an axis is modulo 2 is
    given by the centring and the glide: the shortest vectors u and v of the plane, u + v and u - v are
    the shortest of their classes, each beyond doubt but the last two, which are of one class. Of these four
    axes are made, and the changes between two cells that have some of them have coefficients up to 2.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.normalizer import (
    allowed_changes,
    equivalent_origins,
    free_directions,
    map_to_change,
    maps_to_itself,
)
from jaxcrystal.symmetry.orbits import centring_translations
from jaxcrystal.symmetry.wyckoff import group_operations, wyckoff_positions

#: Of squared lengths: what differs by less is equal, so that rounding chooses no cell.
_EQUAL = 1e-5
#: Coordinates are compared in these parts of an axis first, so that rounding chooses no description, then in
#: finer ones. Halves, thirds, quarters, ... are in the middle of a part.
_COARSE, _FINE = 96, 9600


def canonical_cell(
    lattice: Float[np.ndarray, "3 3"], frac_coords: Float[np.ndarray, "atoms 3"], space_group: int
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "atoms 3"]]:
    """Returns the canonical conventional cell of a crystal and its atoms in it.

    Args:
      lattice: [3, 3] conventional cell in the setting of `symmetry.groups`, rows are vectors, Å.
      frac_coords: [atoms, 3] in it, the operations as in the tables.
      space_group: 1-230.
    Returns:
      The same for the canonical cell, of the same handedness; unchanged from group 16 on.
    """
    family = FAMILIES[group_tables().family[space_group]]
    if family not in ("triclinic", "monoclinic"):
        return lattice, frac_coords
    axes, origins = allowed_changes(space_group)
    metric = lattice @ lattice.T
    reached, origin = np.eye(3), np.zeros(3)
    while True:
        cells = axes @ reached
        sizes = np.einsum("nij,nij->n", cells @ metric, cells)
        shortest = int(np.argmin(sizes))
        if not sizes[shortest] < sizes[0]:  # change 0 is none; whole numbers of one metric: this ends
            break
        reached, origin = cells[shortest], origin + origins[shortest] @ reached
    kept = _best(cells @ metric @ cells.transpose(0, 2, 1), family == "monoclinic")
    unchanged = kept[(cells[kept] == np.eye(3)).all((1, 2))]
    if len(unchanged):
        return lattice, frac_coords
    origin = origin + origins[kept[0]] @ reached
    return cells[kept[0]] @ lattice, (frac_coords - origin) @ np.linalg.inv(cells[kept[0]])


class Sites(NamedTuple):
    """Inequivalent sites of one crystal.

    Attributes:
      species: [sites] atomic numbers.
      letters: [sites] index into `wyckoff_positions`.
      frac_coords: [sites, 3] on the representative subspaces.
    """

    species: Int[np.ndarray, " sites"]
    letters: Int[np.ndarray, " sites"]
    frac_coords: Float[np.ndarray, "sites 3"]


def canonical_sites(
    sites: Sites,
    lattice: Float[np.ndarray, "3 3"],
    space_group: int,
    element_order: Callable[[int], float],
) -> Sites:
    """Returns the sites of a crystal as the rule of this module describes them.

    Args:
      sites: in any of the descriptions that have this cell.
      lattice: [3, 3] conventional cell that `canonical_cell` returns, rows are vectors, Å.
      space_group: 1-230.
      element_order: gives an atomic number its place in the order of elements.
    Returns:
      The same sites, sorted by atomic number, letter and coordinates.
    """
    positions = wyckoff_positions(space_group)
    free = [
        (coords - positions[letter].origin) @ np.linalg.pinv(positions[letter].basis)
        for letter, coords in zip(sites.letters.tolist(), sites.frac_coords, strict=True)
    ]
    elements = sorted(set(sites.species.tolist()), key=lambda z: (element_order(z), z))
    described = []
    for axes, origin in _descriptions(lattice, space_group):
        letters, moved = [], []
        for letter, coords in zip(sites.letters.tolist(), free, strict=True):
            change = map_to_change(space_group, letter, axes, origin)
            letters.append(change.letter)
            moved.append(coords @ change.turns[0] + change.shifts[0])
        of_elements = [sorted(np.array(letters)[sites.species == z].tolist()) for z in elements]
        described.append(((sorted(of_elements), of_elements), letters, moved))
    least = min(which for which, _, _ in described)
    ranked = [
        one
        for which, letters, moved in described
        if which == least
        for one in _from_all_origins(sites.species, letters, moved, space_group)
    ]
    _, order, letters, coords = min(ranked, key=lambda one: one[0])
    return Sites(sites.species[order], np.array(letters, np.int32)[order], coords[order])


def _descriptions(
    lattice: Float[np.ndarray, "3 3"], space_group: int
) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Yields the axes and the origins that keep the operations, and the lengths and angles of a cell."""
    metric = lattice @ lattice.T
    axes, origins = allowed_changes(space_group)
    off = np.abs(axes @ metric @ axes.transpose(0, 2, 1) - metric).max((1, 2))
    for row in np.flatnonzero(off < _EQUAL * np.trace(metric)):
        for origin in equivalent_origins(space_group):
            yield tuple(axes[row].ravel().tolist()), tuple((origins[row] + origin).tolist())


def _from_all_origins(
    species: Int[np.ndarray, " sites"],
    letters: list[int],
    free: list[np.ndarray],
    space_group: int,
) -> Iterator[tuple[tuple[int, ...], np.ndarray, list[int], np.ndarray]]:
    """Yields rank, order, letters and coordinates of a crystal with its free origin on one atom or another.

    Args:
      species: [sites] atomic numbers.
      letters: of each site.
      free: of each site its free coordinates.
      space_group: 1-230.
    """
    positions = wyckoff_positions(space_group)
    shifts = _origins_on_atoms(species, letters, free, space_group)
    ranks, coords = [], []
    for letter, values in zip(letters, free, strict=True):
        position, (_, turns, moves) = positions[letter], maps_to_itself(space_group, letter)
        moved = values - shifts @ np.linalg.pinv(position.basis)
        images = np.einsum("of,jfe->oje", moved, turns) + moves
        images -= np.floor(images + 0.5 / _COARSE)  # what rounding takes to either side of 0 stays together
        rank = _rank(images)
        first = np.argmin(rank, axis=1)[:, None]
        ranks.append(np.take_along_axis(rank, first, 1)[:, 0])
        chosen = np.take_along_axis(images, first[..., None], 1)[:, 0]
        coords.append(position.origin + chosen @ position.basis)
    for of_sites, of_coords in zip(np.stack(ranks, 1), np.stack(coords, 1), strict=True):
        order = np.lexsort((of_sites, np.array(letters), species))
        in_order = of_sites[order]
        yield (*(in_order // _FINE**3).tolist(), *in_order.tolist()), order, letters, of_coords


def _origins_on_atoms(
    species: Int[np.ndarray, " sites"], letters: list[int], free: list[np.ndarray], space_group: int
) -> Float[np.ndarray, "origins 3"]:
    """Returns the shifts along the free directions that bring an atom to their origin.

    Those of the atoms of which there are the fewest sites, of one element and letter.
    """
    directions = free_directions(space_group)
    if not directions.any():
        return np.zeros((1, 3))
    kinds = list(zip(species.tolist(), letters, strict=True))
    rarest = min(kinds, key=lambda kind: (kinds.count(kind), kind))
    _, translations, _ = group_operations(space_group)
    steps = (translations[:, None] + centring_translations(space_group)).reshape(-1, 3) @ directions
    steps = np.unique(np.round(steps % 1.0, 9) % 1.0, axis=0)
    position = wyckoff_positions(space_group)[rarest[1]]
    on_atoms = [
        (position.origin + values @ position.basis) @ directions
        for values, kind in zip(free, kinds, strict=True)
        if kind == rarest
    ]
    return (np.stack(on_atoms)[:, None] + steps).reshape(-1, 3)


def _rank(free: Float[np.ndarray, "origins images free"]) -> Int[np.ndarray, "origins images"]:
    """Returns a number for up to three coordinates by which they are compared: first coarsely."""
    rank = np.zeros(free.shape[:2], np.int64)
    for parts in (_COARSE, _FINE):
        for axis in range(3):
            value = free[..., axis] if axis < free.shape[-1] else np.zeros(free.shape[:2])
            rank = rank * parts + np.floor(value * parts + 0.5).astype(np.int64) % parts
    return rank


def _best(metrics: Float[np.ndarray, "n 3 3"], monoclinic: bool) -> Int[np.ndarray, " kept"]:
    """Returns which of the cells the rule chooses: one, or several of equal lengths and angles."""
    aa, bb, size = metrics[:, 0, 0], metrics[:, 1, 1], np.trace(metrics, axis1=1, axis2=2)
    bc, ca, ab = metrics[:, 1, 2], metrics[:, 0, 2], metrics[:, 0, 1]
    clauses: tuple[np.ndarray, ...] = (size, aa, ca)
    if not monoclinic:
        # Angles all acute or none have the largest sum; of two such cells, the one with none. The last two
        # settle which angle is which where lengths are equal.
        clauses = (size, aa, bb, -np.abs(bc + ca + ab), bc + ca + ab, np.abs(bc), np.abs(ca))
    kept = np.arange(len(metrics))
    for value in clauses:
        kept = kept[value[kept] <= value[kept].min() + _EQUAL * size.min()]
    return kept
