"""Runs annealed Langevin dynamics on the sites and the lattice at once.

    X ← X + ½ ε_X s_X + √ε_X z_X           ε_X = coord_step σ_X²
    L ← L + ½ ε_L s_L + τ √ε_L z_L         ε_L = lattice_step σ_L²

(the paper's Algorithm 1). Both scores come from one evaluation of the network, or, with
`alternating`, from two: coordinates first, then the lattice, as in its public code. The last
step of all takes the noise out of the coordinates; one more evaluation after it gives the
sizes of the scores of the final structure.
The sampler is a pure `init` and `step` of one structure, for a `scan` of one's own; `anneal` is the whole
loop of a batch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.noise import start
from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.errors import Status, flag_if
from jaxcrystal.score import NoisePrediction, ScoreFn
from jaxcrystal.symmetry.group_row import group_row
from jaxcrystal.symmetry.lattice import LENGTH_SCALE, free_params, opened
from jaxcrystal.symmetry.subspaces import move_sites, num_internal_coords, wrap_free_sites
from jaxcrystal.vectors import dot, turn

#: Å; sampled lengths are kept above this.
MIN_LENGTH = 1.8


class LangevinState(NamedTuple):
    """One structure on its way.

    Attributes:
      crystal: present coordinates and lattice.
      anchor: [max_nodes, 3] a point of each site's subspace, kept so that rounding never
        carries a constrained site out of it.
      status: [] `Status` flags; a structure with any is frozen.
      scores: [2] root mean square of the scores of the free coordinates (1/Å; without what moves all
        sites along a free origin) and of the free lattice parameters, where they were last evaluated;
        NaN if that overflowed.
      num_cut: [] sites at which the cut at K neighbours acted there.
      num_opened: [] steps so far whose free angles made too flat a cell and were drawn back
        (`symmetry.lattice.opened`).
      reduction: [3, 3] of the cell there, with which the next neighbour search starts.
      estimate: [max_nodes, 3] the coordinates there with the predicted noise taken out, if the settings
        have choices on the way; else those of the start.
    """

    crystal: Crystal
    anchor: Float[Array, "*batch max_nodes 3"]
    status: Int[Array, "*batch"]
    scores: Float[Array, "*batch 2"]
    num_cut: Int[Array, "*batch"]
    num_opened: Int[Array, "*batch"]
    reduction: Float[Array, "*batch 3 3"]
    estimate: Float[Array, "*batch max_nodes 3"]


class Annealed(NamedTuple):
    """What a whole sampling gives.

    Attributes:
      state: [batch] final states.
      trajectory: [frames, batch] crystals on the way; None where they are not kept.
    """

    state: LangevinState
    trajectory: Crystal | None


def init(key: Array, template: Crystal) -> LangevinState:
    """Draws the start of one structure; coordinates of `template` anchor the subspaces."""
    dtype = template.lattice_params.dtype
    nothing = jnp.zeros(2, dtype), jnp.int32(0), jnp.int32(0), jnp.eye(3, dtype=dtype)
    crystal, anchor = start(key, template), template.frac_coords
    return LangevinState(crystal, anchor, jnp.int32(0), *nothing, crystal.frac_coords)


def step(
    key: Array,
    state: LangevinState,
    score: ScoreFn,
    sigma: Float[Array, "2"],
    config: LangevinConfig,
    cond: Any = None,
    *,
    denoise: bool | Array = False,
    evaluate_only: bool | Array = False,
    lattice_step: float | Array | None = None,
) -> LangevinState:
    """One iteration for one structure at one noise level.

    Args:
      key: of this structure and step.
      state: before the step.
      score: of `score.make_score`, with the parameters bound: `score(crystal, sigma, cond, reduction)`.
      sigma: [2] σ_X (Å) and σ_L.
      config: sampler settings.
      cond: conditions of this structure, a pytree of arrays that the network gets.
      denoise: take the predicted noise of the coordinates out instead.
      evaluate_only: move nothing, and only note the size of the scores.
      lattice_step: ε_L over σ_L²; None: that of the settings.
    """
    crystal = state.crystal
    # One draw, the lattice's first: that of a site does not depend on the padding after it.
    random = jax.random.normal(key, (2 + crystal.node_mask.shape[0], 3), crystal.frac_coords.dtype)
    noise = score(crystal, sigma, cond, state.reduction)
    status, scores, num_cut = state.status | noise.status, _score_sizes(crystal, noise, sigma), noise.num_cut
    coord_step = config.coord_step * sigma[0] ** 2
    # Noise is unit noise of all coordinates here: `move_by` keeps each site in its subspace, and
    # `change_lattice` the lattice in its family.
    displacement = jnp.sqrt(coord_step) * random[2:] - 0.5 * coord_step / sigma[0] * noise.coords
    moved = move_by(state, jnp.where(denoise, -sigma[0] * noise.coords, displacement))
    estimate = state.estimate
    if len(config.stages) > 1:  # else nobody asks
        estimate = move_by(state, -sigma[0] * noise.coords).frac_coords
    if config.alternating:
        noise = score(moved, sigma, cond, noise.reduction)
        status = status | noise.status
    lattice_step = (config.lattice_step if lattice_step is None else lattice_step) * sigma[1] ** 2
    change = config.lattice_temperature * jnp.sqrt(lattice_step) * random[:2].reshape(6)
    change = change - 0.5 * lattice_step / sigma[1] * noise.lattice
    updated, was_opened = change_lattice(moved, jnp.where(denoise, 0.0, change))
    num_opened = state.num_opened + (was_opened & (state.status == 0) & ~jnp.asarray(evaluate_only))
    crystal, status, scores = _freeze_if_bad(state, updated, status, scores, evaluate_only)
    reduction = state.reduction if noise.reduction is None else noise.reduction
    return LangevinState(crystal, state.anchor, status, scores, num_cut, num_opened, reduction, estimate)


def anneal(
    keys: Array, templates: Crystal, score: ScoreFn, config: LangevinConfig, cond: Any = None
) -> Annealed:
    """Runs the whole annealed dynamics of a batch; to be compiled.

    Step t of structure n draws from `fold_in(keys[n], t)`, so that a structure does not
    depend on the batch it is drawn in.

    Args:
      keys: [batch] one key a structure.
      templates: [batch] species, group, operations and projections; coordinates are a
        point of each site's subspace and the lattice is ignored.
      score: of one structure: see `step`.
      config: sampler settings.
      cond: [batch] conditions of each structure.
    """
    begun = begin(keys, templates, config)
    last = config.num_steps + 1
    found = advance(keys, begun, score, config, cond, 1, last)
    return found._replace(trajectory=found.trajectory if config.trajectory_every else None)


def begin(keys: Array, templates: Crystal, config: LangevinConfig) -> Annealed:
    """Draws the starts of a batch; of the trajectory there is room for its frames, or for none."""
    state = jax.vmap(init)(jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys), templates)
    every = config.trajectory_every
    frames = config.num_steps // every if every else 0
    trajectory = jax.tree.map(lambda leaf: jnp.zeros((frames, *leaf.shape), leaf.dtype), state.crystal)
    return Annealed(state, trajectory)


def advance(
    keys: Array,
    annealed: Annealed,
    score: ScoreFn,
    config: LangevinConfig,
    cond: Any,
    first: int | Int[Array, ""],
    last: int | Int[Array, ""],
) -> Annealed:
    """Takes a batch through some steps of its path, which count from 1.

    The step after the last of the path is the evaluation of the final structure.

    Args:
      keys: [batch].
      annealed: of `begin`, or of the steps before.
      score, config, cond: see `anneal`.
      first, last: of the steps.
    """
    every, total = config.trajectory_every, config.num_steps
    dtype = annealed.state.crystal.frac_coords.dtype
    sigmas, lattice_steps = config.sigmas(dtype), jnp.asarray(config.lattice_steps(), dtype)

    def body(number: Array, carry: Annealed) -> Annealed:
        state, trajectory = carry
        # The evaluation at the end is one more turn of the loop: the network is compiled once.
        index = jnp.minimum(number, total) - 1
        sigma, lattice_step = sigmas[index], lattice_steps[index]
        denoise, evaluate_only = config.denoise & (number == total), number > total

        def one(key: Array, state: LangevinState, cond: Any) -> LangevinState:
            key = jax.random.fold_in(key, number)
            how = {"denoise": denoise, "evaluate_only": evaluate_only, "lattice_step": lattice_step}
            return step(key, state, score, sigma, config, cond, **how)

        state = jax.vmap(one)(keys, state, cond)
        if every:
            # The last step of each frame stays: those before it are written over.
            frame = (number - 1) // every
            trajectory = jax.tree.map(
                lambda kept, leaf: kept.at[frame].set(leaf, mode="drop"), trajectory, state.crystal
            )
        return Annealed(state, trajectory)

    return jax.lax.fori_loop(first, last + 1, body, annealed)


def move_by(state: LangevinState, displacement: Float[Array, "max_nodes 3"]) -> Crystal:
    """Moves the sites by Cartesian displacements (Å), each within its subspace."""
    crystal = move_sites(state.crystal, displacement)
    offset = crystal.frac_coords - state.anchor
    on_subspace = state.anchor + turn(crystal.site_projection, offset)
    return crystal._replace(frac_coords=wrap_free_sites(on_subspace, crystal))


def change_lattice(crystal: Crystal, change: Float[Array, "6"]) -> tuple[Crystal, Bool[Array, ""]]:
    """Adds to the lattice parameters at fixed fractional coordinates.

    Lengths stay over 1.8 Å, and free angles make a cell. Returns the crystal, and whether the angles had
    to be drawn back for that (`symmetry.lattice.opened`).
    """
    params = crystal.lattice_params + change
    shortest = float(LENGTH_SCALE * np.log(np.expm1(MIN_LENGTH / LENGTH_SCALE)))
    is_length = jnp.arange(6) < 3
    params = jnp.where(is_length, jnp.maximum(params, shortest), params)
    params = jnp.where(free_params(crystal.space_group), params, 0.0)
    kept = opened(params)
    return crystal._replace(lattice_params=kept), (jnp.abs(kept - params) > 0).any()


def _score_sizes(crystal: Crystal, noise: NoisePrediction, sigma: Float[Array, "2"]) -> Float[Array, "2"]:
    """Returns the root mean square of both scores, s = -ε̂/σ, over what is free.

    As in the losses, what moves all sites alike along a free origin does not count: no data say where
    the origin is, so that nothing holds the network to any drift.
    """
    free = jnp.stack([num_internal_coords(crystal), free_params(crystal.space_group).sum()])
    free_origin = group_row(crystal.space_group, noise.coords.dtype).free_origin
    mask = crystal.node_mask.astype(noise.coords.dtype)[:, None]
    # One sum over sites for all: squares about the mean are squares less that of the mean. The first site
    # is taken off before, so that little is left to be subtracted.
    apart = noise.coords - mask * turn(free_origin, noise.coords[0])
    total = jnp.concatenate([apart, apart**2, mask], axis=1).sum(0)
    alike = dot(turn(free_origin, total[:3]), total[:3]) / jnp.maximum(total[6], 1.0)
    coords = jnp.maximum(total[3:6].sum() - alike, 0.0)
    return jnp.sqrt(jnp.stack([coords, (noise.lattice**2).sum()]) / jnp.maximum(free, 1)) / sigma


def _freeze_if_bad(
    state: LangevinState, updated: Crystal, status: Array, scores: Array, evaluate_only: bool | Array
) -> tuple[Crystal, Array, Array]:
    """Returns crystal, status and scores after a step: as before it where something went wrong."""
    finite = jnp.isfinite(updated.frac_coords).all() & jnp.isfinite(updated.lattice_params).all()
    status = status | flag_if(~finite, Status.NON_FINITE)
    stays = evaluate_only | (status != 0)
    crystal = jax.tree.map(lambda new, old: jnp.where(stays, old, new), updated, state.crystal)
    scores = jnp.where(status == 0, scores, jnp.nan)
    # A structure that has come to its end does not fail because it was evaluated once more.
    return crystal, jnp.where(evaluate_only, state.status, status), scores
