"""Looks up what a structure needs of its space group on the device, in one operation.

The tables of all groups lie side by side in one array: each table apart would be one more small
operation of every step, whatever its size.
"""

from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from jaxcrystal.symmetry.families import AXES, FIXED, FREE
from jaxcrystal.symmetry.groups import group_tables


class GroupRow(NamedTuple):
    """One space group.

    Attributes:
      free_params: [6] the lattice parameters that the group leaves free.
      fixed_params: [6] the value of those that it fixes, 0 elsewhere.
      axes: [3, 3] directions of the axes, of any lengths; rows are vectors.
      inverse_axes: [3, 3] inverse of `axes`.
      free_origin: [3, 3] projection on the Cartesian directions in which the group leaves the origin free.
      primitive: [3, 3] of `groups.GroupTables`, as the next ones.
      rotations: [48, 3, 3]
      translations: [48, 3]
      cart_rotations: [48, 3, 3]
    """

    free_params: Bool[Array, "6"]
    fixed_params: Float[Array, "6"]
    axes: Float[Array, "3 3"]
    inverse_axes: Float[Array, "3 3"]
    free_origin: Float[Array, "3 3"]
    primitive: Float[Array, "3 3"]
    rotations: Float[Array, "ops 3 3"]
    translations: Float[Array, "ops 3"]
    cart_rotations: Float[Array, "ops 3 3"]


def group_row(space_group: Int[Array, ""] | int, dtype: DTypeLike) -> GroupRow:
    """Returns the tables of one group; XLA makes one look-up of all that ask for the same group."""
    row = jnp.asarray(_packed(), dtype)[space_group]
    fields, start = [], 0
    for table in _tables():
        shape = table.shape[1:]
        size = int(np.prod(shape))
        fields.append(row[start : start + size].reshape(shape))
        start += size
    return GroupRow(fields[0] > 0.5, *fields[1:])


@lru_cache(maxsize=1)
def free_origins() -> Float[np.ndarray, "231 3 3"]:
    """Returns of each group the projection on what no operation turns: the mean of the rotations."""
    groups = group_tables()
    mean = groups.cart_rotations.sum(1) / np.maximum(groups.num_ops, 1)[:, None, None]
    return np.where(np.abs(mean) < 1e-9, 0.0, mean)  # exactly 0 where it is 0: the sums round


@lru_cache(maxsize=1)
def _packed() -> np.ndarray:
    """[231, numbers] all tables of each group, one after the other."""
    return np.concatenate([table.reshape(231, -1) for table in _tables()], axis=1)


def _tables() -> list[np.ndarray]:
    """Returns the fields of `GroupRow` of all groups."""
    groups = group_tables()
    of_family = (FREE.astype(float), FIXED, AXES, np.linalg.inv(AXES))
    of_group = (groups.primitive, groups.rotations, groups.translations, groups.cart_rotations)
    return [*(table[groups.family] for table in of_family), free_origins(), *of_group]
