"""Puts batches on the devices: rows of arrays that are there, or batches made ahead on the host."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcrystal.crystal import BUCKETS, Crystal
from jaxcrystal.data.batches import BucketSampler, to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.training.parallel import place, replicated, shared

#: (bucket, constrained): the batches that one compiled update serves.
Shape = tuple[int, bool]
#: Batches that the host makes ahead.
_AHEAD = 2


class Batch(NamedTuple):
    """Structures of one update, on the devices.

    Attributes:
      shape: which update it is for.
      crystals: the batch itself, or all structures of its shape.
      rows: [batch] which of them; None where `crystals` is the batch.
      cond: conditions of each of `crystals`, by name; None: none.
    """

    shape: Shape
    crystals: Crystal
    rows: jax.Array | None
    cond: dict[str, jax.Array] | None


class _Pool(NamedTuple):
    """All structures of a shape."""

    crystals: Crystal
    cond: Any
    capacity: ImageCapacity


class Inputs:
    """The batch of every step, a function of the step alone.

    Args:
      dataset: prepared structures.
      indices: [structures] those that are trained on.
      sampler: which of them make up each step.
      device_gib: GiB that they may take of each device; beyond it, batches are made on the host.
      mesh: of several devices; None for one.
      conditions: names of the columns that the network gets.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: np.ndarray,
        sampler: BucketSampler,
        device_gib: float = 1.0,
        mesh: Mesh | None = None,
        conditions: Sequence[str] = (),
    ) -> None:
        self._dataset, self._sampler, self._mesh = dataset, sampler, mesh
        self._cond = {
            name: column.astype(np.float32) for name, column in dataset.conditions(conditions).items()
        }
        sizes = np.asarray(BUCKETS)[np.searchsorted(BUCKETS, dataset.num_sites[indices])]
        self._members = {int(bucket): indices[sizes == bucket] for bucket in np.unique(sizes)}
        self._row = np.full(len(dataset), -1, np.int32)
        for members in self._members.values():
            self._row[members] = np.arange(len(members))
        kinds = 1 + (0.0 < sampler.constrained_share < 1.0)
        self.gib = kinds * sum(len(rows) * _bytes(n) for n, rows in self._members.items()) / 2**30
        self.resident = self.gib <= device_gib
        self._pools: dict[Shape, _Pool] = {}
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[Batch]] = {}

    def close(self) -> None:
        """Ends the thread that makes batches."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def at(self, step: int) -> Batch:
        """Returns the batch of a step."""
        if self.resident:
            return self._make(step)
        self._ahead = {n: batch for n, batch in self._ahead.items() if step <= n <= step + _AHEAD}
        for number in range(step, step + _AHEAD + 1):
            if number not in self._ahead:
                self._ahead[number] = self._thread.submit(self._make, number)
        return self._ahead.pop(step).result()

    def first(self) -> tuple[Crystal, Any]:
        """Returns one structure and its conditions, which give shapes and dtypes."""
        bucket, members = next(iter(self._members.items()))
        crystals = to_crystals(self._dataset, members[:1], bucket, True)
        return jax.tree.map(lambda array: array[0], (crystals, self._told(members[:1])))

    def capacity(self, shape: Shape) -> ImageCapacity:
        """Returns the room that every structure of a shape has in the neighbour search."""
        return self._pool(shape).capacity

    def example(self, shape: Shape) -> tuple[Crystal, jax.ShapeDtypeStruct | None, Any]:
        """Returns what `at` gives as `crystals`, `rows` and `cond`, by shape and dtype."""
        pool = self._pool(shape)
        size = self._sampler.batch_size(shape[0])
        parts, whole = shared(self._mesh), replicated(self._mesh)
        lead = () if self.resident else (size,)
        crystals, cond = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(
                lead + array.shape[len(lead) :], array.dtype, sharding=whole if self.resident else parts
            ),
            (pool.crystals, pool.cond),
        )
        rows = jax.ShapeDtypeStruct((size,), np.int32, sharding=parts) if self.resident else None
        return crystals, rows, cond

    def shapes(self, steps: range) -> Iterator[Shape]:
        """Yields the shapes of the batches of some steps, in the order of their first use."""
        seen = set()
        for step in steps:
            shape = self._sampler.shape(step)
            if shape not in seen:
                seen.add(shape)
                yield shape

    def _make(self, step: int) -> Batch:
        bucket, constrained, chosen = self._sampler.batch(step)
        pool, rows = self._pool((bucket, constrained)), self._row[chosen]
        if self.resident:
            return Batch((bucket, constrained), pool.crystals, place(rows, shared(self._mesh)), pool.cond)
        batch = jax.tree.map(lambda array: array[rows], (pool.crystals, pool.cond))
        crystals, cond = place(batch, shared(self._mesh))
        return Batch((bucket, constrained), crystals, None, cond)

    def _told(self, indices: np.ndarray) -> dict[str, np.ndarray] | None:
        """Returns the conditions of structures; None: there are none."""
        return {name: column[indices] for name, column in self._cond.items()} or None

    def _pool(self, shape: Shape) -> _Pool:
        with self._lock:  # the threads that compile and that make batches ask too
            if shape not in self._pools:
                bucket, constrained = shape
                crystals = to_crystals(self._dataset, self._members[bucket], bucket, constrained)
                cond, capacity = (
                    self._told(self._members[bucket]),
                    ImageCapacity.fitting(crystals, constrained),
                )
                if self.resident:
                    crystals, cond = place((crystals, cond), replicated(self._mesh))
                self._pools[shape] = _Pool(crystals, cond, capacity)
            return self._pools[shape]


def _bytes(bucket: int) -> int:
    """Returns the size of one padded structure."""
    # Of a site: number, coordinates, mask, operations, projection; then lattice and group.
    return bucket * (4 + 12 + 1 + 48 + 36) + 24 + 4
