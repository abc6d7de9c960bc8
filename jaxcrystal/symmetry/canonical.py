"""Chooses one conventional cell of a triclinic or monoclinic crystal among all that its setting allows.

In groups with fixed angles spglib's choice stands (its order of the axes, its origin). Of a monoclinic
group, infinitely many cells have the operations in the same form, and of a triclinic one, all that are
primitive. The rule:

    triclinic   the Niggli cell
    monoclinic  the cell of least a² + c²; of several, that of the least a; and β is not acute

so that two descriptions of a crystal have the same lattice parameters. Coordinates agree up to what is
left open in all groups: a change of axes and origin that leaves the operations and the lengths as they
are (the Euclidean normaliser).
"""

from functools import cache

import numpy as np
from jaxtyping import Float

from jaxcrystal.symmetry.detect import niggli_axes
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.wyckoff import group_operations

#: Of squared lengths: what differs by less is equal, so that rounding chooses no cell.
_EQUAL = 1e-5
#: Each change shortens the axes, but among equal ones nothing proves that they end.
_MOST_CHANGES = 100
#: Coefficients of new axes in old ones at each step, and origins in quarters of an axis.
_STEPS = range(-2, 3)
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
    if family == "triclinic":
        axes = niggli_axes(lattice)
        return axes @ lattice, frac_coords @ np.linalg.inv(axes)
    for _ in range(_MOST_CHANGES if family == "monoclinic" else 0):
        changes = allowed_changes(space_group)
        axes, origin = changes[_best([change[0] @ lattice for change in changes])]
        if (axes == np.eye(3)).all():
            break
        lattice, frac_coords = axes @ lattice, (frac_coords - origin) @ np.linalg.inv(axes)
    return lattice, frac_coords


@cache
def allowed_changes(space_group: int) -> tuple[_Change, ...]:
    """Returns changes of cell and origin of a monoclinic group after which the tables hold as before.

    Each is [3, 3], rows that are the new axes in the old ones, and the new origin [3] in the old axes;
    the first changes nothing.
    """
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


def _best(lattices: list[np.ndarray]) -> int:
    """Returns which monoclinic cell the rule chooses; of equal ones, the first."""
    metrics = np.stack([lattice @ lattice.T for lattice in lattices])
    kept = np.arange(len(lattices))
    for value in (metrics[:, 0, 0] + metrics[:, 2, 2], metrics[:, 0, 0], metrics[:, 0, 2]):
        kept = kept[value[kept] <= value[kept].min() + _EQUAL * metrics[0].trace()]
    return int(kept[0])
