"""Reads the folder of a sampling run, on the disk or at a URL: its parts, and the rows of their summaries."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import ARCHIVE_ERRORS, require_size, unpack
from jaxcrystal.remote import local_copy
from jaxcrystal.structures.summary import PHONONS_NAME, RELAXED_NAME, SUMMARY_NAME, read_summary

RUN_NAME = "run.json"
PARTS = "parts"
#: Ending of a part that is one object, at a URL.
ZIPPED = ".zip"
#: Digits of a part's number.
_LONGEST_NUMBER = 12


@contextmanager
def opened_source(source: str | Path) -> Iterator[Path]:
    """Gives a local path of structures; parts of a run that are zip archives are unpacked in it.

    Args:
      source: path or URL of a file or folder. What has to be copied or unpacked is put into a
        temporary folder, which is removed afterwards.

    Raises:
      DataError: there is nothing at the URL, or it cannot be read, or an archive is damaged.
    """
    with ExitStack() as stack:
        path = stack.enter_context(local_copy(source))
        archives = _archives(path)
        if archives:
            if path == Path(source):  # the user's own is left as it is
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxcrystal-")))
                path = Path(shutil.copytree(path, folder / path.resolve().name))
                archives = _archives(path)
            for archive in archives:
                unpack(archive)
        yield path


def part_folders(folder: Path) -> list[Path]:
    """Returns the parts of a run folder that are there, by number; none if it is no run folder."""
    if not (folder / RUN_NAME).is_file():
        return []
    found = (path for path in (folder / PARTS).glob("*") if is_part(path))
    return sorted(found, key=lambda path: (len(path.name), path.name))


def is_part(path: Path) -> bool:
    """Returns whether a part of a run is there: a finished folder that has its number as its name."""
    summary = table_of(path)
    numbered = path.name.isascii() and path.name.isdigit() and len(path.name) <= _LONGEST_NUMBER
    return numbered and summary.is_file() and summary.stat().st_size > 0


def summary_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a folder of the sampler, of `relax` or of `phonons`, of all parts where it has some.

    None for other folders.

    Raises:
      DataError: it is of a run that has no finished part yet, or a summary cannot be read.
    """
    parts = part_folders(folder)
    if not parts and (folder / RUN_NAME).is_file():
        raise DataError(
            f"{folder} holds a run without a finished part: the command that began it goes on with it, "
            "with the same options"
        )
    if not parts and table_of(folder).is_file():
        yield from read_summary(table_of(folder))
    for part in parts:
        yield from some_rows(read_summary(table_of(part)), part, table_of(part).name)


def some_rows(rows: Iterator[dict[str, str]], part: object, table: str) -> Iterator[dict[str, str]]:
    """Yields the rows of a part.

    Args:
      rows: of its table.
      part: what errors call it.
      table: name of the table.

    Raises:
      DataError: there are none.
    """
    first = next(rows, None)
    if first is None:
        raise DataError(
            f"{part} is damaged, its {table} has no rows: without the part, the command that wrote it makes "
            "it again"
        )
    yield from chain([first], rows)


def table_of(folder: Path) -> Path:
    """Returns the file with a row for each structure, of the sampler, of `relax` or of `phonons`."""
    found = (name for name in (RELAXED_NAME, PHONONS_NAME) if (folder / name).is_file())
    return folder / next(found, SUMMARY_NAME)


def unzip_part(content: bytes, where: str, name: str) -> bytes:
    """Returns a file of a part that is a zip archive.

    Args:
      content: of the archive.
      where: what it is called in errors.
      name: of the file.

    Raises:
      DataError: there is no such file, or the archive is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            require_size(archive, len(content))
            return archive.read(name)
    except (*ARCHIVE_ERRORS, DataError) as error:
        raise DataError(f"cannot read {name} of {where}: {one_line(error)}") from error


def _archives(folder: Path) -> list[Path]:
    return sorted((folder / PARTS).glob(f"*{ZIPPED}")) if (folder / RUN_NAME).is_file() else []
