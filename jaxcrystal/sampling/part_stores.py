"""Where the parts of a run lie: folders of a file system, or objects at a URL.

On a disk a part is a folder, parts/00000, that is renamed to its place once it is complete; at a
URL it is one object with the same files, parts/00000.zip, which comes whole or not at all.
"""

import io
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TextIO

from jaxcrystal.errors import DataError
from jaxcrystal.files import is_partial, remove_partial, require_regular, write_atomically, zipped
from jaxcrystal.remote import Objects, is_url
from jaxcrystal.structures.folder import PARTS, ZIPPED, is_part, unzip_part

#: Writes the files of a part into a folder that does not exist yet.
Fill = Callable[[Path], object]
#: Writes into an open file.
Write = Callable[[BinaryIO], None]


class PartStore(ABC):
    """What a run folder needs of the place that it lies in. Every method may raise DataError."""

    @abstractmethod
    def others(self) -> bool:
        """Returns whether anything is there but what a killed process left half written."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Returns whether a file is there; it is whole then."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Returns a file's content; None if there is none of this name."""

    def lines(self, name: str) -> AbstractContextManager[TextIO]:
        """Opens a text, for a file of any size."""
        return io.TextIOWrapper(io.BytesIO(self.read(name) or b""), "utf-8", newline="")

    @abstractmethod
    def write(self, name: str, write: Write) -> None:
        """Writes a file, whole or not at all, in place of an older one."""

    @abstractmethod
    def parts(self) -> set[int]:
        """Returns the numbers of the parts that are there; each is whole."""

    @abstractmethod
    def write_part(self, part: int, fill: Fill) -> None:
        """Writes a part, whole or not at all; of two jobs that do so the files of one stay."""

    @abstractmethod
    def read_part(self, part: int, name: str) -> bytes:
        """Returns a file of a part."""

    @abstractmethod
    def clean(self) -> None:
        """Removes what killed processes left half written."""


def part_store(place: str | Path) -> PartStore:
    """Returns the store of a path or URL."""
    return _AtUrl(Objects(str(place))) if is_url(place) else _OnDisk(Path(place))


class _OnDisk(PartStore):
    def __init__(self, path: Path) -> None:
        self._path = path

    def others(self) -> bool:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            return any(not is_partial(path) for path in self._path.iterdir())
        except OSError as error:
            raise DataError(f"cannot write to {self._path}: {error.strerror or error}") from error

    def has(self, name: str) -> bool:
        path = self._path / name
        return path.is_file() and path.stat().st_size > 0

    def read(self, name: str) -> bytes | None:
        path = self._path / name
        try:
            require_regular(path)
            return path.read_bytes()
        except DataError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error

    def lines(self, name: str) -> AbstractContextManager[TextIO]:
        path = self._path / name
        try:
            require_regular(path)
            return path.open(encoding="utf-8", newline="")
        except DataError as error:
            raise DataError(f"cannot read {path}: {error}") from error
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error

    def write(self, name: str, write: Write) -> None:
        write_atomically(self._path / name, write)

    def parts(self) -> set[int]:
        try:
            names = os.listdir(self._path / PARTS)
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise DataError(f"cannot read {self._path / PARTS}: {error.strerror or error}") from error
        if packed := sorted(name for name in names if name.endswith(ZIPPED)):
            raise DataError(
                f"{self._path / PARTS / packed[0]} is a part as runs at a URL have it: unpack each "
                f"into a folder of its name without {ZIPPED}, and remove it"
            )
        return {number for number in _numbers(names) if is_part(self._place(number))}

    def write_part(self, part: int, fill: Fill) -> None:
        place = self._place(part)
        temporary = None
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own: a job that was started twice, or is still dying, may write the same part.
            temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
            filled = temporary / place.name  # which gets the permissions that the user wants
            fill(filled)
            os.rename(filled, place)
        except (OSError, DataError) as error:
            if is_part(place):
                return  # the other one was faster; its files are the same
            if isinstance(error, DataError):
                raise
            if place.exists():
                raise DataError(
                    f"{place} is no part of the run, and stands in the way of one: remove it"
                ) from error
            raise DataError(f"cannot write {place}: {error.strerror or error}") from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def read_part(self, part: int, name: str) -> bytes:
        content = self.read(f"{PARTS}/{_name(part)}/{name}")
        if content is None:
            raise DataError(f"cannot read {self._place(part) / name}: it does not exist")
        return content

    def clean(self) -> None:
        for folder in (self._path, self._path / PARTS):
            remove_partial(folder)

    def _place(self, part: int) -> Path:
        return self._path / PARTS / _name(part)


class _AtUrl(PartStore):
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def others(self) -> bool:
        return bool(self._objects.names())

    def has(self, name: str) -> bool:
        return self._objects.exists(name)

    def read(self, name: str) -> bytes | None:
        return self._objects.read(name) if self._objects.exists(name) else None

    def write(self, name: str, write: Write) -> None:
        with tempfile.TemporaryDirectory(prefix="jaxcrystal-") as folder:
            path = Path(folder) / name
            write_atomically(path, write)
            self._objects.upload(name, path)

    def parts(self) -> set[int]:
        names = self._objects.names(PARTS)
        if loose := sorted(_numbers(names)):
            raise DataError(
                f"{self._objects}/{PARTS}/{_name(loose[0])} is a part as runs on a disk have it: copy "
                f"each one as an archive, {_name(loose[0])}{ZIPPED}"
            )
        return set(_numbers(name.removesuffix(ZIPPED) for name in names if name.endswith(ZIPPED)))

    def write_part(self, part: int, fill: Fill) -> None:
        with tempfile.TemporaryDirectory(prefix="jaxcrystal-") as folder:
            filled = Path(folder) / _name(part)
            fill(filled)
            self._objects.write(self._place(part), zipped(filled))

    def read_part(self, part: int, name: str) -> bytes:
        return unzip_part(self._objects.read(self._place(part)), f"{self._objects}/{self._place(part)}", name)

    def clean(self) -> None:
        """Does nothing: nothing is there half written."""

    def _place(self, part: int) -> str:
        return f"{PARTS}/{_name(part)}{ZIPPED}"


def _name(part: int) -> str:
    return f"{part:05d}"


def _numbers(names: Iterable[str]) -> Iterable[int]:
    return (int(name) for name in names if name.isascii() and name.isdigit() and name == _name(int(name)))
