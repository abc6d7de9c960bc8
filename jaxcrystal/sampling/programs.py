"""Compiles the sampler of each shape, and decides how many structures it takes at once."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcrystal.background import Background
from jaxcrystal.cache import keep_programs
from jaxcrystal.crystal import Crystal, empty, pad_and_stack
from jaxcrystal.diffusion.noise import start
from jaxcrystal.diffusion.search import anneal_best
from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.environment import num_cpus
from jaxcrystal.errors import DataError
from jaxcrystal.graph.neighbors import GraphConfig
from jaxcrystal.model import Model
from jaxcrystal.sampling.batches import Shape
from jaxcrystal.score import make_score, widest_layer
from jaxcrystal.structures.finished import Drawn

#: Structures that may be computed together on one device: each number is a program to compile.
LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
#: Sites of a batch that keep a core of a CPU busy, and the most structures: more take longer each.
_BUSY_SITES, _BUSY_ROWS = 64, 8
#: Smaller batches are taken where they leave out more than a tenth of the rows that are computed.
_FULL = 0.9
#: Of a device's free memory, what a batch may be expected to take.
_MEMORY_SHARE = 0.5
#: Values on each edge that are held at a time, in units of the network's width.
_LIVE_ARRAYS = 48

#: (params, seed, hashes, numbers, templates, cond) -> results of the batch
Program = Callable[..., Drawn]
#: A shape, the structures of a batch over all devices, and the chains of each that are run at once.
Size = tuple[Shape, int, int]


class Programs:
    """Compiled samplers, made in the background before they are asked for.

    Args:
      model: trained.
      config: of the sampler.
      todo: structures of each shape to draw, in the order in which the shapes will be asked for; there may
        be more of them, and other shapes, later.
      devices: that may share each batch; no more of them than there is work for.
      batch_size: structures on each device; None: what suits it and them, see `rows_for`.
      random_start: programs return what sampling starts from.
      counts: structures of each shape from which the rows of a batch follow; None: those to draw.
    """

    def __init__(
        self,
        model: Model,
        config: LangevinConfig,
        todo: Mapping[Shape, int],
        devices: Sequence[jax.Device],
        batch_size: int | None = None,
        random_start: bool = False,
        counts: Mapping[Shape, int] | None = None,
    ) -> None:
        keep_programs()
        self._best_of, self._batch_size = config.best_of, batch_size
        self._rows: dict[Shape, int] = {}
        self._chains: dict[Shape, int] = {}
        wanted = defaultdict(lambda: LADDER[-1], todo) if counts is None else counts
        chains = chains_together(config)
        self._rows_for = lambda shape: rows_for(model, shape, devices[0], wanted[shape], chains)
        for shape in todo:
            self._settle(shape)
        batches = (-(-count // self._rows[shape]) for shape, count in todo.items())
        self._devices = tuple(devices[: max(batches, default=1)])
        like = _avals(model.params)

        def make(size: Size) -> Program:
            if random_start:
                return compiled_start()
            shape, rows, chains = size
            what = model.module, model.graph, config, shape, rows, self._devices, like, model.conditions
            return compiled(*what, chains)

        # Compilation takes seconds a shape, on one core each: the shapes to come are compiled beside.
        sizes = [self.size(shape) for shape in todo]
        self._programs = Background(make, sizes, threads=max(1, min(num_cpus(), len(sizes))))

    def __getitem__(self, size: Size) -> Program:
        return self._programs[size]

    def size(self, shape: Shape) -> Size:
        """Returns the size that the next batch of a shape has."""
        return shape, self.rows(shape), self._chains[shape]

    def _settle(self, shape: Shape) -> None:
        """Decides how many structures of a shape are drawn at once, and how many of their chains."""
        rows, most = self._rows_for(shape)
        self._rows[shape] = self._batch_size or rows
        self._chains[shape] = even_share(self._best_of, most // self._rows[shape])

    def rows(self, shape: Shape) -> int:
        """Returns the structures of a batch, over all devices."""
        if shape not in self._rows:  # of a later window
            self._settle(shape)
        return self._rows[shape] * len(self._devices)

    def on_each_device(self, arrays: Any) -> Any:
        """Returns a pytree of arrays that lie on all devices: others are copied there by every call."""
        mesh = Mesh(np.array(self._devices), ("structures",))
        return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))

    def shrink(self, size: Size, error: Exception) -> None:
        """Halves the batches of a size that memory was not enough for: first chains, then structures.

        Two batches are under way at a time: where both ran out of memory, they are halved once.

        Raises:
          DataError: they are of one structure already.
        """
        shape = size[0]
        if size != self.size(shape):
            return
        if self._chains[shape] > 1:
            self._chains[shape] = even_share(self._best_of, self._chains[shape] // 2)
            return
        if self._rows[shape] == 1:
            raise DataError(
                f"out of memory with one structure of {shape.max_nodes} sites on each device: "
                f"{str(error).splitlines()[0][:200]}"
            ) from error
        self._rows[shape] //= 2

    def close(self) -> None:
        """Ends what is still being compiled."""
        self._programs.close()


def chains_together(config: LangevinConfig) -> int:
    """Returns how many chains of a structure are rows of one batch, if there is room.

    Where chains are chosen among on their way it is one: those that go on would leave the device with little
    to do. Rooms that are left are filled with chains all the same.
    """
    return config.best_of if len(config.stages) == 1 else 1


def even_share(total: int, most: int) -> int:
    """Returns how many of `total` are done at once, at most `most`, in turns of about equal size."""
    turns = -(-total // max(1, most))
    return -(-total // turns)


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether an error means that a device's memory is exhausted."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def rows_for(model: Model, shape: Shape, device: jax.Device, count: int, chains: int = 1) -> tuple[int, int]:
    """Returns how many structures of one shape are computed together on a device, a step of `LADDER`.

    So many as hold all that are wanted, or as the device takes with all their chains, or half of
    these where far fewer rows are left empty then. It does not depend on the number of devices, so that a
    structure does not.

    Args:
      model: whose network it is.
      shape: of the structures.
      device: one of those that compute them.
      count: structures of this shape in the whole run.
      chains: of each structure that go all the way together.
    Returns:
      The structures, and the most chains of any that the device takes at once.
    """
    if device.platform == "cpu":
        most = min(_BUSY_ROWS, _BUSY_SITES // shape.max_nodes)
    else:
        most = rows_in_memory(model, shape, LADDER[-1], device.memory_stats() or {})
    fitting = [rows for rows in LADDER if rows <= max(1, most // chains)]
    if count <= fitting[-1]:
        return next(rows for rows in fitting if rows >= count), max(1, most)
    computed = {rows: -(-count // rows) * rows for rows in fitting[-2:]}
    least = min(computed, key=computed.__getitem__)
    return (least if computed[least] < _FULL * computed[fitting[-1]] else fitting[-1]), max(1, most)


def rows_in_memory(model: Model, shape: Shape, most: int, memory: Mapping[str, int]) -> int:
    """Returns how many structures of one shape an accelerator takes at once.

    Args:
      model: whose network it is.
      shape: of the structures.
      most: however much memory there is.
      memory: of `jax.Device.memory_stats`.
    """
    free = memory.get("bytes_limit", 0) - memory.get("bytes_in_use", 0)
    if free <= 0:  # the device does not report it
        return most
    return max(1, min(most, int(_MEMORY_SHARE * free / bytes_per_structure(model, shape))))


def bytes_per_structure(model: Model, shape: Shape) -> int:
    """Returns about what the sampling of one structure holds in memory at a time.

    Nearly all of it are the layers' values on its edges: 31 to 43 arrays as wide as the network
    at a time, by XLA's account on a CPU (`Compiled.memory_analysis`).
    """
    edges = shape.max_nodes * model.graph.max_neighbors
    return 4 * _LIVE_ARRAYS * edges * widest_layer(model.params)


@lru_cache(maxsize=64)
def compiled(
    module: Any,
    graph: GraphConfig,
    config: LangevinConfig,
    shape: Shape,
    rows: int,
    devices: tuple[jax.Device, ...],
    params: tuple[Any, tuple[jax.ShapeDtypeStruct, ...]],
    conditions: tuple[str, ...],
    chains: int = 1,
) -> Program:
    """Returns the compiled sampler of one shape, made once for each.

    Args:
      module: Flax module of the network.
      graph: which atoms are neighbours.
      config: of the sampler.
      shape: of its structures.
      rows: structures of a batch, on all devices.
      devices: that share each batch.
      params: structure and types of the model's parameters.
      conditions: names of the conditions that the network gets.
      chains: of each structure that are run at once.
    """
    program = sampler(module, graph, config, shape, devices, chains)
    numbers = np.zeros(rows, np.uint32)
    inputs = (jax.tree.unflatten(*params), np.uint32(0), numbers, numbers)
    templates = pad_and_stack([empty(0)] * rows, shape.max_nodes)
    cond = {name: np.zeros(rows, np.float32) for name in conditions} or None
    return program.lower(*inputs, templates, cond).compile()


def sampler(
    module: Any,
    graph: GraphConfig,
    config: LangevinConfig,
    shape: Shape,
    devices: tuple[jax.Device, ...],
    chains: int = 1,
) -> Any:
    """Returns the sampler of one shape as a function of jax that is still to be compiled: a `Program`.

    Args: see `compiled`.
    """
    score = make_score(module, graph, shape.capacity)

    def run(params: Any, seed: Array, hashes: Array, numbers: Array, templates: Crystal, cond: Any) -> Drawn:
        keys = _keys(seed, hashes, numbers)
        found = anneal_best(keys, templates, partial(score, params), config, cond, chains)
        crystal, frames = found.state.crystal, None
        if found.trajectory is not None:
            frames = found.trajectory.frac_coords, found.trajectory.lattice_params
        state = found.state
        return Drawn(crystal.frac_coords, crystal.lattice_params, state.status, state.scores, frames)

    # Structures do not depend on one another: each device runs the loop on its own rows.
    mesh = Mesh(np.array(devices), ("structures",))
    whole, part, frames = PartitionSpec(), PartitionSpec("structures"), PartitionSpec(None, "structures")
    specs = (whole, whole, part, part, part, part)
    kept: Any = frames if config.trajectory_every else None
    out_specs = Drawn(part, part, part, part, kept)
    shared = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)
    return jax.jit(shared, in_shardings=tuple(NamedSharding(mesh, spec) for spec in specs))


@lru_cache(maxsize=1)
def compiled_start() -> Program:
    """Returns the compiled draw of what sampling starts from, without a network."""

    def run(params: Any, seed: Array, hashes: Array, numbers: Array, templates: Crystal, cond: Any) -> Drawn:
        del params, cond
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(_keys(seed, hashes, numbers))
        crystal = jax.vmap(start)(keys, templates)
        flags = jnp.zeros(crystal.space_group.shape, jnp.int32)
        scores = jnp.full((*flags.shape, 2), jnp.nan)
        return Drawn(crystal.frac_coords, crystal.lattice_params, flags, scores, None)

    return jax.jit(run)


def _avals(params: Any) -> tuple[Any, tuple[jax.ShapeDtypeStruct, ...]]:
    """Returns the structure and the types of parameters, which can be hashed."""
    leaves, structure = jax.tree.flatten(params)
    return structure, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)


def _keys(seed: Array, hashes: Array, numbers: Array) -> Array:
    """The key of a structure depends on the seed, its order and its number there only."""
    key = jax.random.key(seed)
    return jax.vmap(lambda h, n: jax.random.fold_in(jax.random.fold_in(key, h), n))(hashes, numbers)
