"""Chooses one conventional cell of a triclinic or monoclinic crystal among all that its setting allows.

In groups with fixed angles spglib's choice stands (its order of the axes, its origin). Of a monoclinic
group, infinitely many cells have the operations in the same form, and of a triclinic one, all that are
primitive. The rule:

    triclinic   the shortest axes, a <= b <= c, with angles all acute or none: Niggli's cell, where only
                one cell has axes so short
    monoclinic  the cell of least a² + c²; of several, that of the least a; and β is not acute

so that two descriptions of a crystal have the same lattice parameters. Coordinates agree up to what is
left open in all groups: a change of axes and origin that leaves the operations and the lengths as they
are (the Euclidean normaliser).

Each clause of the rule keeps of the cells that are left those that are equal to the best *of them all*,
so that what is chosen depends on the set of cells alone. (Compared in pairs, as a reduction does step by
step, lengths that are equal within a tolerance make circles: a = b and b = c, but a < c.) The set has all
cells within the tolerance of the shortest axes:

    A descent ends where no change of `allowed_changes` shortens the axes. There every vector that
    could be a short axis is a sum of the axes with coefficients -1, 0 and 1, since the axes are reduced
    in Minkowski's sense. That is all in triclinic groups. In a monoclinic group, what an axis is modulo 2 is
    given by the centring and the glide: the shortest vectors u and v of the plane, u + v and u - v are
    the shortest of their classes, each beyond doubt but the last two, which are of one class. Of these four
    axes are made, and the changes between two cells that have some of them have coefficients up to 2.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.wyckoff import group_operations

#: Of squared lengths: what differs by less is equal, so that rounding chooses no cell.
_EQUAL = 1e-5
#: Coefficients of new axes in old ones at each step, and origins in quarters of an axis.
_TRICLINIC_STEPS, _STEPS = range(-1, 2), range(-2, 3)
_ORIGINS = np.indices((4, 4, 4)).reshape(3, -1).T / 4

#: [3, 3] rows are the new axes in the old ones, and the new origin [3] in the old axes.
_Change = tuple[np.ndarray, np.ndarray]


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
    axes, origins = _stacked_changes(space_group)
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


@cache
def allowed_changes(space_group: int) -> tuple[_Change, ...]:
    """Returns changes of cell and origin of a group up to 15 after which the tables hold as before.

    Each is [3, 3], rows that are the new axes in the old ones, and the new origin [3] in the old axes;
    the first changes nothing, and all keep the handedness.
    """
    if FAMILIES[group_tables().family[space_group]] == "triclinic":
        # Any axes will do, and P-1 stays at the centre it has.
        axes = np.stack(np.meshgrid(*[_TRICLINIC_STEPS] * 9, indexing="ij"), -1).reshape(-1, 3, 3)
        axes = axes[np.round(np.linalg.det(axes)) == 1].astype(float)
        others = axes[(axes != np.eye(3)).any((1, 2))]
        return tuple((one, np.zeros(3)) for one in (np.eye(3), *others))
    rotations, translations, primitive = group_operations(space_group)
    to_primitive = np.linalg.inv(primitive)
    changes: list[_Change] = [(np.eye(3), np.zeros(3))]
    for p, q, r, s in np.stack(np.meshgrid(*[_STEPS] * 4, indexing="ij"), -1).reshape(-1, 4):
        unique = p * s - q * r  # b turns over where a and c change places: the handedness stays
        if abs(unique) != 1:
            continue
        axes = np.array([[p, 0, q], [0, unique, 0], [r, 0, s]], float)
        inverse = np.linalg.inv(axes)
        centred = primitive @ inverse @ to_primitive
        if np.abs(centred - np.round(centred)).max() > 1e-6:
            continue
        # Rotations about b and across it are the same in all cells; x' = (x - origin) @ inverse.
        moved = np.einsum("gab,sb->sga", rotations - np.eye(3), _ORIGINS)
        off = ((translations + moved) @ inverse - translations) @ to_primitive
        fits = np.abs(off - np.round(off)).max((1, 2)) < 1e-6
        if fits.any() and not (axes == np.eye(3)).all():
            changes.append((axes, _ORIGINS[np.argmax(fits)]))
    return tuple(changes)


@cache
def _stacked_changes(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the axes [n, 3, 3] and the origins [n, 3] of `allowed_changes`."""
    axes, origins = zip(*allowed_changes(space_group), strict=True)
    return np.stack(axes), np.stack(origins)


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
