"""Projects displacements on the subspaces in which sites may move, and moves sites in them."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.symmetry.group_row import free_origins, group_row
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.wyckoff import wyckoff_position
from jaxcrystal.vectors import times, turn


def project_displacement(displacement: Float[Array, "nodes 3"], crystal: Crystal) -> Float[Array, "nodes 3"]:
    """Projects Cartesian displacements (rows, Å) on the subspaces of the sites; 0 on padding.

    Like the rotations of a group, of which it is a mean, a projection is the same in Cartesian
    coordinates whatever the lengths of the cell (and, in monoclinic groups, the angle): it needs no
    lattice. It differs from that of fractional coordinates only where the axes are not at right
    angles in the plane that operations turn.
    """
    row = group_row(crystal.space_group, displacement.dtype)
    frac = times(displacement, row.inverse_axes)
    projected = times(turn(crystal.site_projection, frac), row.axes)
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
    free = turn(group_row(crystal.space_group, displacement.dtype).free_origin, mean)
    return jnp.where(crystal.node_mask[:, None], displacement - free, displacement)


def num_internal_coords(crystal: Crystal) -> Float[Array, ""]:
    """Returns the number of free coordinates less the directions in which the origin is free."""
    row = group_row(crystal.space_group, crystal.site_projection.dtype)
    return num_free_coords(crystal) - jnp.trace(row.free_origin)


def internal_coords_of(space_group: int, letters: Sequence[str]) -> int:
    """Returns `num_internal_coords` of sites on given Wyckoff letters, on the host."""
    free = sum(wyckoff_position(space_group, letter).num_free for letter in letters)
    return free - round(float(np.trace(free_origins()[space_group])))


def num_free_coords(crystal: Crystal) -> Float[Array, ""]:
    """Returns the number of free coordinates of the structure."""
    return _num_free_of_sites(crystal).sum(-1)


def _num_free_of_sites(crystal: Crystal) -> Float[Array, " max_nodes"]:
    """Returns the dimensions of the sites' subspaces: a projection's trace."""
    projection = jnp.asarray(crystal.site_projection)
    return projection[..., 0, 0] + projection[..., 1, 1] + projection[..., 2, 2]


def move_sites(crystal: Crystal, displacement: Float[Array, "max_nodes 3"]) -> Crystal:
    """Returns the crystal with its sites moved by Cartesian displacements, Å."""
    lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
    _, b, c = lattice
    # displacement = x a + y b + z c, of which c alone has a z coordinate, and a no y coordinate.
    inverse = 1.0 / jnp.diagonal(lattice)
    z = displacement[:, 2] * inverse[2]
    y = (displacement[:, 1] - z * c[1]) * inverse[1]
    x = (displacement[:, 0] - y * b[0] - z * c[0]) * inverse[0]
    return crystal._replace(frac_coords=crystal.frac_coords + jnp.stack([x, y, z], axis=1))


def wrap_free_sites(
    frac_coords: Float[Array, "max_nodes 3"], crystal: Crystal
) -> Float[Array, "max_nodes 3"]:
    """Wraps free sites into [0, 1); a constrained site would leave its subspace."""
    is_free = _num_free_of_sites(crystal) > 2.5
    return jnp.where(is_free[:, None], frac_coords - jnp.floor(frac_coords), frac_coords)
