"""Reads the folder of a sampling run, on the disk or at a URL: its parts, and the rows of their summaries."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jaxcrystal.errors import DataError
from jaxcrystal.files import is_partial, unpack
from jaxcrystal.remote import local_copy
from jaxcrystal.structures.summary import RELAXED_NAME, SUMMARY_NAME, read_summary

RUN_NAME = "run.json"
PARTS = "parts"
#: Ending of a part that is one object, at a URL.
ZIPPED = ".zip"


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
    found = (path for path in (folder / PARTS).glob("*") if not is_partial(path) and path.suffix != ZIPPED)
    return sorted(found, key=lambda path: (len(path.name), path.name))


def summary_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a folder of the sampler or of `relax`, of all parts where it has some.

    None for other folders.
    """
    parts = part_folders(folder)
    for place in parts or [folder]:
        relaxed = (place / RELAXED_NAME).is_file()
        if parts or relaxed or (place / SUMMARY_NAME).is_file():
            yield from read_summary(place / (RELAXED_NAME if relaxed else SUMMARY_NAME))


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
            return archive.read(name)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {name} of {where}: {error}") from error


def _archives(folder: Path) -> list[Path]:
    return sorted((folder / PARTS).glob(f"*{ZIPPED}")) if (folder / RUN_NAME).is_file() else []
