"""Reads the `.npz` files of `data.dataset`: crystals as arrays of inequivalent sites."""

import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcrystal.errors import DataError
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.io.records import PROPERTIES, Record
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.orbits import expand_crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

FORMAT = "jaxcrystal-dataset"
VERSION = 1
#: What the sampler calls such a file; by this name it is found in folders.
ARRAYS_NAME = "structures.npz"
#: Name of an array in the file that is a column of the source.
COLUMN = "column/"


def load_arrays(path: str | Path, called: object = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays of a file by name, and how it was made.

    Args:
      path: of the file.
      called: what errors call it; default: its path.

    Raises:
      DataError: no such file, not a data set, or one of another version.
    """
    called = path if called is None else called
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except FileNotFoundError:
        raise DataError(f"{called} does not exist; `jaxcrystal prepare` writes such files") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{called} is not a prepared data set (or is damaged): {error}") from error
    label = arrays.pop("format", np.array([]))
    if label.shape != (3,) or label[0] != FORMAT:
        raise DataError(f"{called} is not a prepared data set: make one with `jaxcrystal prepare`")
    if label[1] != str(VERSION):
        raise DataError(
            f"{called} has format version {label[1]}, this jaxcrystal reads {VERSION}: "
            "prepare it again with this version"
        )
    # They are stored as bytes.
    arrays |= {name: arrays[name].astype(np.int32) for name in ("species", "letters") if name in arrays}
    return arrays, json.loads(str(label[2]))


def array_records(path: Path) -> Iterator[Record]:
    """Yields a record for each structure of a file.

    Raises:
      DataError: see `load_arrays`; an array is missing or has another length.
    """
    arrays, _ = load_arrays(path)
    columns = {
        name.removeprefix(COLUMN): values for name, values in arrays.items() if name.startswith(COLUMN)
    }
    columns |= {name: arrays[name] for name in PROPERTIES if name in arrays}
    try:
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
    except (KeyError, IndexError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def parse_sites(content: Any) -> "Structure":
    """Returns the conventional cell of the content of a record: group, and arrays of its sites."""
    return to_pymatgen(*expand_crystal(build_crystal(*content))[:3])
