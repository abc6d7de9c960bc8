"""Fits a CGCNN to formation energies: updates, averaged weights, and the epoch that is kept."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from jaxcrystal.cgcnn.energies import EnergyData
from jaxcrystal.cgcnn.graph import BatchSize, CgcnnConfig, ShellGraph, batches
from jaxcrystal.cgcnn.network import apply, init_params
from jaxcrystal.errors import DataError


@dataclass(frozen=True)
class CgcnnTraining:
    """How it is trained.

    Attributes:
      epochs: passes over the training crystals.
      crystals: most crystals of a batch; its room for nodes and edges goes with it.
      learning_rate: peak; it rises for 5 % of the updates and falls as a cosine to 0.
      weight_decay: of AdamW.
      ema_decay: of the averaged weights, which are the ones that are kept.
      huber: eV per atom; errors beyond it count linearly.
      clip_norm: bound of the gradient's norm.
      seed: of the first weights and the order of the crystals.
    """

    epochs: int = 120
    crystals: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    ema_decay: float = 0.998
    huber: float = 0.1
    clip_norm: float = 1.0
    seed: int = 0

    def batch_size(self) -> BatchSize:
        """Returns the room of a batch: 5 nodes and 34 edges a crystal, the data's mean and a little."""
        return BatchSize(self.crystals, 5 * self.crystals, 34 * self.crystals)


#: Called with the epoch, the averaged weights and the validation error, whenever it is the least so far.
OnBest = Callable[[int, Any, float], None]


def fit(
    train: EnergyData,
    validation: EnergyData,
    config: CgcnnConfig,
    training: CgcnnTraining,
    on_best: OnBest | None = None,
    progress: bool = True,
) -> tuple[Any, float]:
    """Trains a network; the weights of least validation error are kept.

    Args:
      train, validation: crystals with their energies.
      config: of the network, and of the graphs given.
      training: how.
      on_best: called whenever the validation error is the least so far.
      progress: show a bar.
    Returns:
      The averaged weights, and their mean absolute error on the validation set, eV per atom.

    Raises:
      DataError: the loss became non-finite.
    """
    size = training.batch_size()
    rng = np.random.default_rng(training.seed)
    _, first = next(batches(train.graphs, size))
    params = init_params(jax.random.key(training.seed), config, first)
    # The mean is known from the start. Host arrays: the update gives its own up.
    params = jax.device_get(params)
    params["energy"]["bias"] = params["energy"]["bias"] + train.energies.mean()
    steps = training.epochs * sum(1 for _ in batches(train.graphs, size))
    optimizer = _optimizer(training, steps)
    state = (params, params, jax.jit(optimizer.init)(params), np.int32(0))
    update = _make_update(config, optimizer, training)
    best: tuple[Any, float] = (params, float("inf"))
    predict = make_predict(config)
    with tqdm(total=training.epochs, unit="epoch", disable=not progress, file=sys.stderr) as bar:
        for epoch in range(1, training.epochs + 1):
            order = rng.permutation(len(train.graphs))
            losses = []
            for chosen, batch in batches([train.graphs[i] for i in order], size):
                energies, present = _targets(train.energies[order[chosen]], batch, size)
                state, loss = update(state, batch, energies, present)
                losses.append(loss)
            mean = float(np.mean(losses))
            if not np.isfinite(mean):
                raise DataError(f"the loss became non-finite in epoch {epoch}")
            error = mean_absolute_error(predict, state[1], validation, size)
            if error < best[1]:
                best = (jax.device_get(state[1]), error)
                if on_best is not None:
                    on_best(epoch, best[0], error)
            bar.set_postfix_str(f"loss {mean:.4f}, validation {error:.4f}, best {best[1]:.4f} eV/atom")
            bar.update()
    return best


def _optimizer(training: CgcnnTraining, steps: int) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(
        0.0, training.learning_rate, max(1, steps // 20), max(2, steps), 0.0
    )
    return optax.chain(
        optax.clip_by_global_norm(training.clip_norm),
        optax.adamw(rate, weight_decay=training.weight_decay),
    )


def _targets(energies: np.ndarray, batch: ShellGraph, size: BatchSize) -> tuple[np.ndarray, np.ndarray]:
    """Returns energies and weights (1, or 0 for padding) of a batch's crystals."""
    padding = (0, size.crystals - len(energies))
    return np.pad(energies, padding), np.pad(np.ones(len(energies), np.float32), padding)


def _make_update(
    config: CgcnnConfig, optimizer: optax.GradientTransformation, training: CgcnnTraining
) -> Any:
    def loss_of(params: Any, batch: ShellGraph, energies: jax.Array, present: jax.Array) -> jax.Array:
        found = apply(params, config, batch, energies.shape[0])
        losses = optax.huber_loss(found.energy, energies, delta=training.huber) / training.huber
        return (losses * present).sum() / present.sum()

    def update(
        state: Any, batch: ShellGraph, energies: jax.Array, present: jax.Array
    ) -> tuple[Any, jax.Array]:
        params, average, moments, step = state
        loss, gradient = jax.value_and_grad(loss_of)(params, batch, energies, present)
        changes, moments = optimizer.update(gradient, moments, params)
        params = optax.apply_updates(params, changes)
        # The average starts from the first weights: forget them as fast as they change.
        decay = jnp.minimum(training.ema_decay, (1.0 + step) / (10.0 + step))
        average = jax.tree.map(lambda a, b: decay * a + (1.0 - decay) * b, average, params)
        return (params, average, moments, step + 1), loss

    return jax.jit(update, donate_argnums=0)


def make_predict(config: CgcnnConfig) -> Any:
    """Returns the compiled (params, batch, crystals) -> energies [crystals], eV per atom."""
    return jax.jit(lambda params, batch, n: apply(params, config, batch, n).energy, static_argnums=2)


def mean_absolute_error(predict: Any, params: Any, data: EnergyData, size: BatchSize) -> float:
    """Returns the mean absolute error, eV per atom."""
    total = 0.0
    for chosen, batch in batches(data.graphs, size):
        found = np.asarray(predict(params, batch, size.crystals))[: chosen.stop - chosen.start]
        total += float(np.abs(found - data.energies[chosen]).sum())
    return total / len(data.graphs)
