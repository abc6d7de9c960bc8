"""Files, folders and archives of structures: what is in them, and what is passed over."""

import json
import logging
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from csv import Error as CsvError
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path, PurePath

from jaxcrystal.errors import DataError
from jaxcrystal.io.documents import document_records
from jaxcrystal.io.extxyz import split_frames
from jaxcrystal.io.poscar import split_poscars
from jaxcrystal.io.records import Record, cif_records
from jaxcrystal.io.tables import structure_column, table_records
from jaxcrystal.io.text import COMPRESSED, as_text, clean, open_text

KNOWN = (
    ".cif, .csv, .extxyz, .xyz, POSCAR, CONTCAR, .vasp, .json, .jsonl, each also with .gz, .bz2, .xz; "
    ".zip of these"
)
_SUFFIXES = {
    ".cif": "cif", ".mcif": "cif", ".csv": "csv", ".tsv": "csv", ".extxyz": "extxyz", ".xyz": "extxyz",
    ".vasp": "poscar", ".poscar": "poscar", ".json": "json", ".jsonl": "jsonl", ".zip": "zip",
}  # fmt: skip
#: POSCAR_2, mp-1_POSCAR and poscar, but not read_poscar.py.
_POSCAR = re.compile(r"(?:POSCAR|CONTCAR)(?:[^a-zA-Z].*)?|(?i:(?:.*[^a-z])?(?:poscar|contcar))")
_READ_ERRORS = (OSError, EOFError, zlib.error, CsvError, ValueError, zipfile.BadZipFile, DataError)
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
    return "poscar" if _POSCAR.fullmatch(plain) else None


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
            why = _why_not(path)
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


def _why_not(path: Path) -> str:
    """Returns why a file of a folder is passed over; nothing if it is not."""
    kind = kind_of(path.name)
    if kind is None:
        return "unknown kind"
    if kind == "zip":
        return "an archive: give it by itself"
    if kind == "csv":
        try:
            _require_column(path)
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")
    return ""


def _require_column(path: Path) -> None:
    try:
        with open_text(path) as file:
            structure_column(file)
    except _READ_ERRORS as error:
        raise DataError(f"{path}: {error}") from error


def file_records(name: str, path: Path, skipped: Skipped) -> Iterator[Record]:
    """Yields the structures of a file; what stops the reading is a record too.

    Args:
      name: of the file, from which structures without an identifier are named.
      path: of the file.
      skipped: gets the file if it holds no structure at all, and what is passed over in archives.
    """
    is_empty = True
    try:
        if kind_of(path.name) == "zip":
            found = _zip_records(name, path, skipped)
        else:
            found = _text_records(name, path.name, lambda: open_text(path))
        for record in found:
            is_empty = False
            yield record
    except _READ_ERRORS as error:
        yield Record(name, "error", f"reading {path} stopped: {error}")
        return
    if is_empty:
        skipped.reasons[name] = "no structure in it"


def _text_records(name: str, file_name: str, opened: Callable[[], TextIOWrapper]) -> Iterator[Record]:
    split: dict[str, Callable[[str, TextIOWrapper], Iterator[Record]]] = {
        "cif": lambda name, file: cif_records(name, file.read()),
        "csv": table_records,
        "extxyz": _frames,
        "poscar": _poscars,
        "json": _documents,
        "jsonl": _lines,
    }
    with opened() as file:
        yield from split[kind_of(file_name) or ""](name, file)


def _zip_records(name: str, path: Path, skipped: Skipped) -> Iterator[Record]:
    with zipfile.ZipFile(path) as archive:
        for member in sorted(info.filename for info in archive.infolist() if not info.is_dir()):
            parts = PurePath(member).parts
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            if kind_of(member) in (None, "zip"):
                skipped.reasons[f"{name}/{member}"] = "unknown kind"
                continue
            opened = lambda member=member: _member(archive, member)  # noqa: E731
            try:
                yield from _text_records(member, member, opened)
            except _READ_ERRORS as error:
                yield Record(member, "error", f"reading {member} of {path} stopped: {error}")


def _member(archive: zipfile.ZipFile, name: str) -> TextIOWrapper:
    content = BytesIO(archive.read(name))
    decompress = COMPRESSED.get(PurePath(name).suffix.lower())
    return as_text(decompress(content, "rb") if decompress else content)


def _poscars(name: str, file: TextIOWrapper) -> Iterator[Record]:
    texts = split_poscars(clean(file.read()))
    for number, text in enumerate(texts):
        yield Record(f"{name}:{number}" if len(texts) > 1 else name, "poscar", text)


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
        except ValueError as error:
            yield Record(f"{name}:{number}", "error", f"not JSON: {error}")
        else:
            yield from document_records(f"{name}:{number}", content)
