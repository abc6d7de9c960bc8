"""Bounds the likelihood of a structure by the network's own denoising losses.

A diffusion model bounds the likelihood of what it was trained on by the losses it was trained
with (Song et al., *Maximum Likelihood Training of Score-Based Diffusion Models*, 2021): with
noise of scale σ added to the data,

    -log p <= constant + ∫ E ‖ε̂ - ε‖² d ln σ

where the constant depends on nothing but what is free. So of several structures on the same
sites, the one whose noise the network predicts best is the likeliest.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.loss import joint_loss
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.score import ScoreFn
from jaxcrystal.symmetry.lattice import free_params
from jaxcrystal.symmetry.subspaces import num_internal_coords


def likelihood_bound(
    key: Array, score: ScoreFn, crystal: Crystal, schedule: NoiseSchedule, cond: Any = None, draws: int = 2
) -> Float[Array, ""]:
    """Returns the bound on -log p of one structure in nats, without its constant.

    The same key gives structures on the same sites the same noise, so that their bounds
    differ by what they are and not by what was drawn.

    Args:
      key: of the noise.
      score: of `score.make_score`, with the parameters bound.
      crystal: finished.
      schedule: levels that the integral is taken over.
      cond: conditions of this structure.
      draws: of the noise at each level.
    """
    levels = schedule.sigmas(crystal.frac_coords.dtype)
    sigmas = jnp.tile(levels, (draws, 1))
    keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(len(sigmas)))
    losses = jax.lax.map(lambda at: joint_loss(at[0], score, crystal, at[1], cond), (keys, sigmas))

    def integral(loss: Array, weight: Array) -> Array:
        loss, weight = loss.reshape(draws, len(levels)), weight.reshape(draws, len(levels))
        # Each level is an equal part of the integral, however many of its draws can be used. Cells collapse
        # under much noise, where the loss is near 1, that of a network that predicts no noise at all: so
        # it counts 1 where nothing was measured. A mean over all draws would give the part of such a
        # level to the others, whose losses are low: cells that collapse easily would seem likelier.
        mean = (loss * weight).sum(0) / jnp.maximum(weight.sum(0), 1.0)
        return jnp.where(weight.sum(0) > 0, mean, 1.0).mean()

    coords = integral(losses.coords, losses.coords_weight)
    lattice = integral(losses.lattice, losses.lattice_weight)
    span_coords = math.log(schedule.coords_max / schedule.coords_min)
    span_lattice = math.log(schedule.lattice_max / schedule.lattice_min)
    free = free_params(crystal.space_group).sum()
    return span_coords * num_internal_coords(crystal) * coords + span_lattice * free * lattice
