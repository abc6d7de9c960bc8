"""Predicts the run time of a sampling before it begins."""

import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.environment import num_cpus
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidates
from jaxcrystal.sampling.batches import Shape, by_shape
from jaxcrystal.sampling.programs import chains_together, rows_for
from jaxcrystal.score import count_params
from jaxcrystal.text import counted

#: Share of the rate of a matrix product that a Langevin step reaches on a CPU: `benchmarks/README.md`.
_EFFICIENCY = 0.15
#: A product of this size takes milliseconds, and is too large for a cache of the first level.
_SIZE = 512
#: Seconds of one core that the compilation of a shape takes, measured.
_COMPILATION = 8.0


#: Candidates that are looked at, evenly spread over a run.
_LOOKED_AT = 2**12


def describe_work(
    candidates: Candidates,
    model: Model,
    config: LangevinConfig,
    batch_size: int | None = None,
    processes: int = 1,
    counts: Mapping[Shape, int] | None = None,
) -> str:
    """Returns a line: structures, groups, shapes, and about how long they take.

    The time follows from the floating-point operations of the network and the rate of a matrix
    product, measured now; expect to be off by a factor of two.

    Args:
      candidates: to be drawn; of many, the shapes of some.
      model: trained.
      config: of the sampler.
      batch_size: structures on each device; None: what suits it.
      processes: that share the work.
      counts: of the whole run, see `stream.sample_stream`.
    """
    every = max(1, len(candidates) // _LOOKED_AT)
    some = candidates[::every]
    shapes = by_shape(some)
    devices = jax.local_devices()
    # Nearly every parameter is a weight of a dense layer and is used once for each edge.
    per_edge = 2.0 * count_params(model.params)
    operations, used = 0.0, 1
    for shape, members in shapes.items():
        number = round(len(members) * len(candidates) / len(some))
        wanted = counts[shape] if counts is not None else number
        rows = batch_size or rows_for(model, shape, devices[0], wanted, chains_together(config))[0]
        sharing = min(len(devices), -(-number // rows))
        rows, used = rows * sharing, max(used, sharing)
        padded = -(-number // rows) * rows
        operations += padded * shape.max_nodes * model.graph.max_neighbors * per_edge * config.evaluations
    sampling = operations / (_EFFICIENCY * _product_rate() * used * processes)
    compiling = _COMPILATION * len(shapes) / max(1, min(num_cpus(), len(shapes)))
    orders = candidates.drawn_orders()
    groups = len({order.space_group for order in orders})
    what = f"{counted(len(candidates), 'crystal')}: {counted(len(orders), 'order')} in"
    where = f"{counted(groups, 'space group')}, {counted(len(shapes), 'shape')} to compile"
    spent = f"about {_duration(compiling + sampling)} on {counted(used * processes, 'device')}"
    return f"{what} {where}; {spent} ({_duration(compiling)} of it compilation)"


def _product_rate() -> float:
    """Returns floating-point operations a second of a matrix product on one device."""
    matrix = jax.device_put(np.ones((_SIZE, _SIZE), np.float32), jax.local_devices()[0])
    product = jax.jit(lambda a: jnp.dot(a, a))
    product(matrix).block_until_ready()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        product(matrix).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2.0 * _SIZE**3 / float(np.median(seconds))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
