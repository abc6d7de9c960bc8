"""Draws noise on coordinates and lattice, and the random start of sampling."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.symmetry.lattice import (
    MIN_UNIT_VOLUME_SQUARED,
    free_params,
    lattice_matrix,
    lengths_and_cotangents,
    opened,
    unit_volume_squared,
)
from jaxcrystal.symmetry.subspaces import project_displacement, wrap_free_sites
from jaxcrystal.vectors import determinant, turn

#: Å and Å³ an atom; a noised cell below either is left out of the lattice loss.
MIN_TRAINING_LENGTH = 1.5
MIN_TRAINING_VOLUME = 1.0
#: Standard deviation of the lattice parameters that sampling starts from.
START_LATTICE_SIGMA = 2.0
# A site starts uniform in its subspace: entries of a projection are sixths, so that it maps
# this many cells a side onto whole periods. No more of them: float32 counts from 0.
_START_CELLS = 6.0


def coord_noise(key: Array, crystal: Crystal) -> Float[Array, "max_nodes 3"]:
    """Returns unit Cartesian noise in the subspace of each site, 0 on padding."""
    return project_displacement(
        jax.random.normal(key, crystal.frac_coords.shape, crystal.frac_coords.dtype), crystal
    )


def lattice_noise(key: Array, crystal: Crystal) -> Float[Array, "6"]:
    """Returns unit noise of the free lattice parameters, 0 elsewhere."""
    noise = jax.random.normal(key, crystal.lattice_params.shape, crystal.lattice_params.dtype)
    return jnp.where(free_params(crystal.space_group), noise, 0.0)


def collapsed(crystal: Crystal) -> Bool[Array, ""]:
    """Returns whether a length is under 1.5 Å, the volume under 1 Å³ a site, or the angles close no cell.

    The volume is that of the conventional cell, and the sites are the inequivalent ones. For the angles, see
    `symmetry.lattice.MIN_UNIT_VOLUME_SQUARED`. With σ_L of 6, 4 and 2, 20, 8 and 0.5 % of the training
    data's triclinic cells collapse, and 2, 0.3 and 0 % of the monoclinic ones
    (`python -m benchmarks.lattices`).
    """
    lengths, _ = lengths_and_cotangents(crystal.lattice_params, crystal.space_group)
    volume = determinant(lattice_matrix(crystal.lattice_params, crystal.space_group))
    sites = crystal.node_mask.sum()
    closed = unit_volume_squared(crystal.lattice_params) < MIN_UNIT_VOLUME_SQUARED
    return (lengths.min() < MIN_TRAINING_LENGTH) | (volume < MIN_TRAINING_VOLUME * sites) | closed


def start(key: Array, crystal: Crystal) -> Crystal:
    """Draws the start of sampling: lattice parameters N(0, 2²), sites uniform.

    That is lengths of 7 ± 1 Å and free angles of 90 ± 11°. A free site is uniform in the
    cell; a constrained one is uniform in its subspace, which passes through its present
    coordinates.
    """
    key_coords, key_lattice = jax.random.split(key)
    shape, dtype = crystal.frac_coords.shape, crystal.frac_coords.dtype
    shift = jax.random.uniform(key_coords, shape, dtype, 0.0, _START_CELLS)
    frac_coords = crystal.frac_coords + turn(crystal.site_projection, shift)
    return crystal._replace(
        frac_coords=wrap_free_sites(frac_coords, crystal),
        lattice_params=opened(START_LATTICE_SIGMA * lattice_noise(key_lattice, crystal)),
    )
