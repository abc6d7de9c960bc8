"""Several devices and hosts: the batch is shared among them, the state stands on each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from jaxcrystal.errors import DataError

#: Name of the mesh axis over which a batch is shared.
AXIS = "data"


def initialize(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Joins this process to the others of a run; before anything else uses jax.

    Args:
      coordinator: HOST:PORT of process 0; None where a cluster's launcher tells jax all three.
      processes: of the run.
      process_id: of this one, from 0.

    Raises:
      DataError: the others cannot be found.
    """
    try:
        jax.distributed.initialize(coordinator, processes, process_id)
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
