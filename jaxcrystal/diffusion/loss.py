"""Denoising losses of coordinates and lattice."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.noise import collapsed, coord_noise, lattice_noise, move_sites
from jaxcrystal.models.scores import EstimateFn, num_free_coords
from jaxcrystal.symmetry.lattice import free_params

#: Groups below have free angles: they train the coordinates only.
FIRST_LATTICE_GROUP = 16


class DenoisingLoss(NamedTuple):
    """Losses of one structure and whether they count.

    Attributes:
      coords: [] mean squared error of the coordinate noise, a free coordinate.
      coords_weight: [] 1, or 0 for a structure without free coordinates.
      lattice: [] mean squared error of the lattice noise, a free parameter.
      lattice_weight: [] 1, or 0 for free angles and collapsed cells.
    """

    coords: Float[Array, "*batch"]
    coords_weight: Float[Array, "*batch"]
    lattice: Float[Array, "*batch"]
    lattice_weight: Float[Array, "*batch"]


def denoising_loss(
    estimate: EstimateFn, params: Any, key: Array, crystal: Crystal, sigma: Float[Array, "2"]
) -> DenoisingLoss:
    """Returns the two losses of one clean crystal at one noise level.

    The coordinate term has noise on the coordinates and a clean lattice; the lattice
    term has noise on both. The network is told both σ either way, as it is in sampling.

    Args:
      estimate: of `models.scores.make_estimate_fn`.
      params: network parameters.
      key: for this structure and step.
      crystal: clean.
      sigma: [2] σ_X (Å) and σ_L.
    """
    key_first, key_second, key_lattice = jax.random.split(key, 3)
    real = crystal.node_mask.any()

    coords_noise = coord_noise(key_first, crystal)
    moved = move_sites(crystal, sigma[0] * coord_noise(key_second, crystal))
    params_noise = lattice_noise(key_lattice, crystal)
    noised = moved._replace(lattice_params=moved.lattice_params + sigma[1] * params_noise)
    usable = real & ~collapsed(noised) & (crystal.space_group >= FIRST_LATTICE_GROUP)
    # A collapsed cell is replaced, not only masked: its neighbour search would overflow.
    noised = jax.tree.map(lambda a, b: jnp.where(usable, a, b), noised, crystal)

    # Both terms in one evaluation: half the program, and larger products.
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), move_sites(crystal, sigma[0] * coords_noise), noised)
    guess = jax.vmap(lambda c: estimate(params, c, sigma))(both)
    free = num_free_coords(crystal)
    coords_loss = ((guess.coords[0] - coords_noise) ** 2).sum() / jnp.maximum(free, 1.0)
    num_free = free_params(crystal.space_group).sum()
    lattice_loss = ((guess.lattice[1] - params_noise) ** 2).sum() / jnp.maximum(num_free, 1)

    coords_weight = (real & (free > 0.5)).astype(coords_loss.dtype)
    lattice_weight = usable.astype(lattice_loss.dtype)
    return DenoisingLoss(
        coords_loss * coords_weight, coords_weight, lattice_loss * lattice_weight, lattice_weight
    )


def total_loss(losses: DenoisingLoss) -> Float[Array, ""]:
    """Returns ½ (L_X + L_L), each the mean over the structures that count."""
    coords = losses.coords.sum() / jnp.maximum(losses.coords_weight.sum(), 1.0)
    lattice = losses.lattice.sum() / jnp.maximum(losses.lattice_weight.sum(), 1.0)
    return 0.5 * (coords + lattice)
