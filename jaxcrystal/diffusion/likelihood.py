"""Chooses the likeliest of several chains, by the network's own denoising losses.

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
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.langevin import Annealed, LangevinConfig, anneal
from jaxcrystal.diffusion.loss import joint_loss
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.score import ScoreFn
from jaxcrystal.symmetry.lattice import free_params
from jaxcrystal.symmetry.subspaces import num_internal_coords

#: Draws of the noise at each level.
_DRAWS = 2
# Keys of steps count from 0, those of chains and of the bound from the other end.
_LAST = np.uint32(2**32 - 1)


def likelihood_bound(
    key: Array, score: ScoreFn, crystal: Crystal, schedule: NoiseSchedule, cond: Any = None
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
    """
    levels = schedule.sigmas(crystal.frac_coords.dtype)
    sigmas = jnp.tile(levels, (_DRAWS, 1))
    keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(len(sigmas)))
    losses = jax.lax.map(lambda at: joint_loss(at[0], score, crystal, at[1], cond), (keys, sigmas))

    def integral(loss: Array, weight: Array) -> Array:
        loss, weight = loss.reshape(_DRAWS, len(levels)), weight.reshape(_DRAWS, len(levels))
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


def anneal_best(
    keys: Array,
    templates: Crystal,
    score: ScoreFn,
    config: LangevinConfig,
    cond: Any = None,
    at_once: int = 1,
) -> Annealed:
    """Runs `config.best_of` chains of every structure and keeps the likeliest; to be compiled.

    The first is that of `anneal`; a chain that was stopped early loses to any that was not, and of
    equals the first is kept.

    Args and returns: see `langevin.anneal`; `at_once` chains of each structure are run together, and
    take the memory of as many structures.
    """
    if config.best_of == 1:
        return anneal(keys, templates, score, config, cond)

    def run(number: Array) -> tuple[Annealed, Array]:
        others = jax.vmap(lambda key: jax.random.fold_in(key, _LAST - number))(keys)
        found = anneal(_where(number == 0, keys, others), templates, score, config, cond)

        def bound(key: Array, crystal: Crystal, cond: Any) -> Array:
            key = jax.random.fold_in(key, _LAST)
            return likelihood_bound(key, score, crystal, config.schedule, cond)

        bounds = jax.vmap(bound)(keys, found.state.crystal, cond)
        return found, jnp.where((found.state.status == 0) & jnp.isfinite(bounds), bounds, jnp.inf)

    def body(best: tuple[Annealed, Array], numbers: Array) -> tuple[tuple[Annealed, Array], None]:
        found, bounds = jax.vmap(run)(numbers)
        bounds = jnp.where((numbers < config.best_of)[:, None], bounds, jnp.inf)
        chosen = bounds.argmin(0)
        found = Annealed(_of_chains(found.state, chosen), _of_chains(found.trajectory, chosen, batch_axis=2))
        bounds = bounds.min(0)
        better = (numbers[0] == 0) | (bounds < best[1])
        state = jax.tree.map(lambda new, old: _where(better, new, old), found.state, best[0].state)
        trajectory = jax.tree.map(
            lambda new, old: jax.vmap(_where, (None, 0, 0))(better, new, old),
            found.trajectory,
            best[0].trajectory,
        )
        return (Annealed(state, trajectory), jnp.where(better, bounds, best[1])), None

    groups = -(-config.best_of // at_once)
    numbers = jnp.arange(groups * at_once, dtype=jnp.uint32).reshape(groups, at_once)
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(run, numbers[0, 0]))
    return jax.lax.scan(body, nothing, numbers)[0][0]


def _of_chains(tree: Any, chosen: Array, batch_axis: int = 1) -> Any:
    """Returns of arrays [chains, ..., batch, ...] the chain of each structure that is chosen [batch]."""

    def pick(array: Array) -> Array:
        index = chosen.reshape((1,) * batch_axis + (-1,) + (1,) * (array.ndim - batch_axis - 1))
        return jnp.take_along_axis(array, index, axis=0)[0]

    return jax.tree.map(pick, tree)


def _where(condition: Array, first: Array, second: Array) -> Array:
    """Chooses along the leading axes that the condition has."""
    return jnp.where(condition.reshape(condition.shape + (1,) * (first.ndim - condition.ndim)), first, second)
