"""Writes many small files at once: each complete or absent, and all on the disk at the end."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from jaxcrystal.errors import DataError

#: Files that are open at a time.
_AT_A_TIME = 128
#: Of them, those that the disk is asked for at once: a file system serves several with one flush.
_THREADS = 8


class _Open(NamedTuple):
    handle: int
    temporary: Path
    path: Path


def write_together(folder: Path, contents: Iterable[tuple[str, str]]) -> None:
    """Writes text files (UTF-8) as `files.write_text` does, but waits for the disk for many at once.

    Waiting takes milliseconds a file one after the other, longer than a crystal takes to compute.

    Args:
      folder: of the files; made if need be.
      contents: name (`folder/name` below that folder) and text of each. They come to their places
        in this order.

    Raises:
      DataError: one cannot be written; it and those after it are absent then.
    """
    contents = iter(contents)
    while group := list(islice(contents, _AT_A_TIME)):
        _write_group(folder, group)


def _write_group(folder: Path, group: list[tuple[str, str]]) -> None:
    written: list[_Open] = []
    try:
        for name, text in group:
            written.append(_opened(folder / name))
            with _told(written[-1].path), open(written[-1].handle, "wb", closefd=False) as opened:
                opened.write(text.encode())
        with ThreadPoolExecutor(min(_THREADS, len(written))) as threads:
            list(threads.map(_sync, written))
        for file in written:
            with _told(file.path):
                os.replace(file.temporary, file.path)
    finally:
        for file in written:
            os.close(file.handle)
            file.temporary.unlink(missing_ok=True)


def _opened(path: Path) -> _Open:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return _Open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), temporary, path)


def _sync(file: _Open) -> None:
    with _told(file.path):
        os.fsync(file.handle)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Makes an error of the system one that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
