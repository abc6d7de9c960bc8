"""The space group of a structure: the one place that calls spglib's search."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import spglib
from jaxtyping import Float, Int

#: Å; tolerance with which the group is looked for, and the strict one beside it.
SYMPREC = 0.1


STRICT_SYMPREC = 0.01


def find_group(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> int:
    """Returns the space group that spglib finds, 0 if none (atoms too close, say)."""
    return find_orbits(lattice, species, frac_coords, symprec)[0]


def find_orbits(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> tuple[int, Int[np.ndarray, " atoms"]]:
    """Returns what `find_group` does, and for each atom the first one of its orbit.

    Without a group, every atom is an orbit.
    """
    with _quiet_spglib():
        try:
            found = spglib.get_symmetry_dataset((lattice, frac_coords, species), symprec=symprec)
        except Exception:  # spglib's own error type differs between its versions
            found = None
    if found is None:
        return 0, np.arange(len(species))
    return int(found.number), np.array(found.crystallographic_orbits)


@contextmanager
def _quiet_spglib() -> Iterator[None]:
    """Its warnings go past Python, straight into the progress bar."""
    before = os.environ.get("SPGLIB_WARNING")
    os.environ["SPGLIB_WARNING"] = "OFF"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SPGLIB_WARNING"]
        else:
            os.environ["SPGLIB_WARNING"] = before
