"""Projects displacements on the subspaces in which sites may move, and moves sites in them."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.symmetry.lattice import lattice_matrix


def project_displacement(displacement: Float[Array, "nodes 3"], crystal: Crystal) -> Float[Array, "nodes 3"]:
    """Projects Cartesian displacements (rows, Å) on the subspaces of the sites; 0 on padding."""
    lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
    frac = displacement @ jnp.linalg.inv(lattice)
    projected = jnp.einsum("nab,nb->na", crystal.site_projection, frac) @ lattice
    return jnp.where(crystal.node_mask[:, None], projected, 0.0)


def num_free_coords(crystal: Crystal) -> Float[Array, ""]:
    """Returns the number of free coordinates of the structure."""
    return jnp.trace(crystal.site_projection, axis1=-2, axis2=-1).sum(-1)


def move_sites(crystal: Crystal, displacement: Float[Array, "max_nodes 3"]) -> Crystal:
    """Returns the crystal with its sites moved by Cartesian displacements, Å."""
    lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
    return crystal._replace(frac_coords=crystal.frac_coords + displacement @ jnp.linalg.inv(lattice))


def wrap_free_sites(
    frac_coords: Float[Array, "max_nodes 3"], crystal: Crystal
) -> Float[Array, "max_nodes 3"]:
    """Wraps free sites into [0, 1); a constrained site would leave its subspace."""
    is_free = (crystal.site_projection == jnp.eye(3, dtype=frac_coords.dtype)).all((-2, -1))
    return jnp.where(is_free[:, None], frac_coords - jnp.floor(frac_coords), frac_coords)
