"""Sampling: orders in, finished crystals out."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxcrystal.ahead import Ahead
from jaxcrystal.crystal import Crystal
from jaxcrystal.data.batches import empty_crystals
from jaxcrystal.diffusion.langevin import LangevinConfig, anneal
from jaxcrystal.diffusion.noise import start
from jaxcrystal.environment import num_cpus
from jaxcrystal.errors import RequestError
from jaxcrystal.models.scores import NetworkConfig, make_estimate_fn
from jaxcrystal.sampling.orders import SYMBOLS, Order, make_order
from jaxcrystal.sampling.plan import Batch, Candidate, Shape, by_shape, make_batches
from jaxcrystal.sampling.samples import Sample, Samples, finish
from jaxcrystal.training.model import Model, load_model

#: Structures computed together on one device, fixed so that a structure does not depend on how
#: many are drawn or how many devices there are.
BATCH_SIZE = {"cpu": 8, "gpu": 256, "tpu": 256}
#: Sites of a batch that keep a core busy: of large structures fewer do, and fewer rows stay empty.
_BUSY_SITES = 64

#: (params, seed, hashes, numbers, templates) -> coordinates, lattice, flags, trajectory
Program = Callable[..., tuple[Array, Array, Array, tuple[Array, Array] | None]]


def sample(
    space_group: int | str | Sequence[int | str],
    sites: Mapping[str, int] | Mapping[str, str],
    count: int = 1,
    *,
    model: Model | str | Path | None = None,
    seed: int = 0,
    letters: str = "auto",
    steps_per_level: int | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Samples:
    """Samples crystals.

    Args:
      space_group: number (16-230) or Hermann-Mauguin symbol, or several of them.
      sites: element -> number of symmetry-inequivalent sites, such as
        `{"Ba": 1, "Ti": 1, "O": 1}`, or element -> Wyckoff letters, one a site, such as
        `{"Ba": "a", "Ti": "b", "O": "c"}`.
      count: structures for each group.
      model: a model or its folder; the bundled one by default.
      seed: a structure is the same to the last bit at the same seed, whatever else is
        drawn with it and on however many devices, on one machine and with one batch size.
      letters: for numbers of sites: `auto` draws Wyckoff letters by their frequency in
        the training data, `free` lets every site move in three dimensions.
      steps_per_level: Langevin steps at each noise level.
      config: all settings of the sampler; by default those that go with the model.
      batch_size: structures computed together on each device (all local ones are used; see
        `environment.use_all_cores` for CPUs), by default what suits it; changes results by
        rounding only.
      progress: show a bar with structures/s.

    Raises:
      RequestError: a request that makes no sense.
      DataError: the model cannot be read.
    """
    groups = [space_group] if isinstance(space_group, int | str) else list(space_group)
    orders = [make_order(group, sites, letters) for group in groups]
    model = model if isinstance(model, Model) else load_model(model)
    if steps_per_level is not None:
        try:
            config = replace(config or LangevinConfig(model.schedule), steps_per_level=steps_per_level)
        except ValueError as error:
            raise RequestError(str(error)) from error
    return sample_orders(orders, count, model, seed, config, batch_size, progress)


def sample_orders(
    orders: Sequence[Order],
    count: int | Sequence[int],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    random_start: bool = False,
) -> Samples:
    """Samples `count` structures of each order; see `sample`.

    Args:
      orders: of `make_order`; their structures stand in this order in the result. An order
        given twice gives the same structures twice.
      count: structures of each; one number for all, or one for each order.
      model: trained.
      seed: 0 to 2³² - 1.
      config: sampler settings.
      batch_size: rows of every batch on each device.
      progress: show a bar.
      random_start: return the states that sampling would start from, as a baseline.
    """
    counts = [count] * len(orders) if isinstance(count, int) else list(count)
    for name, value in (("count", min(counts, default=1)), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise RequestError(f"{name} is {value}; it must be at least 1")
    if not 0 <= seed < 2**32:
        raise RequestError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    config = config or LangevinConfig(model.schedule)
    candidates = [
        Candidate(place, order, number, order.draw_letters(model.letters, seed, number))
        for place, (order, number) in enumerate(
            (order, n) for order, wanted in zip(orders, counts, strict=True) for n in range(wanted)
        )
    ]
    # No more devices than there is work for.
    devices = tuple(jax.local_devices()[: -(-len(candidates) // (batch_size or _batch_size(1)))])
    merge_distance = model.network.graph.merge_distance
    results: dict[int, Sample] = {}
    bar = tqdm(
        total=len(candidates), desc="sample", unit=" structures", disable=not progress, file=sys.stderr
    )

    def collect(batch: Batch, output: Any) -> None:
        coords, lattice_params, flags, frames = jax.tree.map(np.asarray, output)
        for row, candidate in enumerate(batch.candidates):
            on_the_way = None if frames is None else (frames[0][:, row], frames[1][:, row])
            results[candidate.place] = finish(
                candidate, coords[row], lattice_params[row], int(flags[row]), merge_distance, on_the_way
            )
        bar.update(len(batch.candidates))

    def rows(shape: Shape) -> int:
        return (batch_size or _batch_size(shape.max_nodes)) * len(devices)

    shapes = by_shape(candidates)
    like = _avals(model.params)

    def program(shape: Shape) -> Program:
        if random_start:
            return compiled_start()
        return compiled(model.network, config, shape, rows(shape), devices, like)

    # Compilation takes seconds a shape, on one core each: the shapes to come are compiled beside.
    threads = max(1, min(num_cpus(), len(shapes)))
    with bar, closing(Ahead(program, shapes, threads)) as programs:
        running: tuple[Batch, Any] | None = None
        for batch in make_batches(shapes, rows):
            # The devices compute while the batch before is finished on the host.
            output = programs[batch.shape](
                model.params, np.uint32(seed), batch.hashes, batch.numbers, batch.templates
            )
            if running is not None:
                collect(*running)
            running = (batch, output)
        if running is not None:
            collect(*running)
    return Samples([results[place] for place in range(len(candidates))])


def unseen_elements(orders: Sequence[Order], model: Model) -> list[str]:
    """Returns the symbols of ordered elements that the model's training data does not have."""
    seen = set(model.info.get("elements", range(1, len(SYMBOLS))))
    return [SYMBOLS[z] for z in sorted({z for order in orders for z in order.elements} - seen)]


def _batch_size(max_nodes: int) -> int:
    """Returns the structures of one size that are computed together on a device."""
    backend = jax.default_backend()
    most = BATCH_SIZE.get(backend, 8)
    return most if backend != "cpu" else min(most, max(1, _BUSY_SITES // max_nodes))


def _avals(params: Any) -> tuple[Any, tuple[jax.ShapeDtypeStruct, ...]]:
    """Returns the structure and the types of parameters, which can be hashed."""
    leaves, structure = jax.tree.flatten(params)
    return structure, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)


@lru_cache(maxsize=64)
def compiled(
    network: NetworkConfig,
    config: LangevinConfig,
    shape: Shape,
    rows: int,
    devices: tuple[jax.Device, ...],
    params: tuple[Any, tuple[jax.ShapeDtypeStruct, ...]],
) -> Program:
    """Returns the compiled sampler of one shape, made once for each.

    Args:
      network: of the model.
      config: of the sampler.
      shape: of its structures.
      rows: structures of a batch, on all devices.
      devices: that share each batch.
      params: structure and types of the model's parameters.
    """
    estimate = make_estimate_fn(network, shape.capacity)

    def run(params: Any, seed: Array, hashes: Array, numbers: Array, templates: Crystal) -> Any:
        states, trajectory = anneal(estimate, params, _keys(seed, hashes, numbers), templates, config)
        crystal = states.crystal
        frames = None if trajectory is None else (trajectory.frac_coords, trajectory.lattice_params)
        return crystal.frac_coords, crystal.lattice_params, states.status, frames

    # Structures do not depend on one another: each device runs the loop on its own rows.
    mesh = Mesh(np.array(devices), ("structures",))
    whole, part, frames = PartitionSpec(), PartitionSpec("structures"), PartitionSpec(None, "structures")
    specs = (whole, whole, part, part, part)
    shared = jax.shard_map(
        run, mesh=mesh, in_specs=specs, out_specs=(part, part, part, frames), check_vma=False
    )
    numbers = np.zeros(rows, np.uint32)
    inputs = (jax.tree.unflatten(*params), np.uint32(0), numbers, numbers)
    program = jax.jit(shared, in_shardings=tuple(NamedSharding(mesh, spec) for spec in specs))
    return program.lower(*inputs, empty_crystals(rows, shape.max_nodes)).compile()


@lru_cache(maxsize=1)
def compiled_start() -> Program:
    """Returns the compiled draw of what sampling starts from, without a network."""

    def run(params: Any, seed: Array, hashes: Array, numbers: Array, templates: Crystal) -> Any:
        del params
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(_keys(seed, hashes, numbers))
        crystal = jax.vmap(start)(keys, templates)
        flags = jnp.zeros(crystal.space_group.shape, jnp.int32)
        return crystal.frac_coords, crystal.lattice_params, flags, None

    return jax.jit(run)


def _keys(seed: Array, hashes: Array, numbers: Array) -> Array:
    """The key of a structure depends on the seed, its order and its number there only."""
    key = jax.random.key(seed)
    return jax.vmap(lambda h, n: jax.random.fold_in(jax.random.fold_in(key, h), n))(hashes, numbers)
