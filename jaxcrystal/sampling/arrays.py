"""Samples crystals as arrays: nothing is done crystal by crystal once they are planned."""

from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.batches import Batch, by_shape, make_batch
from jaxcrystal.sampling.programs import Programs, is_out_of_memory
from jaxcrystal.sampling.stream import require_conditions
from jaxcrystal.structures.crystal_arrays import CrystalArrays
from jaxcrystal.structures.finish import finish_batch
from jaxcrystal.structures.finish_tables import finish_tables
from jaxcrystal.structures.finished import Drawn


def sample_arrays(
    candidates: Sequence[Candidate],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
) -> CrystalArrays:
    """Samples crystals and finishes them on the device.

    Args:
      candidates: of `make_candidates`, at least one.
      model: trained.
      seed: 0 to 2³² - 1.
      config: sampler settings; a trajectory is not kept.
      batch_size: rows of every batch on each device; None: what suits it.
    Returns:
      All crystals in their order, padded to the sites of the largest.

    Raises:
      RequestError: conditions that are not the model's.
      DataError: one structure is too much for the memory.
    """
    require_conditions(model, [name for name, _ in candidates[0].cond])
    config = config or LangevinConfig(model.sampling_schedule)
    shapes = by_shape(candidates)
    counts = {shape: len(members) for shape, members in shapes.items()}
    max_nodes = max(shape.max_nodes for shape in shapes)
    parts, places = [], []
    with closing(Programs(model, config, counts, jax.local_devices(), batch_size)) as programs:
        for shape, members in shapes.items():
            while members:
                rows = programs.rows(shape)
                batch = make_batch(shape, members[:rows], rows)
                try:
                    drawn = programs[shape](
                        *(model.params, np.uint32(seed), batch.hashes, batch.numbers),
                        *(batch.templates, batch.cond),
                    )
                    part = _finished(batch, drawn, model.graph.merge_distance)
                    jax.block_until_ready(part.valid)
                except jax.errors.JaxRuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    programs.shrink(shape, error)
                    continue
                parts.append(_padded(part, len(batch.candidates), max_nodes))
                places += [candidate.place for candidate in batch.candidates]
                members = members[rows:]
    order = np.argsort(places)
    return jax.tree.map(lambda *columns: jnp.concatenate(columns)[order], *parts)


def _finished(batch: Batch, drawn: Drawn, merge_distance: float) -> CrystalArrays:
    crystals: Any = batch.templates
    crystals = crystals._replace(frac_coords=drawn.frac_coords, lattice_params=drawn.lattice_params)
    run = _compiled(batch.shape.capacity, merge_distance)
    return run(finish_tables(), crystals, batch.letters, drawn.status, drawn.scores)


@lru_cache(maxsize=16)
def _compiled(capacity: ImageCapacity, merge_distance: float) -> Any:
    return jax.jit(finish_batch(capacity, merge_distance))


def _padded(part: CrystalArrays, count: int, max_nodes: int) -> CrystalArrays:
    """Returns the first rows, with room for more sites."""
    missing = max_nodes - part.species.shape[1]

    def pad(array: Any, fill: int = 0) -> Any:
        axes = [(0, 0)] * array.ndim
        axes[1] = (0, missing)
        return jnp.pad(array, axes, constant_values=fill)

    part = jax.tree.map(lambda array: array[:count], part)
    if not missing:
        return part
    return CrystalArrays(
        **{name: pad(getattr(part, name)) for name in ("species", "frac_coords", "site_ops")},
        letters=pad(part.letters, -1),
        **{name: getattr(part, name) for name in _OF_CRYSTALS},
    )


#: Fields without an axis of sites.
_OF_CRYSTALS = (
    "lattice_params",
    "space_group",
    "num_atoms",
    "volume_per_atom",
    "shortest_distance",
    "status",
    "valid",
    "scores",
)
