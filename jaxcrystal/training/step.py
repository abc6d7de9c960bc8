"""Makes one update of the weights, for any loss and optimiser, shared among devices."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Float, Int

from jaxcrystal.training.parallel import AXIS, replicated

#: name -> (value, weight) of one structure.
Terms = Mapping[str, tuple[Array, Array]]


class Losses(NamedTuple):
    """What a loss function returns for one structure.

    Attributes:
      objective: terms that are minimised, by name. A term of a batch is the sum of its values over
        the sum of its weights; the objective is the mean of the terms.
      reported: terms of the same kind that are only averaged.
    """

    objective: Terms
    reported: Terms | None = None


#: (key, params, example) -> Losses, of one structure.
LossFn = Callable[[Array, Any, Any], Losses]


class TrainState(NamedTuple):
    """What changes from one update to the next."""

    step: Int[Array, ""]
    params: Any
    ema: Any
    opt_state: Any


class Metrics(NamedTuple):
    """Of one update.

    Attributes:
      losses: mean of each term of the objective, by name.
      reported: mean of each reported term.
      gradient_norm: of the batch's gradient.
    """

    losses: dict[str, Float[Array, ""]]
    reported: dict[str, Float[Array, ""]]
    gradient_norm: Float[Array, ""]


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first update."""

    @jax.jit  # leaf by leaf, this takes seconds
    def init(params: Any) -> TrainState:
        # The state is donated, so that the average needs arrays of its own.
        average = jax.tree.map(jnp.copy, params)
        return TrainState(jnp.int32(0), params, average, optimizer.init(params))

    return init(params)


def make_train_step(
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    mesh: Mesh | None = None,
    axis: str = AXIS,
    *,
    ema_decay: float = 0.999,
    weights: Callable[[Array, Any], Mapping[str, Array]] | None = None,
    at_once: int | None = None,
    jit: bool = True,
) -> Callable[[Array, TrainState, Any], tuple[TrainState, Metrics]]:
    """Returns `train_step(key, state, batch)`: one update, each device with its part of the batch.

    Args:
      loss: of one structure: `loss(key, params, example)`. It may use what `diffusion.loss` has, with
        `partial(score, params)`.
      optimizer: of optax.
      mesh: of the devices that share each batch; None for one device.
      axis: of the mesh, over which the batch is shared.
      ema_decay: of the averaged weights `TrainState.ema`, which are what is sampled with.
      weights: `weights(key, example)`, the weights of the terms of the objective, where they do
        not depend on the network: by default they are taken from `loss`.
      at_once: structures of a device whose gradient is taken at once, at most; None: all.
      jit: compile it; False: for a larger program of one's own.
    Returns:
      The function; it raises ValueError for a batch that the devices cannot share equally. `state` is of
      `init_state` and is given up to the update; `batch` is any pytree of
      arrays [batch, ...], of which `loss` gets a row each, with a key of its own.
    """
    if mesh is not None:
        if axis not in mesh.axis_names:
            raise ValueError(f"the mesh has no axis {axis!r}; it has {', '.join(map(str, mesh.axis_names))}")
        # Of whichever kind the user's axes are, these are left to the compiler outside `shard_map`.
        mesh = Mesh(mesh.devices, mesh.axis_names)

    def over_devices(tree: Any) -> Any:
        return tree if mesh is None else jax.lax.psum(tree, axis)

    def weights_of(key: Array, params: Any, example: Any) -> Mapping[str, Array]:
        if weights is not None:
            return weights(key, example)
        objective = loss(key, params, example).objective
        return {name: jnp.asarray(weight) for name, (_, weight) in objective.items()}

    def gradient_of(params: Any, keys: Array, batch: Any) -> tuple[Any, dict[str, Array], Any]:
        """Returns the gradient of the whole batch and its terms, from one device's share."""
        # Means are over the structures that count, in the whole batch.
        counts = jax.vmap(lambda key, example: weights_of(key, params, example))(keys, batch)
        counted = over_devices(jnp.stack([counts[name].sum() for name in sorted(counts)]))
        share = 1.0 / jnp.where(counted > 0, counted, 1.0)

        def add_chunk(total: Any, chunk: Any) -> tuple[Any, Any]:
            def objective(params: Any) -> tuple[Array, tuple[Array, Terms]]:
                found = jax.vmap(lambda key, example: loss(key, params, example))(*chunk)
                values = [found.objective[name][0].sum() for name in sorted(found.objective)]
                means = share * jnp.stack(values)
                return means.sum() / len(values), (means, found.reported or {})

            gradient, (means, reported) = jax.grad(objective, has_aux=True)(params)
            return jax.tree.map(jnp.add, total, (gradient, means)), reported

        size = _largest_part(keys.shape[0], at_once)
        chunks = jax.tree.map(lambda array: array.reshape(-1, size, *array.shape[1:]), (keys, batch))
        nothing = jax.tree.map(jnp.zeros_like, params), jnp.zeros(len(counts), share.dtype)
        (gradient, means), reported = jax.lax.scan(add_chunk, nothing, chunks)
        losses = dict(zip(sorted(counts), means, strict=True))
        return over_devices((gradient, losses, jax.tree.map(jnp.sum, reported)))

    def train_step(key: Array, state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        run = gradient_of
        if mesh is not None:
            # Said outright: left to the compiler, the sorts of the neighbour search gather the batch.
            parts, whole = PartitionSpec(axis), PartitionSpec()
            run = jax.shard_map(
                run, mesh=mesh, in_specs=(whole, parts, parts), out_specs=whole, check_vma=False
            )
        size = jax.tree.leaves(batch)[0].shape[0]
        if mesh is not None and size % mesh.shape[axis]:
            raise ValueError(
                f"the batch has {size} structures; {mesh.shape[axis]} devices share it: give a multiple"
            )
        keys = jax.random.split(key, size)
        gradient, losses, reported = run(state.params, keys, batch)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # The average starts from the first weights: forget them as fast as they change.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda a, b: decay * a + (1.0 - decay) * b, state.ema, params)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
        means = {
            name: value / jnp.where(weight > 0, weight, 1.0) for name, (value, weight) in reported.items()
        }
        return TrainState(state.step + 1, params, ema, opt_state), Metrics(losses, means, norm)

    return jax.jit(train_step, donate_argnums=1, out_shardings=replicated(mesh)) if jit else train_step


def _largest_part(number: int, most: int | None) -> int:
    """Returns the largest divisor of a number of structures that is no more than `most`."""
    fitting = number if most is None else max(1, min(number, most))
    return next(size for size in range(fitting, 0, -1) if number % size == 0)


@jax.jit
def is_finite(state: TrainState) -> Array:
    """Returns [] whether every number of a state is finite."""
    leaves = jax.tree.leaves((state.params, state.ema, state.opt_state))
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
