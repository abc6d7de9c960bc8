"""Defines what `train` minimises: the denoising losses at drawn noise levels, with its optimiser."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.loss import DenoisingLoss, denoising_loss, joint_loss
from jaxcrystal.diffusion.schedules import NoiseSchedule, draw_levels
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import make_module
from jaxcrystal.score import NoisePrediction, make_score, values_per_edge
from jaxcrystal.training.config import OptimizerConfig, TrainConfig
from jaxcrystal.training.parallel import replicated
from jaxcrystal.training.step import Losses, Metrics, TrainState, make_train_step

#: Sites whose activations, of a network of the default size, stay in a processor's cache.
_CACHED_SITES = 16


class Example(NamedTuple):
    """One structure of a batch, or the batch.

    Attributes:
      crystal: clean.
      sigma: [2] σ_X (Å) and σ_L.
      cond: its conditions.
    """

    crystal: Crystal
    sigma: Float[Array, "*batch 2"]
    cond: Any


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Returns clipped Adam with warm-up and cosine decay."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm), optax.adam(learning_rate_schedule(config), b2=0.99)
    )


def learning_rate_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the update."""
    warmup = min(config.warmup_steps, config.steps - 1)
    return optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, config.steps, config.final_fraction * config.learning_rate
    )


def make_update(
    config: TrainConfig,
    capacity: ImageCapacity,
    donate: bool = True,
    mesh: Mesh | None = None,
    module: Any = None,
) -> Any:
    """Returns the compiled update of a run for batches of one shape.

    Args:
      config: of the run.
      capacity: room of the neighbour search.
      donate: the state is given up to the update.
      mesh: devices that share the batch; None for one.
      module: Flax module of the network; default: what the configuration names.
    Returns:
      `update(state, crystals, rows=None, cond=None)`: with `rows` [batch], the batch is these rows of
      `crystals` and `cond`, which are on every device.
    """
    module = make_module(config.network) if module is None else module
    score = make_score(module, config.network.graph, capacity)
    denoising = joint_loss if config.joint else denoising_loss

    def loss(key: Array, params: Any, example: Example) -> Losses:
        return _terms(denoising(key, partial(score, params), *example), example.crystal)

    def weights(key: Array, example: Example) -> dict[str, Array]:
        objective = _terms(denoising(key, _no_noise, *example), example.crystal).objective
        return {name: weight for name, (_, weight) in objective.items()}

    def update(
        state: TrainState, crystals: Crystal, rows: Array | None = None, cond: Any = None
    ) -> tuple[TrainState, Metrics]:
        key_time, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), state.step))
        if rows is not None:
            crystals, cond = jax.tree.map(lambda array: array[rows], (crystals, cond))
        batch = crystals.species.shape[0]
        sigmas = draw_levels(key_time, config.schedule, config.optimizer.untied_share, batch)
        train_step = make_train_step(
            loss,
            make_optimizer(config.optimizer),
            mesh,
            ema_decay=config.optimizer.ema_decay,
            weights=weights,
            at_once=_fitting_cache(module, state.params, config.network.graph, crystals.species.shape[1]),
            jit=False,
        )
        return train_step(key_noise, state, Example(crystals, sigmas, cond))

    return jax.jit(update, donate_argnums=0 if donate else (), out_shardings=replicated(mesh))


def _terms(losses: DenoisingLoss, crystal: Crystal) -> Losses:
    sites = crystal.node_mask.sum().astype(losses.coords.dtype)
    return Losses(
        {
            "coords": (losses.coords, losses.coords_weight),
            "lattice": (losses.lattice, losses.lattice_weight),
        },
        {"cut_share": (losses.num_cut.astype(losses.coords.dtype), sites)},
    )


def _fitting_cache(module: Any, params: Any, graph: GraphConfig, max_nodes: int) -> int | None:
    """Returns how many structures have their gradient taken at once.

    On a CPU, as many as fit in its cache with all that the way back needs: twice as fast as all
    at once. Elsewhere all.
    """
    if jax.default_backend() != "cpu":
        return None
    width = graph.max_neighbors * values_per_edge(module, params)
    default = GraphConfig().max_neighbors * DimeNetConfig().hidden * DimeNetConfig().blocks
    return max(1, _CACHED_SITES * default // (width * max_nodes))


def _no_noise(crystal: Crystal, sigma: Array, cond: Any = None) -> NoisePrediction:
    """Predicts no noise: which terms count does not depend on the network."""
    del sigma, cond
    coords, lattice = jnp.zeros_like(crystal.frac_coords), jnp.zeros_like(crystal.lattice_params)
    nothing = jnp.int32(0)
    return NoisePrediction(coords, lattice, coords, lattice, nothing, nothing)


@lru_cache(maxsize=32)
def make_level_losses(
    module: Any, graph: GraphConfig, schedule: NoiseSchedule, capacity: ImageCapacity
) -> Callable[[Array, Any, Crystal, Any], DenoisingLoss]:
    """Returns the compiled losses [levels, batch] of clean crystals at every level.

    They are the paper's: `level_losses(key, params, crystals, cond)`.
    """
    score = make_score(module, graph, capacity)
    sigmas = schedule.sigmas()

    def level_losses(key: Array, params: Any, crystals: Crystal, cond: Any = None) -> DenoisingLoss:
        batch = crystals.species.shape[0]

        def one_level(_: None, inputs: tuple[Array, Array]) -> tuple[None, DenoisingLoss]:
            level, sigma = inputs
            keys = jax.random.split(jax.random.fold_in(key, level), batch)
            bound = partial(score, params)
            losses = jax.vmap(lambda k, c, x: denoising_loss(k, bound, c, sigma, x))(keys, crystals, cond)
            return None, losses

        return jax.lax.scan(one_level, None, (jnp.arange(schedule.levels), sigmas))[1]

    return jax.jit(level_losses)
