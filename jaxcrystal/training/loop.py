"""The training run: batches, updates, validation, logs and checkpoints."""

import csv
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxcrystal.config import to_toml
from jaxcrystal.crystal import Crystal
from jaxcrystal.data.batches import BucketSampler, bucket_of, to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.files import write_text
from jaxcrystal.data.frequencies import LetterFrequencies
from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.errors import DataError
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.models.scores import count_params, init_params
from jaxcrystal.training.checkpoints import Checkpoints
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.model import Model, load_model
from jaxcrystal.training.step import (
    Metrics,
    TrainState,
    image_capacity,
    init_state,
    learning_rate_schedule,
    make_update,
)
from jaxcrystal.training.validation import LevelLosses, validate

_LOG_COLUMNS = ("step", "structures", "seconds", "learning_rate", "coords", "lattice", "gradient_norm")
_VALIDATION_COLUMNS = ("step", "sites", "level", "sigma_coords", "sigma_lattice", "coords", "lattice")


@dataclass
class _Batches:
    """Padded structures of each bucket, made once; a batch is a row selection."""

    dataset: Dataset
    indices: np.ndarray
    sampler: BucketSampler

    def __post_init__(self) -> None:
        self._pools: dict[tuple[int, bool], tuple[dict[int, int], Crystal, ImageCapacity]] = {}

    def at(self, step: int) -> tuple[tuple[int, bool], Crystal, ImageCapacity]:
        bucket, constrained, chosen = self.sampler.batch(step)
        if (bucket, constrained) not in self._pools:
            members = [int(i) for i in self.indices if bucket_of(self.dataset.num_sites[i]) == bucket]
            pool = to_crystals(self.dataset, members, bucket, constrained)
            rows = {index: row for row, index in enumerate(members)}
            self._pools[bucket, constrained] = (rows, pool, image_capacity(pool, constrained))
        rows, pool, capacity = self._pools[bucket, constrained]
        take = np.array([rows[int(index)] for index in chosen])
        return (bucket, constrained), jax.tree.map(lambda array: array[take], pool), capacity


def train(config: TrainConfig, resume: bool = False, progress: bool = True) -> Path:
    """Trains a model, from the start or from the last checkpoint of its run folder.

    Args:
      config: the whole run.
      resume: go on from `config.out`'s last checkpoint.
      progress: show a bar with structures/s.
    Returns:
      The run folder; it is a model folder with checkpoints and logs.
    Raises:
      DataError: unusable data, a run folder in use, nothing to resume, another configuration.
    """
    out = Path(config.out)
    dataset = load_or_prepare(config.data.train)
    indices = usable(dataset, config.data.max_sites, config.data.min_space_group)
    _claim(out, config, resume)
    validation = load_or_prepare(config.data.validation) if config.data.validation else None
    chosen = dataset.select(indices)
    letters = LetterFrequencies.from_dataset(chosen)
    sampler = BucketSampler(
        dataset.num_sites,
        config.optimizer.batch_size,
        config.seed,
        config.optimizer.constrained_share,
        indices,
    )
    batches = _Batches(dataset, indices, sampler)
    first = jax.tree.map(lambda array: jax.numpy.asarray(array[0]), batches.at(0)[1])
    key = jax.random.fold_in(jax.random.key(config.seed), 2**31 - 1)
    params = jax.jit(lambda k: init_params(k, config.network, first))(key)
    steps_before = 0
    if config.start_from:
        params, steps_before = _weights_of(config, params)
    state = init_state(params, config.optimizer)
    info = {
        "elements": sorted({int(z) for z in chosen.species}),
        "data": config.data.train,
        "structures": len(chosen),
        "parameters": count_params(params),
    }

    def export(state: TrainState, losses: list[LevelLosses]) -> None:
        means = {f"{x.sites}_{k}": v for x in losses for k, v in x.means().items()}
        about = info | {"steps": steps_before + int(state.step)} | means
        Model(config.network, config.schedule, state.ema, letters, about).save(out)

    with Checkpoints(out / "checkpoints", config.log.keep) as checkpoints:
        if resume:
            state = checkpoints.restore(state)
            for name in ("log.csv", "validation.csv"):
                _drop_rows_after(out / name, int(state.step))
        _run(config, state, batches, validation, checkpoints, export, progress)
    return out


def _weights_of(config: TrainConfig, fresh: Any) -> tuple[Any, int]:
    """Returns the weights of `config.start_from`, fresh ones where it has none, and its updates."""
    model = load_model(config.start_from)
    if model.network != config.network:
        raise DataError(f"{config.start_from} holds another network than the configuration asks for")

    def merged(fresh: Any, given: Any) -> Any:
        if not isinstance(fresh, Mapping):
            return given
        return {name: merged(leaf, given[name]) if name in given else leaf for name, leaf in fresh.items()}

    return merged(fresh, model.params), int(model.info.get("steps", 0))


def usable(dataset: Dataset, max_sites: int, min_space_group: int) -> np.ndarray:
    """Returns the structures of a size and group that can be trained on.

    Raises:
      DataError: there are none.
    """
    fits = (dataset.num_sites <= max_sites) & (dataset.space_group >= min_space_group)
    if not fits.any():
        raise DataError(
            f"no structure has at most {max_sites} inequivalent sites and a space group of at least "
            f"{min_space_group}"
        )
    return np.flatnonzero(fits)


def _run(
    config: TrainConfig,
    state: TrainState,
    batches: _Batches,
    validation: Dataset | None,
    checkpoints: Checkpoints,
    export: Callable[[TrainState, list[LevelLosses]], None],
    progress: bool,
) -> None:
    out, log = Path(config.out), config.log
    updates: dict[Any, Any] = {}
    first_step, total = int(state.step), config.optimizer.steps
    learning_rate = learning_rate_schedule(config.optimizer)
    started, size = time.perf_counter(), config.optimizer.batch_size
    recent: list[Metrics] = []
    losses: list[LevelLosses] = []
    bar = tqdm(total=total, initial=first_step, unit="step", disable=not progress, file=sys.stderr)
    with bar:
        for step in range(first_step, total):
            shape, crystals, capacity = batches.at(step)
            if shape not in updates:
                updates[shape] = make_update(config, capacity)
            state, metrics = updates[shape](state, crystals)
            recent.append(metrics)
            done, last = step + 1, step + 1 == total
            bar.update()
            if done % log.every == 0 or last:
                mean = {name: float(np.mean([getattr(m, name) for m in recent])) for name in Metrics._fields}
                recent = []
                if not np.isfinite(list(mean.values())).all():
                    raise DataError(f"the loss became non-finite by step {done}; the last checkpoint is kept")
                seconds = time.perf_counter() - started
                rate = (done - first_step) * size / seconds
                bar.set_postfix_str(
                    f"{rate:.0f} structures/s, coords {mean['coords']:.3f}, lattice {mean['lattice']:.3f}"
                )
                row = (done, done * size, round(seconds, 1), float(learning_rate(step)), *mean.values())
                _append(out / "log.csv", _LOG_COLUMNS, [row])
            if validation is not None and (last or (log.validate_every and done % log.validate_every == 0)):
                losses = validate(
                    config.network,
                    config.schedule,
                    state.ema,
                    validation.select(usable(validation, config.data.max_sites, config.data.min_space_group)),
                    log.validation_structures,
                )
                rows = [(done, *row) for result in losses for row in result.rows()]
                _append(out / "validation.csv", _VALIDATION_COLUMNS, rows)
                for result in losses:
                    bar.write(f"step {done}: {result.describe()}", file=sys.stderr)
            if done % log.checkpoint_every == 0 or last:
                checkpoints.save(state)
                export(state, losses)


def _claim(out: Path, config: TrainConfig, resume: bool) -> None:
    """Makes the run folder ours; refuses one that holds another run."""
    saved = out / "config.toml"
    text = to_toml(config)
    if resume:
        if not saved.exists():
            raise DataError(f"{out} holds no run to resume: there is no config.toml in it")
        if saved.read_text(encoding="utf-8") != text:
            raise DataError(f"{saved} differs from the configuration given: a run resumes unchanged")
        return
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty: give another out=..., or --resume to go on with its run")
    write_text(saved, text)


def _append(path: Path, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(columns)
        writer.writerows([[f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows])


def _drop_rows_after(path: Path, step: int) -> None:
    """Cuts rows of a log that a resumed run will write again."""
    if not path.exists():
        return
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    kept = [row for row in rows if int(row.split(",")[0]) <= step]
    write_text(path, "\n".join([header, *kept]) + "\n")
