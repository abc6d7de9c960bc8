"""Joins several devices and hosts: each gets a part of every batch and the whole state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxcrystal.errors import DataError

#: Name of the mesh axis over which a batch is shared.
AXIS = "data"


def initialize(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Joins this process to the others of a run; before anything else uses jax.

    Args:
      coordinator: HOST:PORT of process 0; None where jax takes all three from a cluster's launcher.
      processes: of the run.
      process_id: of this one, from 0.

    Raises:
      DataError: the others cannot be found.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process_id)
        # The first exchange gives up after 30 s on a CPU: now, before one reads its data longer.
        multihost_utils.sync_global_devices("jaxcrystal")
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"cannot join the other processes: {reason} (without a launcher that jax knows, give "
            "--coordinator HOST:PORT --processes N --process-id I)"
        ) from error


def data_mesh(batch_size: int) -> Mesh | None:
    """Returns the mesh of all devices of all processes; None for a single device.

    Raises:
      DataError: the devices cannot have equal parts of a batch.
    """
    devices = jax.devices()
    count = len(devices)
    if count == 1:
        return None
    if batch_size % count:
        fitting = sorted({max(1, batch_size // count) * count, -(-batch_size // count) * count})
        raise DataError(
            f"optimizer.batch_size is {batch_size}; {count} devices share a batch equally: give "
            f"{' or '.join(map(str, fitting))}"
        )
    return Mesh(np.array(devices), (AXIS,))


def replicated(mesh: Mesh | None) -> Sharding | None:
    """Returns the sharding of what every device holds whole."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def shared(mesh: Mesh | None) -> Sharding | None:
    """Returns the sharding of a batch: equal parts of the first axis."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec(AXIS))


def place(tree: Any, sharding: Sharding | None) -> Any:
    """Returns arrays on the devices; every process gives the same ones.

    Args:
      tree: of arrays on the host or one device.
      sharding: None for a single device, where arrays that are on it stay as they are.
    """
    if sharding is None:
        return jax.tree.map(jnp.asarray, tree)

    def put(array: Any) -> jax.Array:
        # Copies: a device made of a processor may keep the memory that it is given, and an
        # update takes its state's.
        host = np.array(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: np.array(host[index]))

    return jax.tree.map(put, tree)


def is_main() -> bool:
    """Returns whether this process is the one that writes logs and models."""
    return jax.process_index() == 0


def main_first(action: Callable[[], None]) -> None:
    """Does something in the main process only, and before any other goes on.

    Raises:
      DataError: it could not be done; in every process, so that none waits for the others.
    """
    error = None
    if is_main():
        try:
            action()
        except DataError as raised:
            error = raised
    if jax.process_count() > 1:
        failed = multihost_utils.broadcast_one_to_all(np.int32(error is not None))
        if failed and error is None:
            raise DataError("process 0 cannot go on, and says why")
    if error is not None:
        raise error
