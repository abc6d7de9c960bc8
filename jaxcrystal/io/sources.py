"""Files, folders and archives of structures: what is in them, and what is passed over."""

import csv
import functools
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from csv import Error as CsvError
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path, PurePath

from jaxcrystal.errors import DataError
from jaxcrystal.files import require_regular, require_size
from jaxcrystal.io.arrays import ARRAYS_NAME, array_records
from jaxcrystal.io.documents import document_records
from jaxcrystal.io.extxyz import split_frames
from jaxcrystal.io.poscar import has_cell, split_poscars
from jaxcrystal.io.records import Record, cif_records
from jaxcrystal.io.tables import NoStructures, structure_column, table_records
from jaxcrystal.io.text import COMPRESSED, TEXT_ERRORS, as_text, clean, open_text, unpacked

KNOWN = (
    ".cif, .csv, .extxyz, .xyz, POSCAR, CONTCAR, .vasp, .json, .jsonl, each also with .gz, .bz2, .xz; "
    ".zip of these; .npz of `jaxcrystal prepare`"
)
_SUFFIXES = {
    ".cif": "cif", ".mcif": "cif", ".csv": "csv", ".tsv": "csv", ".extxyz": "extxyz", ".xyz": "extxyz",
    ".vasp": "poscar", ".poscar": "poscar", ".json": "json", ".jsonl": "jsonl", ".zip": "zip",
}  # fmt: skip
_POSCAR = re.compile(r"(?:.*[^a-z])?(?:poscar|contcar)(?:[^a-z].*)?", re.IGNORECASE)
#: What damaged files raise; a RuntimeError is that of zip archives with a password or a method of
#: compression that is not known, and of JSON that is nested too deeply.
_READ_ERRORS = (*TEXT_ERRORS, CsvError, zipfile.BadZipFile, RuntimeError)
_NONE_IN_IT = "no structure in it"
#: Names shown of what is passed over.
_SHOWN = 6
_log = logging.getLogger(__name__)


@dataclass
class Skipped:
    """Files of folders and archives that gave no structure, and why."""

    reasons: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """Returns one line about all of them; nothing if there are none."""
        if not self.reasons:
            return ""
        shown = [f"{name} ({why})" for name, why in list(self.reasons.items())[:_SHOWN]]
        more = f" and {len(self.reasons) - _SHOWN} more" if len(self.reasons) > _SHOWN else ""
        count = len(self.reasons)
        return f"{count} file{'s' if count > 1 else ''} passed over: {', '.join(shown)}{more}"

    def log(self) -> None:
        """Says it as a warning of this package's logger, which stands on stderr."""
        if self.reasons:
            _log.warning("jaxcrystal: %s", self.describe())


def kind_of(name: str) -> str | None:
    """Returns the kind of file that a name stands for; None if it is not known."""
    path = PurePath(name)
    plain = path.name[: -len(path.suffix)] if path.suffix.lower() in COMPRESSED else path.name
    suffix = PurePath(plain).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix] if suffix != ".zip" or plain == path.name else None
    if _POSCAR.fullmatch(plain):
        return "poscar"
    return "npz" if path.suffix.lower() == ".npz" else None


def files_of(source: Path, skipped: Skipped) -> list[tuple[str, Path]]:
    """Returns name and path of each file of a source that can hold structures.

    Args:
      source: a file, or a folder, which is searched through; hidden files are left out.
      skipped: gets the files of a folder that are of no known kind.

    Raises:
      DataError: the source does not exist, is of no known kind, or holds none.
    """
    if source.is_dir():
        found = []
        for path in sorted(source.rglob("*")):
            parts = path.relative_to(source).parts
            if not path.is_file() or any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            name = str(path.relative_to(source))
            why = _why_not(path.name, functools.partial(open_text, path))
            if why:
                skipped.reasons[name] = why
            else:
                found.append((name, path))
        if not found:
            passed_over = f"; {skipped.describe()}" if skipped.reasons else ""
            raise DataError(f"folder {source} holds no structure file (known are {KNOWN}){passed_over}")
        return found
    if not source.exists():
        raise DataError(f"{source} does not exist")
    kind = kind_of(source.name)
    if kind is None:
        raise DataError(f"{source}: unknown kind of file; known are {KNOWN}")
    if kind == "csv":
        _require_column(source)
    return [(source.name, source)]


def _why_not(name: str, opened: Callable[[], TextIOWrapper]) -> str:
    """Returns why a file of a folder or an archive is passed over; nothing if it is not."""
    kind = kind_of(name)
    if kind is None or (kind == "npz" and name != ARRAYS_NAME):  # arrays of anything
        return "unknown kind"
    if kind == "zip":
        return "an archive: give it by itself"
    if kind == "csv":
        try:
            with opened() as file:
                structure_column(file)
        except NoStructures as error:
            return str(error)
        except _READ_ERRORS:
            return ""  # reading its structures will say it
    return ""


def _require_column(path: Path) -> None:
    try:
        with open_text(path) as file:
            structure_column(file)
    except _READ_ERRORS as error:
        raise DataError(f"{path}: {error}") from error


def column_names(source: str | Path) -> set[str] | None:
    """Returns the names of a table's columns; None for what is no table, whose numbers reading shows.

    Raises:
      DataError: the table has no column of structures, or cannot be read.
    """
    path = Path(source)
    if not path.is_file() or kind_of(path.name) != "csv":
        return None
    _require_column(path)
    with open_text(path) as file:
        delimiter = structure_column(file)[1]
        return set(next(csv.reader([file.readline()], delimiter=delimiter)))


def file_records(name: str, path: Path, skipped: Skipped) -> Iterator[Record]:
    """Yields the structures of a file; what stops the reading is a record too.

    Args:
      name: of the file, from which structures without an identifier are named.
      path: of the file.
      skipped: gets the file if it holds no structure at all, and what is passed over in archives.
    """
    kind = kind_of(path.name)
    if kind not in ("zip", "npz"):
        yield from _records_or_none(name, lambda: open_text(path), str(path), name, skipped)
        return
    try:
        yield from _zip_records(name, path, skipped) if kind == "zip" else array_records(path)
    except _READ_ERRORS as error:
        yield Record(name, "error", _stopped(path, error))


def _zip_records(name: str, path: Path, skipped: Skipped) -> Iterator[Record]:
    """Yields the structures of an archive, whose members are taken like the files of a folder."""
    require_regular(path)
    with zipfile.ZipFile(path) as archive:
        require_size(archive, path.stat().st_size)
        members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
        if not members:
            skipped.reasons[name] = _NONE_IN_IT
        for member in members:
            parts = PurePath(member).parts
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            opened = functools.partial(_member, archive, member)
            shown = f"{name}/{member}"
            why = _why_not(member, opened) if kind_of(member) != "npz" else "unknown kind"
            if why:
                skipped.reasons[shown] = why
            else:
                yield from _records_or_none(member, opened, f"{member} of {path}", shown, skipped)


def _records_or_none(
    name: str, opened: Callable[[], TextIOWrapper], place: str, shown: str, skipped: Skipped
) -> Iterator[Record]:
    """Yields the structures of a text file; if there are none, it is passed over.

    Args:
      name: of the file, which tells its kind.
      opened: opens it.
      place: of the file, for the message where the reading stops.
      shown: what it is called among the files that are passed over.
      skipped: gets it if it holds none.
    """
    split: dict[str, Callable[[str, TextIOWrapper], Iterator[Record]]] = {
        "cif": lambda name, file: cif_records(name, file.read()),
        "csv": table_records,
        "extxyz": _frames,
        "poscar": _poscars,
        "json": _documents,
        "jsonl": _lines,
    }
    is_empty = True
    try:
        with opened() as file:
            for record in split[kind_of(name) or ""](name, file):
                is_empty = False
                yield record
    except _READ_ERRORS as error:
        yield Record(name, "error", _stopped(place, error))
        return
    if is_empty:
        skipped.reasons[shown] = _NONE_IN_IT


def _member(archive: zipfile.ZipFile, name: str) -> TextIOWrapper:
    size = archive.getinfo(name).compress_size  # what is packed twice is no larger than what was packed once
    return as_text(unpacked(BytesIO(archive.read(name)), PurePath(name).suffix, size))


def _poscars(name: str, file: TextIOWrapper) -> Iterator[Record]:
    text = clean(file.read())
    if not _is_poscar_name(name) and not has_cell(text):
        return  # such as poscar_notes.txt and POSCAR.png
    texts = split_poscars(text)
    for number, text in enumerate(texts):
        yield Record(f"{name}:{number}" if len(texts) > 1 else name, "poscar", text)


def _is_poscar_name(name: str) -> bool:
    """Returns whether a name that has POSCAR in it has no ending of another kind, as POSCAR.pdf has."""
    path = PurePath(name)
    path = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    suffix = path.suffix.lower()
    return suffix in _SUFFIXES or not suffix[1:2].isalpha() or bool(_POSCAR.fullmatch(suffix))


def _frames(name: str, file: TextIOWrapper) -> Iterator[Record]:
    for number, frame in enumerate(split_frames(file)):
        yield Record(f"{name}:{number}", "extxyz", clean(frame))


def _documents(name: str, file: TextIOWrapper) -> Iterator[Record]:
    text = file.read()
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.strip().split("\n")
        if len(lines) < 2 or not lines[0].strip().endswith("}") or error.lineno > 2:
            raise
        yield from _of_lines(name, lines)
        return
    yield from document_records(name, content)


def _lines(name: str, file: TextIOWrapper) -> Iterator[Record]:
    yield from _of_lines(name, file)


def _of_lines(name: str, lines: "Iterator[str] | list[str] | TextIOWrapper") -> Iterator[Record]:
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Record(f"{name}:{number}", "error", f"not JSON: {error}")
        else:
            yield from document_records(f"{name}:{number}", content)


def _stopped(place: object, error: Exception) -> str:
    """Returns what ended the reading of a file, which is named once."""
    return str(error) if str(place) in str(error) else f"reading {place} stopped: {error}"
