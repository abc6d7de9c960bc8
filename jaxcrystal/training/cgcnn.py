r"""Trains the CGCNN of FD CGCNN on formation energies.

python -m jaxcrystal.training.cgcnn --train train.csv.gz --validation val.csv.gz \
    --test test.csv.gz --out cgcnn.npz
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from tqdm import tqdm

from jaxcrystal.data.batches import bucket_of, to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.files import require_absent, write_atomically
from jaxcrystal.data.readers import Record, parse, read_records
from jaxcrystal.errors import DataError, JaxcrystalError
from jaxcrystal.models.cgcnn import (
    WEIGHTS_FORMAT,
    BatchSize,
    CgcnnConfig,
    ShellGraph,
    apply,
    batches,
    build_graph,
    from_arrays,
    init_params,
    to_arrays,
)
from jaxcrystal.symmetry.orbits import expand_crystal

#: Seconds between two saves on the way.
SAVE_EVERY = 60.0
_PROPERTY = "formation_energy_per_atom"


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


#: lattice [3, 3] (Å), species [atoms] and frac_coords [atoms, 3].
Cell = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class EnergyData:
    """Graphs of crystals and their formation energies.

    Attributes:
      graphs: of `build_graph`.
      energies: [crystals] eV per atom.
      left_out: crystals of the source without an energy, or that cannot be read.
    """

    graphs: list[ShellGraph]
    energies: Float[np.ndarray, " crystals"]
    left_out: int = 0


def read_energies(
    source: str | Path, config: CgcnnConfig, processes: int = 1, progress: bool = True
) -> EnergyData:
    """Reads the crystals of a file that have a formation energy, and makes their graphs.

    Args:
      source: whatever `data.readers` reads that names formation_energy_per_atom, or a
        prepared data set (.npz).
      config: of the graphs.
      processes: worker processes; 1 works in this one.
      progress: show a bar.

    Raises:
      DataError: no such file, or no crystal in it has an energy.
    """
    items, energies, total = _known(Path(source))
    make = partial(_graph_of, config=config)
    bar: dict[str, Any] = {"total": len(items), "desc": Path(source).name, "disable": not progress}
    if processes <= 1:
        graphs = list(tqdm(map(make, items), file=sys.stderr, **bar))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            graphs = list(tqdm(pool.map(make, items, chunksize=64), file=sys.stderr, **bar))
    usable = np.array([graph is not None for graph in graphs], bool)
    if not usable.any():
        raise DataError(f"{source}: no crystal that can be used has a {_PROPERTY}")
    chosen = [graph for graph in graphs if graph is not None]
    return EnergyData(chosen, energies[usable].astype(np.float32), total - len(chosen))


def _known(source: Path) -> tuple[list[Record | Cell], np.ndarray, int]:
    """Returns the crystals with an energy, the energies, and how many crystals there are."""
    if source.suffix == ".npz":
        dataset = Dataset.load(source)
        chosen = np.flatnonzero(np.isfinite(dataset.formation_energy_per_atom))
        cells: list[Record | Cell] = [_cell(dataset, int(index)) for index in chosen]
        return cells, dataset.formation_energy_per_atom[chosen], len(dataset)
    records = list(read_records(source))
    known = [record for record in records if np.isfinite(record.properties.get(_PROPERTY, np.nan))]
    return [*known], np.array([record.properties[_PROPERTY] for record in known]), len(records)


def _cell(dataset: Dataset, index: int) -> Cell:
    bucket = bucket_of(dataset.num_sites[index])
    crystals = to_crystals(dataset, [index], bucket, constrained=True, dtype=np.float64)
    return expand_crystal(jax.tree.map(lambda array: array[0], crystals))[:3]


def _graph_of(item: Record | Cell, config: CgcnnConfig) -> ShellGraph | None:
    try:
        if isinstance(item, Record):
            structure = parse(item)
            species, frac_coords = np.array(structure.atomic_numbers), np.array(structure.frac_coords)
            item = (np.array(structure.lattice.matrix), species, frac_coords)
        return build_graph(*item, config)
    except Exception:  # a library's parser may raise anything
        return None


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


def save_weights(
    path: str | Path, params: Any, config: CgcnnConfig, info: dict[str, Any], overwrite: bool = True
) -> None:
    """Writes weights, in half precision, with the network's settings and `info`."""
    arrays = {name: array.astype(np.float16) for name, array in to_arrays(params).items()}
    label = np.array([WEIGHTS_FORMAT, json.dumps(asdict(config)), json.dumps(info)])
    write_atomically(path, lambda file: np.savez(file, format=label, **arrays), overwrite)  # type: ignore[arg-type]


def rounded(params: Any) -> Any:
    """Returns the weights as a file of weights holds them: in half precision."""
    return from_arrays({name: array.astype(np.float16) for name, array in to_arrays(params).items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jaxcrystal.training.cgcnn", description=__doc__)
    for name, what in (("train", "to train on"), ("validation", "to choose by"), ("test", "to report on")):
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help=f"crystals with energies {what}")
    parser.add_argument("--out", required=True, metavar="FILE", help="the .npz of weights; must not exist")
    parser.add_argument("--epochs", type=int, default=CgcnnTraining.epochs, metavar="N")
    parser.add_argument("--seed", type=int, default=CgcnnTraining.seed, metavar="N")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    arguments = parser.parse_args(argv)
    try:
        info = run(arguments)
    except JaxcrystalError as error:
        print(f"jaxcrystal: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(info, indent=1))
    return 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains as the command line says, and returns what the file of weights says of itself."""
    config = CgcnnConfig()
    training = replace(CgcnnTraining(), epochs=arguments.epochs, seed=arguments.seed)
    out = Path(arguments.out)
    require_absent(out)
    sources = {name: getattr(arguments, name) for name in ("train", "validation", "test")}
    data = {name: read_energies(source, config, arguments.processes) for name, source in sources.items()}
    started, saved = time.perf_counter(), [-np.inf]
    predict, size = make_predict(config), training.batch_size()
    info: dict[str, Any] = {
        "trained_on": _PROPERTY,
        "training": asdict(training),
        "data": {
            name: {"file": Path(sources[name]).name, "crystals": len(part.graphs), "left_out": part.left_out}
            for name, part in data.items()
        },
    }

    def save(epoch: int, params: Any, error: float) -> None:
        stored = rounded(params)
        info["epoch"], info["seconds"] = epoch, round(time.perf_counter() - started)
        info["parameters"] = sum(int(leaf.size) for leaf in jax.tree.leaves(params))
        for name in ("train", "validation", "test"):
            info[f"{name}_mae"] = round(mean_absolute_error(predict, stored, data[name], size), 5)
        info["validation_mae_float32"] = round(error, 5)
        save_weights(out, params, config, info)
        saved[0] = time.perf_counter()

    latest: list[tuple[int, Any, float]] = []

    def on_best(epoch: int, params: Any, error: float) -> None:
        latest[:] = [(epoch, params, error)]
        if time.perf_counter() - saved[0] > SAVE_EVERY:
            save(epoch, params, error)

    fit(data["train"], data["validation"], config, training, on_best)
    save(*latest[0])
    return info


if __name__ == "__main__":
    sys.exit(main())
