"""Finds the space group and the cells of a structure: the one place that calls spglib's search.

spglib does not check for numbers that are not finite and ends the process on them, so no such
structure reaches it: like one that it finds no symmetry in, it has no group and no other cell.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import spglib
from jaxtyping import Float, Int

from jaxcrystal.symmetry.groups import group_tables

#: Å; tolerance with which the group is found, and the strict one beside it.
SYMPREC = 0.1
STRICT_SYMPREC = 0.01
#: Å; squares of longer axes are no numbers to compare.
_LONGEST = 1e12

#: Lattice [3, 3] (rows are vectors, Å), species [n] and fractional coordinates [n, 3].
Cell = tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]
_T = TypeVar("_T")


def is_searchable(lattice: Float[np.ndarray, "3 3"], frac_coords: Float[np.ndarray, "atoms 3"]) -> bool:
    """Returns whether a structure may be given to spglib, or to a library that gives it there.

    Its numbers are finite, it has atoms, and the cell a volume.
    """
    if not (len(frac_coords) and np.isfinite(lattice).all() and np.isfinite(frac_coords).all()):
        return False
    return bool(np.abs(lattice).max() < _LONGEST and np.linalg.matrix_rank(lattice) == 3)


def find_group(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> int:
    """Returns the space group that spglib finds, 0 if none (atoms too close, say).

    Of cells that differ in size only, few are searched. spglib has no call that finds the group
    and leaves the rest: for each orbit it also goes through all letters, from the general
    position on, in n² steps each for n operations of the conventional cell, which is 8 ms for
    each of the two atoms of NaCl. But what it finds depends on the tolerance relative to the
    cell, and a larger one can only add operations: between two tolerances that found as many, it
    finds the same.
    """
    size = float(np.abs(lattice).max())  # of a cubic cell the shape is then the same to the last bit
    if not (np.isfinite(size) and size > 0):
        return 0
    shape = np.asarray(lattice, np.float64) / size
    arrays = shape, np.asarray(species, np.int64), np.asarray(frac_coords, np.float64)
    found = _found(*(np.ascontiguousarray(array).tobytes() for array in arrays))
    tolerance = symprec / size
    for known in found:
        if known.least <= tolerance <= known.most:
            return known.number
    result = _search(spglib.get_symmetry_dataset, (lattice, species, frac_coords), symprec=symprec)
    if result is None:
        return 0
    _note(found, int(result.number), len(result.rotations), tolerance)
    return int(result.number)


@dataclass
class _Range:
    """Tolerances, relative to the cell, between which a structure has a group."""

    number: int
    num_ops: int
    least: float
    most: float


@lru_cache(maxsize=1024)
def _found(shape: bytes, species: bytes, frac_coords: bytes) -> list[_Range]:
    """Returns what has been found of structures that differ in size only; to be added to."""
    return []


def _note(found: list[_Range], number: int, num_ops: int, tolerance: float) -> None:
    for known in found:
        if (known.number, known.num_ops) == (number, num_ops):
            known.least, known.most = min(known.least, tolerance), max(known.most, tolerance)
            return
    found.append(_Range(number, num_ops, tolerance, tolerance))


def find_orbits(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> tuple[int, Int[np.ndarray, " atoms"]]:
    """Returns what `find_group` does, and for each atom the first one of its orbit.

    Without a group, every atom is an orbit.
    """
    found = _search(spglib.get_symmetry_dataset, (lattice, species, frac_coords), symprec=symprec)
    if found is None:
        return 0, np.arange(len(species))
    return int(found.number), np.array(found.crystallographic_orbits)


def standard_dataset(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> Any:
    """Returns spglib's data set in the setting of `group_tables`, None if it finds no group."""
    cell = (lattice, species, frac_coords)
    found = _search(spglib.get_symmetry_dataset, cell, symprec=symprec)
    if found is None:
        return None
    hall_number = int(group_tables().hall_number[found.number])
    if found.hall_number == hall_number:
        return found
    return _search(spglib.get_symmetry_dataset, cell, symprec=symprec, hall_number=hall_number)


def find_primitive_cell(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> Cell | None:
    """Returns the primitive cell as spglib standardises it; None if it finds none."""
    return _as_cell(_search(spglib.find_primitive, (lattice, species, frac_coords), symprec=symprec))


def find_conventional_cell(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    symprec: float,
) -> Cell | None:
    """Returns the conventional cell, the atoms where they were; None if no group is found."""
    cell = (lattice, species, frac_coords)
    return _as_cell(
        _search(spglib.standardize_cell, cell, to_primitive=False, no_idealize=True, symprec=symprec)
    )


def niggli_axes(lattice: Float[np.ndarray, "3 3"], eps: float = 1e-5) -> Float[np.ndarray, "3 3"]:
    """Returns the integers [3, 3] whose product with a lattice is its Niggli cell, of the same handedness.

    Args:
      lattice: [3, 3] rows are vectors, Å.
      eps: differences of squared lengths that are no difference, over the sum of the three.
    Returns:
      Rows are the new axes in the old ones; the identity for a lattice that spglib cannot reduce.
    """
    with np.errstate(all="ignore"):
        if not (np.isfinite(lattice).all() and abs(np.linalg.det(lattice)) > 1e-6):
            return np.eye(3)
    try:
        with _quiet_spglib():  # it compares squared lengths as they are
            reduced = spglib.niggli_reduce(lattice, eps=eps * float(np.square(lattice).sum()))
    except Exception:  # versions to come raise what 2.7 returns as None
        reduced = None
    if reduced is None:
        return np.eye(3)
    axes = np.round(reduced @ np.linalg.inv(lattice))
    return np.asarray(axes * np.sign(np.linalg.det(axes)))


def group_of_operations(
    rotations: Int[np.ndarray, "operations 3 3"],
    translations: Float[np.ndarray, "operations 3"],
    lattice: Float[np.ndarray, "3 3"],
) -> int:
    """Returns the number of the space group that operations on fractional coordinates are of, 0 if unclear.

    Args:
      rotations: of a group, with all centring.
      translations: as many.
      lattice: [3, 3] of a cell that has them, rows are vectors, Å.
    """
    if not is_searchable(lattice, translations):
        return 0
    with _quiet_spglib():
        try:
            found = spglib.get_spacegroup_type_from_symmetry(
                rotations, translations, lattice=lattice, symprec=1e-3
            )
        except Exception:  # spglib's own error type differs between its versions
            return 0
    return 0 if found is None else int(found.number)


def _search(search: Callable[..., _T], cell: Cell, **settings: Any) -> _T | None:
    """Returns what a function of spglib finds, None if nothing or where it must not be asked."""
    lattice, species, frac_coords = cell
    if not is_searchable(lattice, frac_coords):
        return None
    with _quiet_spglib():
        try:
            return search((lattice, frac_coords, species), **settings)
        except Exception:  # spglib's own error type differs between its versions
            return None


def _as_cell(found: Any) -> Cell | None:
    if found is None:
        return None
    lattice, frac_coords, species = found
    return lattice, np.array(species), frac_coords


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
