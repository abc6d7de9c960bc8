"""Describes all Wyckoff positions by arrays, so that a device can find the letter of a site.

A site x lies on a position, up to the primitive lattice, where w·(x - origin) is an integer for each w
of a basis of the vectors of the reciprocal lattice that are normal to the position.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from jaxcrystal.crystal import MAX_OPS
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import WyckoffPosition, wyckoff_positions

#: Letters of group 47, which has the most.
MAX_LETTERS = 27


class LetterTables(NamedTuple):
    """Wyckoff positions of all groups, one row a letter; fractional coordinates.

    Attributes:
      origin: [231, 27, 3] a point of the position.
      normal: [231, 27, 3, 3] rows w; 0 where a position has fewer than three.
      step: [231, 27, 3, 3] rows: the lattice vectors that change one of the w·x by 1 and no other.
      basis: [231, 27, 3, 3] rows span the position; 0 where it has fewer than three.
      coordinate: [231, 27, 3, 3] columns: (x - origin) @ coordinate are the coefficients of `basis`.
      site_ops: [231, 27, 48] of `WyckoffPosition`.
    """

    origin: np.ndarray
    normal: np.ndarray
    step: np.ndarray
    basis: np.ndarray
    coordinate: np.ndarray
    site_ops: np.ndarray


@lru_cache(maxsize=1)
def letter_tables() -> LetterTables:
    """Builds the tables in float64; cached for the process."""
    shape = (231, MAX_LETTERS)
    tables = LetterTables(
        origin=np.zeros((*shape, 3)),
        normal=np.zeros((*shape, 3, 3)),
        step=np.zeros((*shape, 3, 3)),
        basis=np.zeros((*shape, 3, 3)),
        coordinate=np.zeros((*shape, 3, 3)),
        site_ops=np.zeros((*shape, MAX_OPS), bool),
    )
    for number in range(1, 231):
        for letter, position in enumerate(wyckoff_positions(number)):
            tables.origin[number, letter] = position.origin
            tables.site_ops[number, letter] = position.site_ops
            free = position.num_free
            tables.basis[number, letter, :free] = position.basis
            tables.coordinate[number, letter, :, :free] = np.linalg.pinv(position.basis).reshape(3, free)
            normal, step = _normal_lattice(position, group_tables().primitive[number])
            tables.normal[number, letter, : 3 - free] = normal
            tables.step[number, letter, : 3 - free] = step
    return tables


def _normal_lattice(position: WyckoffPosition, primitive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows [3 - num_free, 3] of `normal` and of `step` of one position."""
    inverse = np.linalg.inv(primitive)
    # In primitive coordinates, times what makes them integers.
    spanned = np.rint(6 * position.basis @ inverse).astype(int)
    change = _unimodular(spanned)
    free = len(spanned)
    normal = (inverse @ change[:, free:]).T
    step = np.rint(np.linalg.inv(change))[free:] @ primitive
    return normal, step


def _unimodular(rows: np.ndarray) -> np.ndarray:
    """Returns an integer matrix U of determinant ±1 such that `rows @ U` is lower triangular (k, then 0)."""
    change = np.eye(3, dtype=int)
    for number in range(len(rows)):
        while True:
            values = (rows @ change)[number, number:]
            others = np.flatnonzero(values)
            if len(others) == 0:
                raise AssertionError("the rows depend on one another")
            least = number + others[np.argmin(np.abs(values[others]))]
            change[:, [number, least]] = change[:, [least, number]]
            values = (rows @ change)[number]
            factors = values[number + 1 :] // values[number]
            if not factors.any() and not values[number + 1 :].any():
                break
            change[:, number + 1 :] -= change[:, [number]] * factors
    return change
