"""What is evaluated: every structure of a file or folder, those that cannot be read included."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.io.arrays import ARRAYS_NAME, array_records
from jaxcrystal.io.checks import atomic_numbers, checked
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.io.readers import Record, read, read_records
from jaxcrystal.structures.folder import opened_source, part_folders, summary_rows, table_of
from jaxcrystal.workers import map_structures

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Places of one crystal in a folder of the sampler, the most exact first.
_SUFFIXES = (".cif", ".cif.gz", ".vasp", ".vasp.gz")
_JOINT = ("structures.json", "structures.json.gz", ARRAYS_NAME)
_FRAMES = ("structures.extxyz", "structures.extxyz.gz")
#: From so many records on, they are parsed in several processes: 2 ms each, while a process
#: takes more than a second to start.
_MANY = 2000


@dataclass(frozen=True, eq=False)
class Entry:
    """One structure to evaluate, or why there is none.

    Attributes:
      name: what its source calls it.
      structure: the cell as it was read, every site one element without oxidation state;
        None if it could not be read.
      error: why it could not be read, in one line.
      requested_group: the space group it was sampled for; 0: not known.
      letters: its Wyckoff letters by element, as in `summary.csv`.
      flag: the sampler's status: `ok`, or why it stopped this structure early.
    """

    name: str
    structure: "Structure | None"
    error: str = ""
    requested_group: int = 0
    letters: str = ""
    flag: str = "ok"

    @property
    def failed(self) -> bool:
        """Whether it could not be read, or the sampler flagged it."""
        return self.structure is None or self.flag != "ok"


def load_entries(source: str | Path, processes: int | None = None) -> list[Entry]:
    """Returns an entry for every structure of a source, in its order.

    Args:
      source: path or URL of a file or folder of any kind that `io.readers.read_structures` knows, or a
        prepared data set (`.npz`). In a folder of the sampler, in parts or not, each crystal
        is read once, whatever formats it is there in, and joined with its row of
        `summary.csv`; a row without a structure is an entry with an error, and a structure
        without a row is an entry too. Trajectories are left out.
      processes: worker processes for large sources, default one a CPU.

    Raises:
      DataError: the source does not exist, is of no known kind or holds no structure.
    """
    with opened_source(source) as path:
        rows = _summary(path)
        if path.suffix == ".npz":
            entries = _parsed(list(array_records(path)), processes)
        elif rows is None:
            entries = _parsed(list(read_records(path)), processes)
        else:
            entries = _of_samples(path, rows, processes)
    if not entries:
        raise DataError(f"{source} holds no structures")
    return entries


def ordered(structure: "Structure") -> "Structure":
    """Returns the structure with bare elements; deuterium and tritium count as hydrogen.

    Raises:
      Rejected: see `checks.atomic_numbers` and `checks.checked`.
    """
    numbers = atomic_numbers(structure)
    checked(structure)
    return to_pymatgen(structure.lattice.matrix, numbers, structure.frac_coords)


def structure_bytes(structure: "Structure") -> bytes:
    """Returns cell, coordinates and elements of a structure as bytes, to make a digest of."""
    arrays = structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers, float)
    return b"".join(np.ascontiguousarray(array, dtype="<f8").tobytes() for array in arrays)


_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def _parsed(records: list[Record], processes: int | None) -> list[Entry]:
    outcomes = map_structures(
        _arrays,
        records,
        processes=processes if len(records) >= _MANY else 1,
        description="read",
    )
    return [
        Entry(record.source_id, None, outcome)
        if isinstance(outcome, str)
        else Entry(record.source_id, to_pymatgen(*outcome))
        for record, outcome in zip(records, outcomes, strict=True)
    ]


def _arrays(record: Record) -> _Arrays | str:
    """Returns lattice, species and coordinates, which travel faster than a structure; or what is wrong."""
    try:
        structure = ordered(read(record))
    except Exception as error:  # a library's parser may raise anything
        return one_line(error)
    return (
        np.array(structure.lattice.matrix),
        np.array(structure.atomic_numbers),
        np.array(structure.frac_coords),
    )


def _summary(folder: Path) -> list[dict[str, str]] | None:
    """Returns the rows of the sampler's summary; None where there is no such file."""
    return list(summary_rows(folder)) or None if folder.is_dir() else None


def _of_samples(folder: Path, rows: list[dict[str, str]], processes: int | None) -> list[Entry]:
    found: dict[str, Record] = {}
    table = table_of((part_folders(folder) or [folder])[0])
    missing = Record("", "error", f"in {table.name}, but there is no file of it")
    for name, record in _records(folder):
        if name is None:
            missing = record
        elif name not in found or found[name].kind == "error":
            found[name] = record
    names = [row["id"] for row in rows]
    names += sorted(set(found) - set(names))
    parsed = _parsed([found.get(name, missing) for name in names], processes)
    entries = []
    for name, entry, row in zip(names, parsed, [*rows, *[None] * (len(names) - len(rows))], strict=True):
        if row is None:
            entries.append(Entry(name, entry.structure, entry.error))
            continue
        group = row["requested_group"] or ""
        entries.append(
            Entry(
                name=name,
                structure=entry.structure,
                error=entry.error,
                requested_group=int(group) if re.fullmatch("[0-9]{1,3}", group) else 0,
                letters=row["letters"] or "",
                flag=row["status"] or "ok",
            )
        )
    return entries


def _records(folder: Path) -> Iterator[tuple[str | None, Record]]:
    """Yields name and record of every structure of a sampler's folder, a name perhaps repeatedly.

    A file that cannot be read at all has no names, and another format may stand in for it: None.
    """
    for part in part_folders(folder):
        yield from _records(part)
    for name in _JOINT:
        if (folder / name).is_file():
            yield from (
                (None if record.kind == "error" else record.source_id, record)
                for record in read_records(folder / name)
            )
    for suffix in _SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            yield from ((path.name.removesuffix(suffix), r) for r in read_records(path))
    for name in _FRAMES:
        if (folder / name).is_file():
            for record in read_records(folder / name):
                label = re.search(r'\bname="?([^"\s]+)', record.content.partition("\n")[2].partition("\n")[0])
                if record.kind == "extxyz" and label:
                    yield label.group(1), record
