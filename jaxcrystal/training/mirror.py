"""Keeps the folder of a training run at a URL, for machines that share no disk and may be taken away.

Every file of the folder is an object of its name; a checkpoint is one, checkpoints/STEP.zip, so
that it is complete or absent there.
"""

import tempfile
from pathlib import Path
from types import TracebackType

from jaxcrystal.errors import DataError
from jaxcrystal.files import is_partial, unpack, zipped
from jaxcrystal.remote import Objects

_CHECKPOINTS = "checkpoints"
_ZIPPED = ".zip"


class Mirror:
    """A local folder, which is removed at the end, and its copy at a URL.

    Attributes:
      folder: the local one.

    Args:
      url: of the run.

    Raises:
      DataError: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._objects = Objects(url)
        self._temporary = tempfile.TemporaryDirectory(prefix="jaxcrystal-")
        self.folder = Path(self._temporary.name) / self._objects.name
        self.folder.mkdir()
        self._there: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._temporary.cleanup()

    def require_empty(self) -> None:
        """Checks that a new run may be written there.

        Raises:
          DataError: something is there, or the store cannot be read.
        """
        if self._objects.names():
            raise DataError(
                f"{self._objects} is not empty: give another out=..., or --resume to go on with its run"
            )

    def fetch(self) -> None:
        """Copies the run, as far as there is one, into the folder.

        Raises:
          DataError: it cannot be read, or a checkpoint is damaged.
        """
        if not self._objects.names():
            return
        self._objects.download(self.folder)
        for archive in (self.folder / _CHECKPOINTS).glob(f"*{_ZIPPED}"):
            unpack(archive)
        self._there = self._files()

    def push(self) -> None:
        """Copies what is new in the folder: the checkpoints last, since they count on the logs.

        Raises:
          DataError: it cannot be written. The last checkpoint before is there then.
        """
        files = self._files()
        for name, stamp in files.items():
            if self._there.get(name) != stamp:
                self._objects.upload(name, self.folder / name)
        self._there = files
        steps = {path.name for path in (self.folder / _CHECKPOINTS).glob("*") if path.name.isdigit()}
        there = {name.removesuffix(_ZIPPED) for name in self._objects.names(_CHECKPOINTS)}
        for step in sorted(steps - there, key=int):
            # Weights are as good as random numbers: they do not become smaller.
            content = zipped(self.folder / _CHECKPOINTS / step, compress=False)
            self._objects.write(f"{_CHECKPOINTS}/{step}{_ZIPPED}", content)
        for step in there - steps:
            self._objects.remove(f"{_CHECKPOINTS}/{step}{_ZIPPED}")

    def _files(self) -> dict[str, tuple[int, int]]:
        """Returns the files beside the checkpoints by name, with what changes when they do."""
        found = {}
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            place = path.relative_to(self.folder)
            if place.parts[0] != _CHECKPOINTS and not any(is_partial(Path(part)) for part in place.parts):
                status = path.stat()
                found[place.as_posix()] = (status.st_mtime_ns, status.st_size)
        return found
