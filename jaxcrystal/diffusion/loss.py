"""Computes the denoising losses of coordinates and lattice."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.noise import collapsed, coord_noise, lattice_noise
from jaxcrystal.score import ScoreFn
from jaxcrystal.symmetry.lattice import free_params
from jaxcrystal.symmetry.subspaces import move_sites, num_internal_coords, without_free_translation


class DenoisingLoss(NamedTuple):
    """Losses of one structure and whether they count.

    Attributes:
      coords: [] mean squared error of the coordinate noise, per free coordinate; where the group leaves
        the origin free, what moves all sites alike is no error.
      coords_weight: [] 1, or 0 for a structure without free coordinates.
      lattice: [] mean squared error of the lattice noise, per free parameter.
      lattice_weight: [] 1, or 0 for collapsed cells.
      num_cut: [] sites at which the cut at K neighbours acted.
    """

    coords: Float[Array, "*batch"]
    coords_weight: Float[Array, "*batch"]
    lattice: Float[Array, "*batch"]
    lattice_weight: Float[Array, "*batch"]
    num_cut: Int[Array, "*batch"]


def denoising_loss(
    key: Array, score: ScoreFn, crystal: Crystal, sigma: Float[Array, "2"], cond: Any = None
) -> DenoisingLoss:
    """Returns the paper's two losses of one clean crystal at one noise level.

    The coordinate term has noise on the coordinates and a clean lattice; the lattice
    term has noise on both. The network gets both σ either way, as in sampling.
    Levels are compared by this loss; training can use `joint_loss`.

    Args:
      key: for this structure and step.
      score: of `score.make_score`, with the parameters bound: `score(crystal, sigma, cond)`.
      crystal: clean.
      sigma: [2] σ_X (Å) and σ_L.
      cond: conditions of this structure, a pytree of arrays that the network gets.
    """
    key_first, key_second, key_lattice = jax.random.split(key, 3)
    coords_noise = coord_noise(key_first, crystal)
    moved = move_sites(crystal, sigma[0] * coord_noise(key_second, crystal))
    noised, params_noise, usable = _noise_lattice(key_lattice, moved, sigma[1])
    # A collapsed cell is replaced, not only masked: its neighbour search would overflow.
    noised = jax.tree.map(lambda a, b: jnp.where(usable, a, b), noised, crystal)

    # Both terms in one evaluation: half the program, and larger products.
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), move_sites(crystal, sigma[0] * coords_noise), noised)
    noise = jax.vmap(lambda c: score(c, sigma, cond))(both)
    whole = noise.status == 0
    errors = noise.coords[0] - coords_noise, noise.lattice[1] - params_noise
    return _losses(crystal, *errors, whole[0], usable & whole[1], noise.num_cut[1])


def joint_loss(
    key: Array, score: ScoreFn, crystal: Crystal, sigma: Float[Array, "2"], cond: Any = None
) -> DenoisingLoss:
    """Returns both losses from one evaluation, at noise on the lattice and the coordinates.

    The sampler asks for the coordinate score in noisy cells; the paper's coordinate term
    never shows any to the network. The lattice is noised first and the coordinates in the
    noisy cell, so that -ε/σ_X is the exact score of the coordinates in that cell. A cell
    that collapses keeps its clean lattice and the coordinate term.

    Args and weights: as `denoising_loss`.
    """
    key_coords, key_lattice = jax.random.split(key)
    noised, params_noise, usable = _noise_lattice(key_lattice, crystal, sigma[1])
    noised = jax.tree.map(lambda a, b: jnp.where(usable, a, b), noised, crystal)
    coords_noise = coord_noise(key_coords, noised)
    noise = score(move_sites(noised, sigma[0] * coords_noise), sigma, cond)
    whole = noise.status == 0
    errors = noise.coords - coords_noise, noise.lattice - params_noise
    return _losses(crystal, *errors, whole, usable & whole, noise.num_cut)


def _noise_lattice(key: Array, crystal: Crystal, sigma: Array) -> tuple[Crystal, Array, Array]:
    """Returns the crystal in a noisy cell, the unit noise, and whether it can be used."""
    noise = lattice_noise(key, crystal)
    noised = crystal._replace(lattice_params=crystal.lattice_params + sigma * noise)
    real = crystal.node_mask.any()
    return noised, noise, real & ~collapsed(noised)


def _losses(
    crystal: Crystal,
    coords_error: Array,
    lattice_error: Array,
    coords_usable: Array,
    lattice_usable: Array,
    num_cut: Array,
) -> DenoisingLoss:
    """Returns the losses; what is not usable, such as noise in a cell whose graph lacks edges, weighs 0."""
    free = num_internal_coords(crystal)
    coords = (without_free_translation(coords_error, crystal) ** 2).sum() / jnp.maximum(free, 1.0)
    lattice = (lattice_error**2).sum() / jnp.maximum(free_params(crystal.space_group).sum(), 1)
    coords_weight = (coords_usable & crystal.node_mask.any() & (free > 0.5)).astype(coords.dtype)
    lattice_weight = lattice_usable.astype(lattice.dtype)
    return DenoisingLoss(
        coords * coords_weight, coords_weight, lattice * lattice_weight, lattice_weight, num_cut
    )
