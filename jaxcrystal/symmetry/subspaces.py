"""Projects displacements on the subspaces in which sites may move, and moves sites in them."""

from collections.abc import Sequence
from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.wyckoff import wyckoff_position
from jaxcrystal.vectors import inverse, times, turn

#: [6 families, 3, 3] directions of the axes, of any lengths; rows are vectors.
_AXES = np.stack(
    [
        [[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1]] if family == "hexagonal" else np.eye(3)
        for family in FAMILIES
    ]
)
_INVERSE_AXES = np.linalg.inv(_AXES)


def project_displacement(displacement: Float[Array, "nodes 3"], crystal: Crystal) -> Float[Array, "nodes 3"]:
    """Projects Cartesian displacements (rows, Å) on the subspaces of the sites; 0 on padding.

    Like the rotations of a group, of which it is a mean, a projection is the same in Cartesian
    coordinates whatever the lengths of the cell (and, in monoclinic groups, the angle): it needs no
    lattice. It differs from that of fractional coordinates only where the axes are not at right
    angles in the plane that operations turn.
    """
    dtype = displacement.dtype
    family = jnp.asarray(group_tables().family)[crystal.space_group]
    axes, inverse_axes = jnp.asarray(_AXES, dtype)[family], jnp.asarray(_INVERSE_AXES, dtype)[family]
    frac = times(displacement, inverse_axes)
    projected = times(turn(crystal.site_projection, frac), axes)
    return jnp.where(crystal.node_mask[:, None], projected, 0.0)


def without_free_translation(
    displacement: Float[Array, "nodes 3"], crystal: Crystal
) -> Float[Array, "nodes 3"]:
    """Takes what moves all sites alike out of Cartesian displacements, if the group leaves the origin free.

    Along the axes of polar groups, in the planes of Pm and in all directions of P1, a crystal moved as a
    whole is the same crystal. Returns [nodes, 3], Å, 0 on padding if `displacement` is.
    """
    share = crystal.node_mask.astype(displacement.dtype) / jnp.maximum(crystal.node_mask.sum(), 1)
    mean = (share[:, None] * displacement).sum(0)
    free = turn(_free_translations(crystal, displacement.dtype), mean)
    return jnp.where(crystal.node_mask[:, None], displacement - free, displacement)


def num_internal_coords(crystal: Crystal) -> Float[Array, ""]:
    """Returns the number of free coordinates less the directions in which the origin is free."""
    dtype = crystal.site_projection.dtype
    return num_free_coords(crystal) - jnp.trace(_free_translations(crystal, dtype))


def internal_coords_of(space_group: int, letters: Sequence[str]) -> int:
    """Returns `num_internal_coords` of sites on given Wyckoff letters, on the host."""
    free = sum(wyckoff_position(space_group, letter).num_free for letter in letters)
    return free - round(float(np.trace(_turned_by_none()[space_group])))


def _free_translations(crystal: Crystal, dtype: DTypeLike) -> Float[Array, "3 3"]:
    """Returns the projection on the Cartesian directions in which the group leaves the origin free."""
    return jnp.asarray(_turned_by_none(), dtype)[crystal.space_group]


@cache
def _turned_by_none() -> Float[np.ndarray, "231 3 3"]:
    """Returns of each group the projection on what no operation turns: the mean of the rotations."""
    tables = group_tables()
    mean = tables.cart_rotations.sum(1) / np.maximum(tables.num_ops, 1)[:, None, None]
    return np.where(np.abs(mean) < 1e-9, 0.0, mean)  # exactly 0 where it is 0: the sums round


def num_free_coords(crystal: Crystal) -> Float[Array, ""]:
    """Returns the number of free coordinates of the structure."""
    return jnp.trace(crystal.site_projection, axis1=-2, axis2=-1).sum(-1)


def move_sites(crystal: Crystal, displacement: Float[Array, "max_nodes 3"]) -> Crystal:
    """Returns the crystal with its sites moved by Cartesian displacements, Å."""
    lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
    return crystal._replace(frac_coords=crystal.frac_coords + times(displacement, inverse(lattice)))


def wrap_free_sites(
    frac_coords: Float[Array, "max_nodes 3"], crystal: Crystal
) -> Float[Array, "max_nodes 3"]:
    """Wraps free sites into [0, 1); a constrained site would leave its subspace."""
    is_free = (crystal.site_projection == jnp.eye(3, dtype=frac_coords.dtype)).all((-2, -1))
    return jnp.where(is_free[:, None], frac_coords - jnp.floor(frac_coords), frac_coords)
