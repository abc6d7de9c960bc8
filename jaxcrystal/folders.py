"""Keeps two processes from writing to one folder, and fills a folder with results all at once."""

import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxcrystal.errors import DataError
from jaxcrystal.files import LOCK, claim_folder, is_partial, write_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Where results are until all are there, and in it the names of those that are being moved out.
_RESULTS, _NAMES = ".results.part", ".names"


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Keeps other processes out of a folder that is there, until the block or the process ends.

    On a file system without locks it keeps nobody out.

    Raises:
      DataError: another process holds the folder.
    """
    path = Path(folder) / LOCK
    try:
        lock = _locked(path)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        if lock is not None:
            with suppress(OSError):
                path.unlink()
            os.close(lock)


def _locked(path: Path) -> int | None:
    """Returns an open file with a lock on it, which says who has it; None where there are no locks."""
    while fcntl is not None:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            raise DataError(
                f"{path.parent} is in use by {who}: let it end, or choose another folder"
            ) from None
        except OSError:
            os.close(file)
            return None
        # The process that had the lock may have removed the file that this one waited at.
        if path.exists() and os.fstat(file).st_ino == path.stat().st_ino:
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            return file
        os.close(file)
    return None


@contextmanager
def results_folder(out: str | Path) -> Iterator[Path]:
    """Gives a folder to fill; what is in it at the end of the block goes to `out`, or nothing does.

    A process that is killed leaves hidden files only, and the next one starts over.

    Args:
      out: new or empty folder.

    Raises:
      DataError: there is something in `out`, another process is writing to it, or it cannot be written.
    """
    out = Path(out)
    _clear(out)
    claim_folder(out, leftovers=True)
    with held(out):
        results = out / _RESULTS
        shutil.rmtree(results, ignore_errors=True)
        try:
            results.mkdir()
            yield results
            names = sorted(path.name for path in results.iterdir())
            write_text(results / _NAMES, "\n".join(names))
            try:
                for name in names:
                    os.rename(results / name, out / name)
            except BaseException:
                _remove(out / name for name in names if not (results / name).exists())
                raise
        except OSError as error:
            raise DataError(f"cannot write to {out}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(results, ignore_errors=True)


def is_filled(out: str | Path) -> bool:
    """Returns whether `results_folder` has filled a folder to the end."""
    out = Path(out)
    moving = (out / _RESULTS / _NAMES).is_file()
    return out.is_dir() and not moving and any(not is_partial(path) for path in out.iterdir())


def _clear(out: Path) -> None:
    """Removes results that a process was moving to their places when it was killed."""
    names = out / _RESULTS / _NAMES
    if not names.is_file():
        return
    with held(out), suppress(OSError):
        listed = names.read_text(encoding="utf-8", errors="replace").splitlines()
        # Other lines are of another program, or damaged.
        _remove(out / name for name in listed if name not in ("", ".", "..") and Path(name).name == name)
        shutil.rmtree(out / _RESULTS)


def _remove(places: Iterable[Path]) -> None:
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
