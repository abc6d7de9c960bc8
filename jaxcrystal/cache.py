"""Keeps in the user's cache folder what takes long to make: programs, and what was computed of structures."""

import os
import sqlite3
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jaxcrystal.errors import DataError

_HELP = "delete it, or choose another folder with JAXCRYSTAL_CACHE"
#: Bytes of stored programs; the ones that were written first go.
_MOST = 2**30
#: Seconds; to compile what takes less is as quick as to read it.
_LEAST_SECONDS = 0.3


def cache_folder() -> Path:
    """Returns `JAXCRYSTAL_CACHE`, or `~/.cache/jaxcrystal` (below `XDG_CACHE_HOME` if that is set)."""
    if os.environ.get("JAXCRYSTAL_CACHE"):
        return Path(os.environ["JAXCRYSTAL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxcrystal"


class Store:
    """Bytes by key, in a file that several processes may use at once and that a kill leaves whole.

    Args:
      name: of the file, without its ending.
      folder: of the file, default `cache_folder()`; made if need be.

    Raises:
      DataError: it cannot be used; also by every method.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self._folder = cache_folder() if folder is None else folder
        self._name = name
        with self._told():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._folder / f"{name}.sqlite", timeout=60.0)
        try:
            with self._told():
                # Without waiting for the disk: a killed run loses nothing, and a cache may be lost with
                # the power.
                self._database.execute("PRAGMA synchronous = OFF")
                self._database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB)")
        except DataError:
            self._database.close()
            raise

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Returns what is there of some keys."""
        found = {}
        with self._told():
            for key in keys:
                row = self._database.execute("SELECT value FROM rows WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = bytes(row[0])
        return found

    def write(self, key: str, value: bytes) -> None:
        """Puts bytes under a key, in place of others; they stay after the next `commit`."""
        with self._told():
            self._database.execute("REPLACE INTO rows VALUES (?, ?)", (key, value))

    def commit(self) -> None:
        """Makes what was written stay."""
        with self._told():
            self._database.commit()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataError(
                f"the cache {self._name}.sqlite in {self._folder} cannot be used: {error}; {_HELP}"
            ) from None


def keep_programs() -> None:
    """Makes jax store what it compiles in `cache_folder()`, so that the next process need not compile it.

    Nothing changes where jax has a folder for that already (JAX_COMPILATION_CACHE_DIR), where it is told
    to have none (JAX_ENABLE_COMPILATION_CACHE=false), or where the folder cannot be written.
    """
    import jax

    _quiet_loading()
    settings: Any = jax.config
    if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:
        return
    folder = cache_folder() / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_oldest(folder)
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return
    if not os.access(folder, os.W_OK):
        return
    # A disk that is full on the way: the programs are there all the same, for this process.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry", UserWarning)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    # What has been compiled before made jax settle that it has no folder.
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()


def _quiet_loading() -> None:
    """Silences a false alarm, unless the user has said what XLA is to log.

    XLA takes its own settings in a stored program (`prefer-no-gather`) for features that the
    processor lacks, and says at length that the program may crash.
    """
    import jax

    settings: Any = jax.config
    if settings.jax_logging_level == "NOTSET" and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        # Taken back, it holds for XLA still, and no longer for Python's logs.
        jax.config.update("jax_logging_level", "CRITICAL")
        jax.config.update("jax_logging_level", "NOTSET")


def _remove_oldest(folder: Path) -> None:
    files = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process may be doing the same
            if path.is_file():
                files.append((path.stat(), path))
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in sorted(files, key=lambda pair: pair[0].st_mtime):
        if total <= _MOST:
            return
        with suppress(OSError):
            path.unlink(missing_ok=True)
        total -= stat.st_size
