"""Writes files that are complete or absent whenever the program is stopped; claims and packs folders."""

import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from jaxcrystal.errors import DataError

#: Of every file of an archive: the first moment that the format knows.
_MOMENT = (1980, 1, 1, 0, 0, 0)


def write_atomically(path: str | Path, write: Callable[[BinaryIO], None], overwrite: bool = True) -> None:
    """Writes a file beside its final place and renames it once it is complete.

    A process killed on the way, or a full disk, leaves the old file or none.

    Args:
      path: the file to write; its folder is made if need be.
      write: receives the open binary file.
      overwrite: False refuses an existing `path`.

    Raises:
      DataError: the file exists already, or cannot be written.
    """
    path = Path(path)
    if not overwrite:
        require_absent(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: str | Path, text: str, overwrite: bool = True) -> None:
    """Writes a text file (UTF-8) as `write_atomically` does."""

    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    write_atomically(path, write, overwrite)


def require_absent(path: str | Path) -> None:
    """Raises DataError if `path` exists."""
    if Path(path).exists():
        raise DataError(f"{path} exists already: choose another name or remove it first")


def claim_folder(
    out: str | Path, advice: str = "choose another --out, nothing is overwritten", leftovers: bool = False
) -> Path:
    """Makes the folder that results will be written to.

    Args:
      out: where.
      advice: what the error says to do.
      leftovers: True: what a process that was killed left half written may be in it.

    Raises:
      DataError: it holds something already, or cannot be made.
    """
    require_free(out, advice, leftovers)
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {out}: {error.strerror or error}") from error
    return out


def require_free(out: str | Path, advice: str, leftovers: bool = False) -> None:
    """Checks that `claim_folder` would take a folder, and makes nothing.

    Raises:
      DataError: it holds something already, or is none.
    """
    out = Path(out)
    try:
        if out.exists() and any(not (leftovers and is_partial(path)) for path in out.iterdir()):
            raise DataError(f"{out} is not empty: {advice}")
    except OSError as error:
        raise DataError(f"cannot write to {out}: {error.strerror or error}") from error


def is_partial(path: Path) -> bool:
    """Returns whether a file or folder is one that was being written when its process was killed."""
    return path.name.startswith(".") and path.name.endswith(".part")


def zipped(folder: Path, compress: bool = True) -> bytes:
    """Returns the files of a folder as a zip archive; the same files give the same bytes."""
    content = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _MOMENT)
            member.external_attr = 0o644 << 16
            archive.writestr(member, path.read_bytes(), method)
    return content.getvalue()


def unpack(archive: Path) -> None:
    """Puts the folder that `archive` was made of in its place, without the ending; one that is there is kept.

    Raises:
      DataError: the archive is damaged, or the folder cannot be written.
    """
    folder = archive.with_suffix("")
    try:
        if not folder.exists():
            with zipfile.ZipFile(archive) as content:
                content.extractall(folder)
        archive.unlink()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {archive.name}: {error}") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
