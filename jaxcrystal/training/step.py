"""One update of the weights, and the losses by noise level."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.loss import DenoisingLoss, denoising_loss, joint_loss
from jaxcrystal.diffusion.schedules import NoiseSchedule, draw_levels
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.score import EstimateFn, NetworkConfig, NoiseEstimate, make_estimate_fn
from jaxcrystal.training.config import OptimizerConfig, TrainConfig
from jaxcrystal.training.parallel import AXIS, replicated

#: A constrained structure lists each atom of its primitive cell once; 20 at most in the
#: data, in steps so that few sizes are compiled.
_IMAGE_STEPS = (8, 24, 48, 96, 192, 480, 960)
#: Sites whose activations, of a network of the default size, stay in a processor's cache.
_CACHED_SITES = 16


class TrainState(NamedTuple):
    """What changes from one update to the next."""

    step: Int[Array, ""]
    params: Any
    ema: Any
    opt_state: Any


class Metrics(NamedTuple):
    """Of one update: losses of the batch and the norm of its gradient."""

    coords: Float[Array, ""]
    lattice: Float[Array, ""]
    gradient_norm: Float[Array, ""]


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Returns clipped Adam with warm-up and cosine decay."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm), optax.adam(learning_rate_schedule(config), b2=0.99)
    )


def learning_rate_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the update."""
    warmup = min(config.warmup_steps, max(config.steps - 1, 1))
    return optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warmup, config.steps, config.final_fraction * config.learning_rate
    )


def init_state(params: Any, config: OptimizerConfig) -> TrainState:
    """Returns the state before the first update."""

    @jax.jit  # leaf by leaf, this takes seconds
    def init(params: Any) -> TrainState:
        # The state is donated, so that the average needs arrays of its own.
        average = jax.tree.map(jnp.copy, params)
        return TrainState(jnp.int32(0), params, average, make_optimizer(config).init(params))

    return init(params)


def image_capacity(crystals: Crystal, constrained: bool) -> ImageCapacity:
    """Returns room for the images of every structure of a batch (on the host)."""
    max_nodes = crystals.species.shape[-1]
    if not constrained:
        return ImageCapacity.free(max_nodes)
    needed = int(crystals.site_ops.sum((-2, -1)).max(initial=1))
    return ImageCapacity(next(size for size in _IMAGE_STEPS if size >= needed), merge=False)


def make_update(
    config: TrainConfig, capacity: ImageCapacity, donate: bool = True, mesh: Mesh | None = None
) -> Any:
    """Returns the compiled update for batches of one shape.

    Args:
      config: of the run.
      capacity: room of the neighbour search.
      donate: the state is given up to the update.
      mesh: devices that share the batch; None for one.
    Returns:
      `update(state, crystals, rows=None)`: with `rows` [batch], the batch is these rows of
      `crystals`, which are on every device.
    """
    estimate = make_estimate_fn(config.network, capacity)
    optimizer = make_optimizer(config.optimizer)
    loss = joint_loss if config.joint else denoising_loss

    def losses_of(
        estimate: EstimateFn, params: Any, keys: Array, sigmas: Array, crystals: Crystal
    ) -> DenoisingLoss:
        return jax.vmap(lambda k, c, s: loss(estimate, params, k, c, s))(keys, crystals, sigmas)

    def over_devices(tree: Any) -> Any:
        return tree if mesh is None else jax.lax.psum(tree, AXIS)

    def gradient_of(
        params: Any, keys: Array, sigmas: Array, crystals: Crystal, rows: Array | None
    ) -> tuple[Any, Array]:
        """Returns the gradient of the whole batch and its two losses, from one device's share."""
        if rows is not None:
            crystals = jax.tree.map(lambda array: array[rows], crystals)
        # Means are over the structures that count, in the whole batch.
        counts = losses_of(_no_estimate, params, keys, sigmas, crystals)
        counted = over_devices(jnp.stack([counts.coords_weight.sum(), counts.lattice_weight.sum()]))
        share = 1.0 / jnp.maximum(counted, 1.0)

        def add_chunk(total: Any, chunk: Any) -> tuple[Any, None]:
            def objective(params: Any) -> tuple[Array, Array]:
                losses = losses_of(estimate, params, *chunk)
                means = share * jnp.stack([losses.coords.sum(), losses.lattice.sum()])
                return 0.5 * means.sum(), means

            return jax.tree.map(jnp.add, total, jax.grad(objective, has_aux=True)(params)), None

        size = chunk_size(config.network, *crystals.species.shape)
        chunks = jax.tree.map(
            lambda array: array.reshape(-1, size, *array.shape[1:]), (keys, sigmas, crystals)
        )
        nothing = jax.tree.map(jnp.zeros_like, params), jnp.zeros(2, share.dtype)
        return over_devices(jax.lax.scan(add_chunk, nothing, chunks)[0])

    def update(state: TrainState, crystals: Crystal, rows: Array | None = None) -> tuple[TrainState, Metrics]:
        key_time, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), state.step))
        batch = crystals.species.shape[0] if rows is None else rows.shape[0]
        sigmas = draw_levels(key_time, config.schedule, config.optimizer.untied_share, batch)
        run = gradient_of
        if mesh is not None:
            # Said outright: left to the compiler, the sorts of the neighbour search gather the batch.
            parts, whole = PartitionSpec(AXIS), PartitionSpec()
            specs = (whole, parts, parts, parts if rows is None else whole, parts)
            run = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False)
        keys = jax.random.split(key_noise, batch)
        gradient, (coords, lattice) = run(state.params, keys, sigmas, crystals, rows)
        updates, opt_state = optimizer.update(gradient, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        # The average starts from the first weights: forget them as fast as they change.
        decay = jnp.minimum(config.optimizer.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda a, b: decay * a + (1.0 - decay) * b, state.ema, params)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
        return TrainState(state.step + 1, params, ema, opt_state), Metrics(coords, lattice, norm)

    return jax.jit(update, donate_argnums=0 if donate else (), out_shardings=replicated(mesh))


def chunk_size(network: NetworkConfig, structures: int, max_nodes: int) -> int:
    """Returns how many structures of a device's share have their gradient taken at once.

    On a CPU, as many as fit in its cache with all that the way back needs: twice as fast as all
    at once. Elsewhere all.
    """
    if jax.default_backend() != "cpu":
        return structures
    width, default = (
        x.graph.max_neighbors * x.dimenet.hidden * x.dimenet.blocks for x in (network, NetworkConfig())
    )
    fitting = max(1, min(structures, _CACHED_SITES * default // (width * max_nodes)))
    return next(size for size in range(fitting, 0, -1) if structures % size == 0)


def _no_estimate(params: Any, crystal: Crystal, sigma: Array) -> NoiseEstimate:
    del params, sigma
    nothing = jnp.int32(0)
    return NoiseEstimate(
        jnp.zeros_like(crystal.frac_coords), jnp.zeros_like(crystal.lattice_params), nothing, nothing
    )


@jax.jit
def is_finite(state: TrainState) -> Array:
    """Returns [] whether every number of a state is finite."""
    leaves = jax.tree.leaves((state.params, state.ema, state.opt_state))
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


@lru_cache(maxsize=32)
def make_level_losses(
    network: NetworkConfig, schedule: NoiseSchedule, capacity: ImageCapacity
) -> Callable[[Any, Array, Crystal], DenoisingLoss]:
    """Returns the compiled losses [levels, batch] of clean crystals at every level."""
    estimate = make_estimate_fn(network, capacity)
    sigmas = schedule.sigmas()

    def level_losses(params: Any, key: Array, crystals: Crystal) -> DenoisingLoss:
        batch = crystals.species.shape[0]

        def one_level(_: None, inputs: tuple[Array, Array]) -> tuple[None, DenoisingLoss]:
            level, sigma = inputs
            keys = jax.random.split(jax.random.fold_in(key, level), batch)
            losses = jax.vmap(lambda k, c: denoising_loss(estimate, params, k, c, sigma))(keys, crystals)
            return None, losses

        return jax.lax.scan(one_level, None, (jnp.arange(schedule.levels), sigmas))[1]

    return jax.jit(level_losses)
