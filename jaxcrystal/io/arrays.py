"""Reads the `.npz` files of `data.dataset`: crystals as arrays of inequivalent sites."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.io.records import PROPERTIES, Record
from jaxcrystal.limits import FRAC_COORD
from jaxcrystal.npz import Array, read_npz
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import letters_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

FORMAT = "jaxcrystal-dataset"
VERSION = 1
#: What the sampler calls such a file; by this name it is found in folders.
ARRAYS_NAME = "structures.npz"
#: Name of an array in the file that is a column of the source.
COLUMN = "column/"
_LABEL = Array("U", (3,))
_NUMBER = Array("f", ("structures",), unknown=True)
#: The arrays of a file: types, shapes, and the numbers that crystals have. See `data.dataset.Dataset`.
SCHEMA = {
    "ids": Array("U", ("structures",)),
    "space_group": Array("iu", ("structures",), 1, 230),
    # Below, an axis is shorter than 0.03 Å, or an angle wider than 170°.
    "lattice_params": Array("f", ("structures", 6), -60.0, 1e6),
    "num_sites": Array("iu", ("structures",), 1, 100_000),
    "species": Array("iu", ("sites",), 1, 118),
    "frac_coords": Array("f", ("sites", 3), FRAC_COORD.low, FRAC_COORD.high),
    "letters": Array("iu", ("sites",), 0),
    "formation_energy_per_atom": _NUMBER,
    "e_above_hull": _NUMBER,
    f"{COLUMN}*": _NUMBER,
}


def load_arrays(path: str | Path, called: object = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays of a file by name, all as `SCHEMA` says, and how the file was made.

    Args:
      path: of the file.
      called: what errors call it; default: its path.

    Raises:
      DataError: no such file, not a data set, one of another version, or one that holds what no
        crystal has.
    """
    called = path if called is None else called
    try:
        label = read_npz(path, {"format": _LABEL})["format"]
        if label[0] != FORMAT:
            raise DataError("make one with `jaxcrystal prepare`")
        if label[1] != str(VERSION):
            raise DataError(
                f"it has format version {str(label[1])[:20]}, this jaxcrystal reads {VERSION}: "
                "prepare it again with this version"
            )
        info = _info(str(label[2]))
        arrays = read_npz(path, SCHEMA)
        _check_sites(arrays)
    except FileNotFoundError:
        raise DataError(f"{called} does not exist; `jaxcrystal prepare` writes such files") from None
    except DataError as error:
        raise DataError(f"{called} is not a prepared data set (or is damaged): {error}") from error
    types = {"i": np.int32, "u": np.int32, "f": np.float64, "U": np.str_}
    return {name: array.astype(types[array.dtype.kind]) for name, array in arrays.items()}, info


def _info(text: str) -> dict[str, Any]:
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(one_line(error, 120)) from error
    if not isinstance(info, dict):
        raise DataError("it does not say how it was made")
    return info


def _check_sites(arrays: dict[str, np.ndarray]) -> None:
    """Raises DataError where sites do not make up the structures, or are on letters that groups have not."""
    counts, letters = arrays["num_sites"].astype(np.int64), arrays["letters"]
    if counts.sum() != len(letters):
        raise DataError(f"{len(letters)} rows of sites, expected {counts.sum()}")
    groups = np.repeat(arrays["space_group"], counts)
    known = np.array([0, *(len(letters_of(number)) for number in range(1, 231))])
    unknown = np.flatnonzero(letters >= known[groups])
    if len(unknown):
        first = unknown[0]
        raise DataError(f"letters holds {letters[first]} for group {groups[first]}, which has fewer")


def array_records(path: Path) -> Iterator[Record]:
    """Yields a record for each structure of a file.

    Raises:
      DataError: see `load_arrays`.
    """
    arrays, _ = load_arrays(path)
    columns = {
        name.removeprefix(COLUMN): values for name, values in arrays.items() if name.startswith(COLUMN)
    }
    columns |= {name: arrays[name] for name in PROPERTIES}
    first = np.concatenate([[0], np.cumsum(arrays["num_sites"])])
    for row, name in enumerate(arrays["ids"]):
        sites = slice(int(first[row]), int(first[row + 1]))
        content = (
            *(int(arrays["space_group"][row]), arrays["species"][sites], arrays["letters"][sites]),
            *(arrays["frac_coords"][sites], arrays["lattice_params"][row]),
        )
        known = {key: float(values[row]) for key, values in columns.items()}
        known = {key: value for key, value in known.items() if math.isfinite(value)}
        yield Record(str(name), "sites", content, known)


def parse_sites(content: Any) -> "Structure":
    """Returns the conventional cell of the content of a record: group, and arrays of its sites."""
    return to_pymatgen(*expand_crystal(build_crystal(*content))[:3])
