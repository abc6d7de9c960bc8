"""Objects at URLs such as gs://bucket/run, through fsspec: each is complete or absent.

An object store has no folders and renames nothing: what must be whole is one object, which
is there once all of it has arrived.
"""

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from jaxcrystal.errors import DataError, JaxcrystalError, one_line

_URL = re.compile(r"(?P<kind>[A-Za-z][A-Za-z0-9+.-]*)://")
#: What is on the local disk under another name.
_LOCAL = ("file", "local")
#: Loggers that print what is raised as well, with tracebacks.
_CHATTY = ("fsspec", "gcsfs", "s3fs")
_EXTRA = "pip install 'jaxcrystal[remote]'"


def is_url(place: str | Path | None) -> bool:
    """Returns whether a place is a URL, such as `s3://bucket/run`, and no path."""
    return isinstance(place, str) and _URL.match(place) is not None


class Objects:
    """What is below a URL; made anew from the URL where it is sent to another process.

    Args:
      url: of a folder, or of one object.

    Raises:
      DataError: a kind of URL that is not known, or whose package is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = _opened(self.url)

    def __reduce__(self) -> tuple[type["Objects"], tuple[str]]:
        return Objects, (self.url,)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last word of the URL."""
        return PurePosixPath(self._root).name or "bucket"

    def names(self, folder: str = "") -> set[str]:
        """Returns the names in a folder, without those of its folders' contents; none if there is no such.

        Raises:
          DataError: the store cannot be read.
        """
        with self._told("read", folder):
            try:
                found = self._fs.ls(self._path(folder), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return set()
        # A folder that was made by hand in a store's console is an object of its own.
        itself = self._path(folder).rstrip("/")
        paths = (path.rstrip("/") for path in found)
        return {PurePosixPath(path).name for path in paths if path != itself}

    def below(self) -> list[str]:
        """Returns the names of all objects, those in folders as `folder/name`.

        Raises:
          DataError: the store cannot be read.
        """
        with self._told("read"):
            found = [PurePosixPath(path) for path in self._fs.find(self._root)]
        names = (path.relative_to(PurePosixPath(self._root)) for path in found)
        return sorted(str(name) for name in names if ".." not in name.parts)

    def exists(self, name: str = "") -> bool:
        """Returns whether there is an object of this name.

        Raises:
          DataError: the store cannot be read.
        """
        with self._told("read", name):
            return self._is_object(self._path(name))

    def read(self, name: str) -> bytes:
        """Returns an object's content.

        Raises:
          DataError: there is no such object, or it cannot be read.
        """
        with self._told("read", name):
            content: bytes = self._fs.cat_file(self._path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes an object, in place of an older one.

        Raises:
          DataError: it cannot be written; the older one, or none, is there then.
        """
        with self._told("write", name):
            self._fs.pipe_file(self._path(name), content)

    def upload(self, name: str, path: Path) -> None:
        """Writes an object of a file's content, which may be large.

        Raises:
          DataError: it cannot be written; the older one, or none, is there then.
        """
        with self._told("write", name):
            self._fs.put_file(str(path), self._path(name))

    def remove(self, name: str) -> None:
        """Removes an object if it is there.

        Raises:
          DataError: it cannot be removed.
        """
        with self._told("remove", name), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def download(self, place: Path, only: Sequence[str] | None = None) -> None:
        """Copies the object, or all objects below the URL, to the local disk.

        Args:
          place: of the copy: a file, or a folder.
          only: names of the objects to copy, as far as they are there; None: all.

        Raises:
          DataError: there is nothing, or it cannot be read.
        """
        with self._told("read"):
            if only is None and self._is_object(self._root):
                place.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(self._root, str(place))
                return
            found = self.below() if only is None else [name for name in only if self.exists(name)]
            if not found:
                raise DataError(f"{self.url} does not exist, or there is nothing in it")
            for name in found:
                target = place / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(self._path(name), str(target))

    def _is_object(self, path: str) -> bool:
        try:  # `isfile` takes every error for an absence
            return bool(self._fs.info(path)["type"] == "file")
        except FileNotFoundError:
            return False

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextmanager
    def _told(self, doing: str, name: str = "") -> Iterator[None]:
        """Makes one line of whatever the library of a store raises."""
        # Others write there too: nothing that was listed before is believed.
        self._fs.invalidate_cache()
        try:
            yield
        except JaxcrystalError:
            raise
        except Exception as error:
            where = f"{self.url}/{name}" if name else self.url
            if isinstance(error, FileNotFoundError) and doing == "read":
                raise DataError(f"{where} does not exist") from error
            raise DataError(f"cannot {doing} {where}: {one_line(error)}") from error


@contextmanager
def local_copy(source: str | Path, only: Sequence[str] | None = None) -> Iterator[Path]:
    """Gives a local path of a source: its own, or, of a URL, that of a copy which is then removed.

    Args:
      source: path or URL of a file or folder.
      only: names of what is copied of a folder; None: all.

    Raises:
      DataError: there is nothing at the URL, or it cannot be read.
    """
    if not is_url(source):
        yield Path(source)
        return
    objects = Objects(str(source))
    with tempfile.TemporaryDirectory(prefix="jaxcrystal-") as folder:
        place = Path(folder) / objects.name
        objects.download(place, only)
        yield place


def _opened(url: str) -> tuple[Any, str]:
    """Returns the file system of a URL, and the path in it."""
    match = _URL.match(url)
    kind = match["kind"] if match else ""
    if kind in _LOCAL:
        raise DataError(f"{url} is on this disk: give the path alone")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
    except ImportError as error:
        raise DataError(f"{url} needs packages that are not installed: {_EXTRA}") from error
    except Exception as error:  # as that of an unknown kind, and of credentials that cannot be read
        raise DataError(f"{url} cannot be used: {one_line(error)}") from error
    return fs, str(path).rstrip("/")
