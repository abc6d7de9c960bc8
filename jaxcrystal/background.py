"""Computes values, such as compiled programs, in background threads before they are asked for."""

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Background(Generic[Key, Value]):
    """The value that `make` returns for each key: `background[key]` waits for it.

    Args:
      make: called in a thread, once for each key; what it raises is raised by `background[key]`.
      keys: in the order in which they will be asked for. Others are made when they are.
      threads: that make them.
    """

    def __init__(self, make: Callable[[Key], Value], keys: Iterable[Key], threads: int = 1) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
        self._made: dict[Key, Future[Value]] = {}
        for key in keys:
            self._submit(key)

    def __getitem__(self, key: Key) -> Value:
        if key not in self._made:
            self._submit(key)
        return self._made[key].result()

    def close(self) -> None:
        """Ends the threads, each after what it is making."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, key: Key) -> None:
        self._made[key] = self._pool.submit(self._make, key)
