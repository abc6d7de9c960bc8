"""Errors and status flags, each with a message that says what to change.

Two kinds. A `Status` is raised by compiled code: bits that are OR-ed through a
scan and freeze one structure only. A `JaxcrystalError` is raised on the host: one
line with what was given, what was expected and what to change.
"""

import enum

import jax.numpy as jnp
from jax import Array


class Status(enum.IntFlag):
    """Bits of the status that travels with every structure on the device."""

    OK = 0
    #: The fixed grid of lattice vectors does not reach every neighbour.
    LATTICE_VECTORS = 1
    #: More distinct atom images than `max_images` slots.
    IMAGES = 2
    #: A coordinate or lattice parameter is NaN or infinite.
    NON_FINITE = 4

    def describe(self) -> str:
        """Returns the flags in words, `ok` for none."""
        words = {
            Status.LATTICE_VECTORS: "the cell became too flat or too small for the neighbour search "
            "(the model's graph.lattice_vectors)",
            Status.IMAGES: "more atom images than the neighbour search has room for (max_images)",
            Status.NON_FINITE: "coordinates or lattice became non-finite",
        }
        return "; ".join(text for flag, text in words.items() if self & flag) or "ok"


def flag_if(condition: Array, flag: Status) -> Array:
    """Returns `flag` as int32 where `condition` holds, 0 elsewhere."""
    return jnp.where(condition, jnp.int32(int(flag)), jnp.int32(0))


class JaxcrystalError(Exception):
    """A mistake of the input that the command line reports in one line."""


class DataError(JaxcrystalError):
    """A structure, data file or model file that cannot be used."""


class RequestError(JaxcrystalError, ValueError):
    """A request (group, element, letter, count) that makes no sense."""


def one_line(error: Exception, limit: int = 200) -> str:
    """Returns an exception as one line; those of libraries with their type, which tells more than the text.

    Args:
      error: any.
      limit: characters at most.
    """
    text = " ".join(str(error).split())
    return (text if isinstance(error, JaxcrystalError) else f"{type(error).__name__}: {text}")[:limit]
