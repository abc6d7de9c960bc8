"""Reads `.npz` files of known arrays: what a file says of itself is checked before any of it is read.

A zip archive tells the size of each array, and the array's header its type and shape. A file that claims
what no reader asked for is refused by these alone, so that no small file takes minutes or gigabytes.
"""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import ARCHIVE_ERRORS, require_regular, require_size

#: Arrays of a file, at most.
MOST_ARRAYS = 10_000
#: What numpy may write of headers.
_VERSIONS = ((1, 0), (2, 0), (3, 0))
_LONGEST_HEADER = 2**14
_SUFFIX = ".npy"
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: Numbers of a type, in words.
_KINDS = {"iu": "whole numbers", "f": "decimal numbers", "U": "text"}
#: Unicode ends before the one number, and has no characters from the first of the two to the second.
_NO_CHARACTER, _HALVES = 0x110000, (0xD800, 0xE000)
#: What damaged archives and arrays raise.
_DAMAGE = (*ARCHIVE_ERRORS, TypeError, OverflowError, MemoryError, SyntaxError)


@dataclass(frozen=True)
class Array:
    """What an array of a file must be.

    Attributes:
      kinds: of its type, as numpy names them: `iu`, `f` or `U`.
      shape: its sizes; a name stands for one size in all arrays of a file. None: any.
      least, most: of its numbers.
      unknown: numbers may be NaN.
      optional: a file may lack it.
    """

    kinds: str
    shape: tuple[int | str, ...] | None = None
    least: float | int = -np.inf
    most: float | int = np.inf
    unknown: bool = False
    optional: bool = False


#: The arrays of a file by name. One whose name ends in * stands for any number of arrays.
Schema = Mapping[str, Array]


def read_npz(path: str | Path, schema: Schema, *, all_of_it: bool = False) -> dict[str, np.ndarray]:
    """Returns the arrays of a file that a schema names; others are not read.

    Args:
      path: of the file.
      schema: what its arrays must be.
      all_of_it: whether to refuse a file with further arrays.

    Raises:
      FileNotFoundError: no such file.
      DataError: an array is missing or is not what it must be, or the file is damaged; without the name
        of the file.
    """
    try:
        require_regular(Path(path))
        size = os.stat(path).st_size
        with Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            members = _members(archive, size)
            named = _named(members, schema, all_of_it)
            sizes: dict[str, int] = {}
            for name, (info, wanted) in named.items():
                with archive.open(info) as content:
                    _check_header(name, content, info.file_size, wanted, sizes)
            return {name: _read(name, archive, *pair) for name, pair in named.items()}
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise DataError(one_line(error, 120)) from error


def check_numbers(name: str, array: np.ndarray, wanted: Array) -> None:
    """Raises DataError where numbers are not finite or out of their range, or texts are none."""
    if array.dtype.kind == "U":
        characters = np.ascontiguousarray(array).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if ((characters >= _NO_CHARACTER) | ((characters >= _HALVES[0]) & (characters < _HALVES[1]))).any():
            raise DataError(f"{name[:60]} holds what is no text")
        return
    bad = ~((array >= wanted.least) & (array <= wanted.most))  # of NaN too
    if array.dtype.kind == "f":
        bad |= np.isinf(array)
        if wanted.unknown:
            bad &= ~np.isnan(array)
    if bad.any():
        limits = [f"at least {wanted.least:g}"] if np.isfinite(wanted.least) else []
        limits += [f"at most {wanted.most:g}"] if np.isfinite(wanted.most) else []
        expected = " and ".join(limits) or "a finite number"
        raise DataError(f"{name[:60]} holds {array[bad].flat[0]}, expected {expected}")


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Returns the arrays of an archive by name."""
    infos = archive.infolist()
    if len(infos) > MOST_ARRAYS:
        raise DataError(f"{len(infos)} arrays, expected at most {MOST_ARRAYS}")
    require_size(archive, size)
    for info in infos:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise DataError("an array is encrypted, or compressed as numpy never does")
    members = {info.filename.removesuffix(_SUFFIX): info for info in infos}
    if len(members) < len(infos):
        raise DataError("two arrays have one name")
    return members


def _named(
    members: dict[str, zipfile.ZipInfo], schema: Schema, all_of_it: bool
) -> dict[str, tuple[zipfile.ZipInfo, Array]]:
    """Returns the arrays that a schema names, each with what it must be."""
    named = {}
    for name, info in members.items():
        wanted = schema.get(name) or next(
            (array for key, array in schema.items() if key.endswith("*") and name.startswith(key[:-1])), None
        )
        if wanted is not None:
            named[name] = info, wanted
        elif all_of_it:
            raise DataError(f"the file has besides {name[:60]}")
    for name, wanted in schema.items():
        if not (name in named or name.endswith("*") or wanted.optional):
            raise DataError(f"the file lacks {name}")
    return named


def _check_header(name: str, content: Any, size: int, wanted: Array, sizes: dict[str, int]) -> None:
    """Raises DataError where an array is of another type or shape; notes sizes by name in `sizes`."""
    short = name[:60]
    version = np.lib.format.read_magic(content)
    if version not in _VERSIONS:
        raise DataError(f"{short} has a header of version {version}")
    shape, _, dtype = _header(content, version)
    if dtype.kind not in wanted.kinds or not dtype.itemsize:
        raise DataError(f"{short} is of type {str(dtype)[:40]}, expected {_KINDS[wanted.kinds]}")
    if prod(shape) * dtype.itemsize != size - content.tell():
        raise DataError(f"{short} says that it has the shape {str(shape)[:60]}, which its size is not")
    if wanted.shape is None:
        return
    fits = len(shape) == len(wanted.shape)
    expected = []
    for given, want in zip(shape, wanted.shape, strict=False):
        expected.append(sizes.setdefault(want, given) if isinstance(want, str) else want)
        fits &= given == expected[-1]
    if not fits:
        asked = tuple(sizes.get(want, want) if isinstance(want, str) else want for want in wanted.shape)
        raise DataError(f"{short} has the shape {str(shape)[:60]}, expected {asked}".replace("'", ""))


def _header(content: Any, version: tuple[int, int]) -> tuple[Any, bool, np.dtype]:
    read: Any = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    header: tuple[Any, bool, np.dtype] = read(content, max_header_size=_LONGEST_HEADER)
    return header


def _read(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, wanted: Array) -> np.ndarray:
    with archive.open(info) as content:
        array = np.asarray(np.lib.format.read_array(content, allow_pickle=False))
    check_numbers(name, array, wanted)
    return array
