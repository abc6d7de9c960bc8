"""Structures from the files that materials scientists have.

Reading is in two steps, so that the slow one can run in other processes: `read_records`
cuts the sources into one text (or JSON object) a structure, `parse` makes a pymatgen
structure of it. What cannot be read becomes a record too, whose parsing fails: no
structure is silently lost.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcrystal.errors import DataError
from jaxcrystal.io.arrays import parse_sites
from jaxcrystal.io.checks import checked
from jaxcrystal.io.cif import parse_cif
from jaxcrystal.io.document_structures import parse_document
from jaxcrystal.io.documents import KINDS
from jaxcrystal.io.extxyz import parse_frame
from jaxcrystal.io.poscar import parse_poscar
from jaxcrystal.io.records import PROPERTIES, Record
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.sources import Skipped, file_records, files_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["AFLOW", "PROPERTIES", "Record", "parse", "read", "read_records", "read_structures"]

#: The word that stands for pymatgen's library of AFLOW prototypes.
AFLOW = "aflow"


def read_structures(
    sources: str | Path | Iterable[str | Path],
) -> "Iterator[tuple[str, Structure | Exception]]":
    """Yields every structure of the sources with its name, or the reason it has none.

    Args:
      sources: files (CIF, CSV with a column of CIF, extxyz, POSCAR, JSON of pymatgen and
        others; each also compressed, or in a zip archive; `.npz` of `prepare`), folders, which
        are searched through, of `.npz` for `structures.npz` only, or `aflow`.

    Raises:
      DataError: a source does not exist or is of no known kind.
    """
    return map(_read, read_records(sources))


def _read(record: Record) -> "tuple[str, Structure | Exception]":
    try:
        return record.source_id, read(record)
    except Exception as error:  # a library's parser may raise anything
        return record.source_id, error


def read_records(
    sources: str | Path | Iterable[str | Path], skipped: Skipped | None = None
) -> Iterator[Record]:
    """Returns an iterator over the unparsed structures of the sources, each with a name of its own.

    Args:
      sources: see `read_structures`.
      skipped: gets the files that are passed over; otherwise they are logged, at the end.

    Raises:
      DataError: a source does not exist or is of no known kind.
    """
    listed: Sequence[str | Path]
    listed = [sources] if isinstance(sources, str | Path) else list(sources)
    if not listed:
        raise DataError(f"no source given: name files, folders or {AFLOW}")
    passed_over = Skipped() if skipped is None else skipped
    files: list[tuple[str, Path]] = []
    for source in listed:
        files += [(AFLOW, Path(AFLOW))] if str(source) == AFLOW else files_of(Path(source), passed_over)
    # Files of one name, of different folders, are called by their paths.
    counts = Counter(name for name, _ in files)
    named = [(name if counts[name] == 1 else str(path), path) for name, path in files]
    return _distinct(named, passed_over, log=skipped is None)


def _distinct(files: list[tuple[str, Path]], skipped: Skipped, log: bool) -> Iterator[Record]:
    seen: Counter[str] = Counter()
    for name, path in files:
        for record in _aflow_records() if str(path) == AFLOW else file_records(name, path, skipped):
            seen[record.source_id] += 1
            times = seen[record.source_id]
            yield record if times == 1 else replace(record, source_id=f"{record.source_id}#{times}")
    if log:
        skipped.log()


def _aflow_records() -> Iterator[Record]:
    for number, entry in enumerate(_aflow_library()):
        yield Record(f"{AFLOW}:{entry['tags']['aflow']}:{number}", "aflow", number)


def _aflow_library() -> list[dict[str, Any]]:
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    return AFLOW_PROTOTYPE_LIBRARY


def read(record: Record) -> "Structure":
    """Returns the structure of a record; raises whatever its parser and `checks.checked` raise."""
    return checked(parse(record))


def parse(record: Record) -> "Structure":
    """Returns the pymatgen structure that a record writes, whether or not it is a crystal.

    Frames of a trajectory can hold atoms on one point, and numbers that are not finite: for a
    structure to work with, call `read`.
    """
    if record.kind == "cif":
        return parse_cif(record.content)
    if record.kind == "poscar":
        return parse_poscar(record.content).to_pymatgen()
    if record.kind == "extxyz":
        return parse_frame(record.content).to_pymatgen()
    if record.kind == "sites":
        return parse_sites(record.content)
    if record.kind == "json":
        return _parse_pymatgen(record.content)
    if record.kind in KINDS:
        return parse_document(record.kind, record.content).to_pymatgen()
    if record.kind == "aflow":
        structure: Structure = _aflow_library()[record.content]["snl"].structure
        return structure
    raise DataError(str(record.content))


def _parse_pymatgen(content: dict[str, Any]) -> "Structure":
    from pymatgen.core import Structure

    if content["sites"] == []:
        raise Rejected(Reason.EMPTY, "no atoms")
    try:
        return Structure.from_dict(content)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"not a structure as pymatgen writes it: {missing}") from error
