"""Samples crystals as arrays: nothing is done crystal by crystal once they are planned."""

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.batches import Batch
from jaxcrystal.sampling.stream import require_batch_size, sample_batches
from jaxcrystal.structures.crystal_arrays import CrystalArrays
from jaxcrystal.structures.finish import finish_batch
from jaxcrystal.structures.finish_tables import finish_tables
from jaxcrystal.structures.finished import Drawn

#: Fields with an axis of sites, and what fills it up where other crystals have more.
_FILL = {"species": 0, "frac_coords": 0, "letters": -1, "site_ops": 0}


def sample_arrays(
    candidates: Sequence[Candidate],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    random_start: bool = False,
) -> CrystalArrays:
    """Samples crystals and finishes them on the device.

    Args:
      candidates: of `make_candidates`.
      model: trained.
      seed: 0 to 2³² - 1.
      config: sampler settings; a trajectory is not kept.
      batch_size: rows of every batch on each device; None: what suits it.
      progress: show a bar.
      random_start: return what sampling would start from.
    Returns:
      All crystals in their order, padded to the sites of the largest, on the first device.

    Raises:
      RequestError: a batch size below 1, or conditions that are not the model's.
      DataError: one structure is too much for the memory.
    """
    require_batch_size(batch_size)
    candidates = list(candidates)
    if not candidates:
        return _none()
    merge_distance = model.graph.merge_distance
    batches = sample_batches(
        *(candidates, model, seed, config, batch_size, random_start),
        on_device=lambda tables, batch, drawn: _finished(tables, batch, drawn, merge_distance),
        tables=finish_tables(),
    )
    rows, parts = [], []
    bar = tqdm(
        total=len(candidates), desc="sample", unit=" structures", disable=not progress, file=sys.stderr
    )
    row_of = {candidate.place: row for row, candidate in enumerate(candidates)}
    with bar:
        for batch, part in batches:
            count = len(batch.candidates)  # the other rows repeat the first
            rows += [row_of[candidate.place] for candidate in batch.candidates]
            parts.append(jax.tree.map(lambda column, n=count: column[:n], part))
            bar.update(count)
    # Joined on the host: on a device, it is a program to compile for each number of parts.
    order = np.argsort(rows)
    most = max(part.species.shape[1] for part in parts)
    columns = {
        name: jnp.asarray(np.concatenate([_padded(name, getattr(part, name), most) for part in parts])[order])
        for name in vars(parts[0])
    }
    return CrystalArrays(**columns)


def _finished(tables: Any, batch: Batch, drawn: Drawn, merge_distance: float) -> CrystalArrays:
    crystals: Any = batch.templates
    crystals = crystals._replace(frac_coords=drawn.frac_coords, lattice_params=drawn.lattice_params)
    run = _compiled(batch.shape.capacity, merge_distance)
    return run(tables, crystals, batch.letters, drawn.status, drawn.scores)


@lru_cache(maxsize=16)
def _compiled(capacity: ImageCapacity, merge_distance: float) -> Any:
    return jax.jit(finish_batch(capacity, merge_distance))


def _padded(name: str, column: np.ndarray, max_nodes: int) -> np.ndarray:
    """Returns a column with room for more sites."""
    if name not in _FILL or column.shape[1] == max_nodes:
        return column
    axes = [(0, 0), (0, max_nodes - column.shape[1])] + [(0, 0)] * (column.ndim - 2)
    return np.pad(column, axes, constant_values=_FILL[name])


def _none() -> CrystalArrays:
    """Returns no crystals."""
    rows = np.zeros(0, np.int32)
    batch = pad_and_stack([], 1), np.zeros((0, 1), np.int32), rows, np.zeros((0, 2), np.float32)
    shapes = jax.eval_shape(finish_batch(ImageCapacity(24, merge=False), 0.0), finish_tables(), *batch)
    return jax.tree.map(lambda column: jnp.zeros(column.shape, column.dtype), shapes)
