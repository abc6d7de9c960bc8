"""Writes files that are complete or absent whenever the program is stopped; claims and packs folders."""

import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from jaxcrystal.errors import DataError, one_line

#: Bytes of a file of settings, at most.
LONGEST_TEXT = 2**24
#: Bytes that an archive may become whatever its size, and how many times its size beyond that.
#: Prepared data shrinks to a fifth, ten thousand equal structures to a fiftieth, zeros to a thousandth.
ALWAYS_ALLOWED = 2**27
MOST_EXPANSION = 200
#: What damaged archives raise; a RuntimeError is that of one with a password.
ARCHIVE_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, zlib.error,
                  zipfile.BadZipFile)  # fmt: skip
#: Name of the file that says which process writes to a folder.
LOCK = ".lock.part"
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


def write_bytes(path: str | Path, content: bytes, overwrite: bool = True) -> None:
    """Writes a file as `write_atomically` does."""

    def write(file: BinaryIO) -> None:
        file.write(content)

    write_atomically(path, write, overwrite)


def write_text(path: str | Path, text: str, overwrite: bool = True) -> None:
    """Writes a text file (UTF-8) as `write_atomically` does."""
    write_bytes(path, text.encode(), overwrite)


def read_text(path: str | Path, most: int = LONGEST_TEXT) -> str:
    """Returns the text (UTF-8) of a file that is read at once, such as settings.

    Args:
      path: of the file.
      most: bytes that it may have; a device or a pipe is read no further.

    Raises:
      DataError: there is no such file, it cannot be read, is longer or is no text; without its name.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise DataError(f"it is longer than {most // 2**20} MiB")
        return content.decode()
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    except ValueError as error:  # a name with a NUL, bytes that are no UTF-8
        raise DataError(one_line(error)) from error


def require_regular(path: Path) -> None:
    """Checks that a file is one, and no device or pipe, which may never end.

    Raises:
      DataError: it is none; without its name.
      OSError: there is no such file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError("it is no regular file")


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


def remove_partial(folder: Path) -> None:
    """Removes what processes that were killed left half written in a folder."""
    for path in list(filter(is_partial, folder.iterdir() if folder.is_dir() else ())):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # which another job may be removing
        elif path.name != LOCK:
            path.unlink(missing_ok=True)


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
                require_size(content, archive.stat().st_size)
                content.extractall(folder)
        archive.unlink()
    except (*ARCHIVE_ERRORS, DataError) as error:
        raise DataError(f"cannot read {archive.name}: {one_line(error)}") from error


def require_size(archive: zipfile.ZipFile, size: int) -> None:
    """Raises DataError where an archive would become much larger than any of ours does.

    Args:
      archive: of which only what it says of itself is read.
      size: its bytes.
    """
    total, most = sum(info.file_size for info in archive.infolist()), most_unpacked(size)
    if total > most:
        raise DataError(f"its {size} bytes would be {total} when unpacked, expected at most {most}")


def most_unpacked(size: int) -> int:
    """Returns the bytes that a compressed file of `size` bytes may become."""
    return max(ALWAYS_ALLOWED, MOST_EXPANSION * size)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
