"""Searches for the likeliest of several chains, which are chosen among on their way.

A chain of the dynamics ends in one of several modes, and which one is decided while the noise is large. So
several chains of each structure begin, and of those only the likeliest go on (successive halving). Chains
are rows of the same batch; what is computed at once are `at_once` chains of each of its structures.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.langevin import Annealed, LangevinState, advance, anneal, begin
from jaxcrystal.diffusion.likelihood import likelihood_bound
from jaxcrystal.diffusion.settings import LangevinConfig, Stage
from jaxcrystal.score import ScoreFn

# Keys of steps count from 0, those of chains and of the bound from the other end.
_LAST = np.uint32(2**32 - 1)


class _Chains(NamedTuple):
    """All chains of a batch, those that go on first.

    Attributes:
      numbers: [chains, batch] from 0; which random numbers a chain draws follows from its number.
      annealed: [chains, ...] their states and paths.
      bounds: [chains, batch] on -log p, where they were last judged; infinite for those that are out.
    """

    numbers: Int[Array, "chains batch"]
    annealed: Annealed
    bounds: Float[Array, "chains batch"]


class _Turn(NamedTuple):
    """Chains that are taken through a stage together.

    Attributes:
      slots: [at_once] where they stand among all chains.
      stage: which they are taken through.
      begins: whether this is the first turn of the stage, which a choice comes before.
    """

    slots: Any
    stage: Stage
    begins: Any


def anneal_best(
    keys: Array,
    templates: Crystal,
    score: ScoreFn,
    config: LangevinConfig,
    cond: Any = None,
    at_once: int = 1,
) -> Annealed:
    """Runs `config.best_of` chains of every structure and keeps the likeliest; to be compiled.

    The first is that of `anneal`; a chain that was stopped early loses to any that was not and still goes
    on, and of equals the first is kept. Where chains are chosen among on their way, they are judged as the
    network sees them end: with the predicted noise taken out of the coordinates.

    Args and returns: see `langevin.anneal`; `at_once` chains of each structure are run together, and
    take the memory of as many structures.
    """
    if config.best_of == 1:
        return anneal(keys, templates, score, config, cond)

    def run(chains: _Chains, turn: _Turn) -> tuple[_Chains, None]:
        stage = turn.stage
        # A choice is made when the next stage begins: all chains of the last one have come to its end.
        chains = jax.lax.cond(turn.begins, lambda c: _sorted(c, stage.chains), lambda c: c, chains)
        own = jax.tree.map(lambda leaf: leaf.at[turn.slots].get(mode="clip"), chains)
        chain_keys = jax.vmap(jax.vmap(_chain_key), (None, 0))(keys, own.numbers)

        def path(keys: Array, annealed: Annealed) -> Annealed:
            return advance(keys, annealed, score, config, cond, stage.first, stage.last)

        annealed = jax.vmap(path)(chain_keys, own.annealed)

        def bounds() -> Array:
            judge = partial(_bound, score=score, config=config, finished=stage.last > config.num_steps)
            return jax.vmap(jax.vmap(judge), (None, 0, None))(keys, annealed.state, cond)

        judged = jax.lax.cond(stage.chains > 1, bounds, lambda: own.bounds)
        judged = jnp.where((turn.slots < stage.chains)[:, None], judged, jnp.inf)
        own = _Chains(own.numbers, annealed, judged)
        return jax.tree.map(lambda leaf, new: leaf.at[turn.slots].set(new, mode="drop"), chains, own), None

    chains, _ = jax.lax.scan(run, _begun(keys, templates, config), _turns(config, at_once))
    state, trajectory = jax.tree.map(lambda leaf: leaf[0], _sorted(chains, 1).annealed)
    return Annealed(state, trajectory if config.trajectory_every else None)


def _begun(keys: Array, templates: Crystal, config: LangevinConfig) -> _Chains:
    """Returns all chains at their starts."""
    numbers = jnp.broadcast_to(jnp.arange(config.best_of)[:, None], (config.best_of, keys.shape[0]))
    chain_keys = jax.vmap(jax.vmap(_chain_key), (None, 0))(keys, numbers)
    annealed = jax.vmap(lambda keys: begin(keys, templates, config))(chain_keys)
    return _Chains(numbers, annealed, jnp.zeros(numbers.shape, templates.frac_coords.dtype))


def _turns(config: LangevinConfig, at_once: int) -> _Turn:
    """Returns what is done one after another, [turns]."""
    turns = [
        _Turn(np.arange(first, first + at_once), stage, np.bool_(number > 0 and first == 0))
        for number, stage in enumerate(config.stages)
        for first in range(0, stage.chains, at_once)
    ]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *turns)


def _sorted(chains: _Chains, keep: int | Int[Array, ""]) -> _Chains:
    """Returns the chains with the likeliest first; those after the first `keep` are out."""
    order = jnp.argsort(chains.bounds, axis=0, stable=True)
    state, trajectory = chains.annealed
    annealed = Annealed(_taken(state, order), _taken(trajectory, order, batch_axis=2))
    numbers, bounds = _taken((chains.numbers, chains.bounds), order)
    stays = jnp.arange(len(bounds))[:, None] < keep
    return _Chains(numbers, annealed, jnp.where(stays, bounds, jnp.inf))


def _taken(tree: Any, order: Int[Array, "chains batch"], batch_axis: int = 1) -> Any:
    """Returns arrays [chains, ..., batch, ...] with the chains of each structure in an order of its own."""

    def take(leaf: Array) -> Array:
        shape = (
            order.shape[0],
            *(1,) * (batch_axis - 1),
            order.shape[1],
            *(1,) * (leaf.ndim - batch_axis - 1),
        )
        return jnp.take_along_axis(leaf, order.reshape(shape), axis=0)

    return jax.tree.map(take, tree)


def _chain_key(key: Array, number: Int[Array, ""]) -> Array:
    """Returns the key of a chain of a structure: the first has the structure's own."""
    others = jax.random.fold_in(key, _LAST - number.astype(jnp.uint32))
    return jax.lax.select(number == 0, key, others)


def _bound(
    key: Array,
    state: LangevinState,
    cond: Any,
    score: ScoreFn,
    config: LangevinConfig,
    finished: bool | Array,
) -> Float[Array, ""]:
    """Returns the bound of a chain: the same noise for all of a structure; infinite for one that stopped."""
    coords = jnp.where(finished, state.crystal.frac_coords, state.estimate)
    crystal = state.crystal._replace(frac_coords=coords)
    key = jax.random.fold_in(key, _LAST)
    bound = likelihood_bound(key, score, crystal, config.bound_schedule, cond, config.bound_draws)
    return jnp.where((state.status == 0) & jnp.isfinite(bound), bound, jnp.inf)
