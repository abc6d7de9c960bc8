"""Tables of structures: CSV with a column of CIF, JSON or dictionaries of Python."""

import csv
import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper

from jaxcrystal.errors import DataError
from jaxcrystal.io.documents import text_records
from jaxcrystal.io.records import ID_NAMES, Record, known_properties
from jaxcrystal.io.text import readable

#: Columns that may hold structures, the first that is there.
_COLUMNS = ("cif", "structure", "cif_string")
_DELIMITERS = ",;\t"
#: Columns of the tables that CrystalFormer writes before it makes structures of them.
_CRYSTALFORMER = {"L", "X", "A", "W"}
_FILE_NAME = re.compile(r"[^\s{}]+\.[A-Za-z]{2,8}")


class NoStructures(DataError):
    """A table without a column of structures."""


def structure_column(file: TextIOWrapper) -> tuple[str, str]:
    """Returns the column of a table that holds structures, and what separates its columns.

    Raises:
      NoStructures: it has none.
    """
    head = file.readline()
    file.seek(0)
    for delimiter in _DELIMITERS:
        names = next(csv.reader([head], delimiter=delimiter), [])
        found = {name.strip().lower(): name for name in names}
        for column in _COLUMNS:
            if column in found:
                return found[column], delimiter
    names = next(csv.reader([head]), [])
    if set(names) >= _CRYSTALFORMER:
        raise NoStructures(
            "a table of CrystalFormer's raw output, without structures: give the one that its script "
            "awl2struct writes (..._struct.csv)"
        )
    shown = ", ".join(repr(name) for name in names[:8]) or "none"
    raise NoStructures(f"no column named {' or '.join(_COLUMNS)}; its columns are {shown}")


def table_records(name: str, file: TextIOWrapper) -> Iterator[Record]:
    """Yields the structures of every row; a row without one is a record that says so.

    Raises:
      DataError: no column holds structures.
    """
    csv.field_size_limit(2**31 - 1)
    column, delimiter = structure_column(file)
    reader = csv.DictReader(file, delimiter=delimiter)
    identifier = next((c for c in ID_NAMES if c in (reader.fieldnames or ())), None)
    for number, row in enumerate(reader, start=1):
        source_id = (readable(row.get(identifier) or "") if identifier else "") or f"{name}:{number}"
        content = row.get(column) or ""
        if number == 1 and _is_cut(content, reader.fieldnames or ()):
            yield Record(source_id, "error", "its CIF ends after one line: ends of lines need quotes in CSV")
            return
        yield from _cell_records(source_id, column, content.strip(), known_properties(row))


def _cell_records(name: str, column: str, content: str, properties: dict[str, float]) -> Iterator[Record]:
    if not content or content.lower() in ("nan", "none", "null"):
        yield Record(name, "error", f"the {column} column is empty")
        return
    found = False
    for record in text_records(name, content, properties):
        found = True
        yield record
    if not found and _FILE_NAME.fullmatch(content):
        yield Record(name, "error", f"the {column} column names a file, {content}: give its folder")
    elif not found:
        yield Record(name, "error", f"the {column} column holds no structure, but {content[:40]!r}")


def _is_cut(content: str, names: Sequence[str]) -> bool:
    """Returns whether the first cell is the first line of a CIF whose other lines became rows."""
    text = content.strip()
    return (
        text.lower().startswith(("#", "data_", "_"))
        and not _FILE_NAME.fullmatch(text)
        and "\n" not in text
        and "\\n" not in text
        and text.count(" ") < 20
        and bool(names)
    )
