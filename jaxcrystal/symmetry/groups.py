"""Space-group tables: operations, centring and primitive lattice of all 230 groups.

The setting of a group is spglib's first Hall number for it, the one spglib
standardises a structure into: unique axis b for monoclinic groups, hexagonal axes
for rhombohedral ones, origin choice 1 where there are two. One operation is kept for
each coset of the centring translations and periodicity is that of the primitive
lattice, so that at most 48 operations give every atom once.

An operation acts on a column of fractional coordinates of the conventional cell,
`x -> rotation @ x + translation`; on rows, `frac @ rotation.T + translation`.
"""

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import spglib

from jaxcrystal.crystal import MAX_OPS

#: Crystal families in the order of their index in `GroupTables.family`.
FAMILIES = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic")
_LAST_OF_FAMILY = (2, 15, 74, 142, 194, 230)


class GroupTables(NamedTuple):
    """Tables with one row for each space-group number; row 0 is padding.

    Attributes:
      hall_number: [231] spglib's Hall number of the setting.
      family: [231] index into `FAMILIES`.
      num_ops: [231] operations kept (the order of the point group).
      rotations: [231, 48, 3, 3] float, fractional; identity first, 0 on padding.
      translations: [231, 48, 3] fractional, in [0, 1).
      cart_rotations: [231, 48, 3, 3] the same rotations on Cartesian columns, for a
        lattice with a along x and b in the xy plane; constants of the group.
      product: [231, 48, 48] `product[n, g, h]` is the operation g∘h up to a lattice
        translation; 0 on padding.
      inverse: [231, 48] the operation inverse to g up to a lattice translation.
      primitive: [231, 3, 3] rows are primitive lattice vectors in fractional
        coordinates: `primitive @ lattice` is the primitive cell.
      num_centring: [231] lattice points of the conventional cell (1, 2, 3 or 4).
    """

    hall_number: np.ndarray
    family: np.ndarray
    num_ops: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    cart_rotations: np.ndarray
    product: np.ndarray
    inverse: np.ndarray
    primitive: np.ndarray
    num_centring: np.ndarray


#: Primitive vectors (rows, fractional) for each set of centring translations.
_PRIMITIVE = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]],
    "B": [[0.5, 0, 0.5], [0, 1, 0], [-0.5, 0, 0.5]],
    "C": [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
    "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "R": [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
}


@lru_cache(maxsize=1)
def group_tables() -> GroupTables:
    """Builds the tables from spglib's database; cached for the process."""
    tables = GroupTables(
        hall_number=np.zeros(231, np.int32),
        family=np.zeros(231, np.int32),
        num_ops=np.zeros(231, np.int32),
        rotations=np.zeros((231, MAX_OPS, 3, 3)),
        translations=np.zeros((231, MAX_OPS, 3)),
        cart_rotations=np.zeros((231, MAX_OPS, 3, 3)),
        product=np.zeros((231, MAX_OPS, MAX_OPS), np.int32),
        inverse=np.zeros((231, MAX_OPS), np.int32),
        primitive=np.broadcast_to(np.eye(3), (231, 3, 3)).copy(),
        num_centring=np.ones(231, np.int32),
    )
    for hall_number in range(530, 0, -1):  # the first Hall number of a group is written last
        tables.hall_number[spglib.get_spacegroup_type(hall_number).number] = hall_number
    for number in range(1, 231):
        _fill_row(tables, number)
    return tables


def _fill_row(tables: GroupTables, number: int) -> None:
    hall_number = int(tables.hall_number[number])
    database = spglib.get_symmetry_from_database(hall_number)
    rotations, translations = database["rotations"], database["translations"] % 1.0
    is_identity = (rotations == np.eye(3, dtype=int)).all((1, 2))
    primitive, num_centring = _primitive_vectors(translations[is_identity])

    order = rotations.shape[0] // num_centring
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    kept = np.sort(first)  # one operation a rotation; spglib lists the identity first
    if kept.size != order or kept[0] != 0:
        raise AssertionError(f"spglib's operations of group {number} are not as expected")
    rotations, translations = rotations[kept].astype(float), translations[kept]

    family = int(np.searchsorted(_LAST_OF_FAMILY, number))
    # Any lattice of the family gives the same Cartesian rotations; lengths are arbitrary.
    axes = np.array([[1.0, 0, 0], [0, 1.3, 0], [0, 0, 1.7]])
    if FAMILIES[family] in ("tetragonal", "cubic"):
        axes = np.diag([1.0, 1.0, 1.0 if FAMILIES[family] == "cubic" else 1.7])
    elif FAMILIES[family] == "hexagonal":
        axes = np.array([[1.0, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.7]])
    cart_rotations = axes.T @ rotations @ np.linalg.inv(axes.T)

    row_of = {tuple(r.astype(int).ravel()): g for g, r in enumerate(rotations)}
    products = np.einsum("gij,hjk->ghik", rotations, rotations).reshape(order, order, 9)
    product = np.array([[row_of[tuple(r.astype(int))] for r in row] for row in products])

    tables.family[number] = family
    tables.num_ops[number] = order
    tables.rotations[number, :order] = rotations
    tables.translations[number, :order] = translations
    tables.cart_rotations[number, :order] = np.where(np.abs(cart_rotations) < 1e-12, 0, cart_rotations)
    tables.product[number, :order, :order] = product
    tables.inverse[number, :order] = np.argmin(product, axis=1)  # the identity is row 0
    tables.primitive[number] = primitive
    tables.num_centring[number] = num_centring


def _primitive_vectors(centring: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the primitive vectors [3, 3] whose lattice is spanned by `centring` and Z³."""
    for vectors in _PRIMITIVE.values():
        rows = np.array(vectors)
        coefficients = centring @ np.linalg.inv(rows)
        if round(1 / np.linalg.det(rows)) == len(centring) and np.allclose(
            coefficients, np.round(coefficients), atol=1e-6
        ):
            return rows, len(centring)
    raise AssertionError(f"unknown centring {centring}")


@cache
def hall_symbol(number: int) -> str:
    """Returns the Hall symbol of the setting of a group, such as `-P 4 2 3`."""
    return str(spglib.get_spacegroup_type(int(group_tables().hall_number[number])).hall_symbol)


@cache
def hermann_mauguin(number: int) -> str:
    """Returns the short Hermann-Mauguin symbol of a group, such as `Pm-3m`."""
    return str(spglib.get_spacegroup_type(int(group_tables().hall_number[number])).international_short)
