"""Runs one function over many structures: in this process, in several, or on a cluster."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from jaxcrystal.environment import num_cpus
from jaxcrystal.errors import DataError, JaxcrystalError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items that travel to a worker together; what a killed run can lose of the cache.
CHUNK = 8
#: Up to so many chunks, starting processes takes longer than the work.
_FEW = 4
_CLUSTER_TIMEOUT = 20.0
#: Of Linux: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def map_structures(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int | None = None,
    dask: str | None = None,
    description: str = "work",
    chunk: int = CHUNK,
    progress: bool = True,
) -> list[Result]:
    """Returns `function` of every item, in order; see `stream_structures`."""
    how: dict[str, Any] = {"processes": processes, "dask": dask, "chunk": chunk, "progress": progress}
    return list(stream_structures(function, items, description=description, **how))


def stream_structures(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int | None = None,
    dask: str | None = None,
    description: str = "work",
    chunk: int = CHUNK,
    progress: bool = True,
) -> Iterator[Result]:
    """Yields `function` of every item, in order, with a progress bar on stderr.

    Args:
      function: of one item; defined at the top of a module, and so that it returns what went
        wrong with an item: an exception ends the whole run.
      items: what can be pickled.
      processes: worker processes, default one a CPU; 1 works in this process. In a script,
        call it under `if __name__ == "__main__":`, since the processes import the script.
      dask: address of a scheduler, such as `tcp://10.0.0.1:8786`, whose workers have this
        package and its extras installed; `processes` is not used then.
      description: of the bar.
      chunk: items that travel to a worker together; 1 where one takes a second.
      progress: show the bar.

    Raises:
      JaxcrystalError: no `distributed`, no scheduler at that address, or a failure there.
      DataError: a worker process died.
    """
    chunks = [list(items[start : start + chunk]) for start in range(0, len(items), chunk)]
    if processes is not None and processes < 1:
        raise DataError(f"processes is {processes}, expected 1 or more")
    count = min(processes or num_cpus(), len(chunks))
    if dask is not None:
        outcomes = _on_cluster(function, chunks, dask)
    elif count > 1 and len(chunks) > _FEW:
        outcomes = in_processes(function, chunks, count)
    else:
        outcomes = (_apply(function, [item]) for item in items)
    bar: tqdm[Any] = tqdm(
        total=len(items),
        desc=description,
        file=sys.stderr,
        smoothing=0.1,
        mininterval=0.5,
        disable=not (progress and items),
    )
    with bar:
        for results in outcomes:
            yield from results
            bar.update(len(results))


def _apply(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def in_processes(
    function: Callable[[Item], Result], chunks: Iterable[list[Item]], processes: int
) -> Iterator[list[Result]]:
    """Yields `function` of every item, in order, chunk by chunk; the processes are ended with the iteration.

    Args:
      function: see `stream_structures`.
      chunks: of items that travel together; few of them are read ahead.
      processes: that work.

    Raises:
      DataError: a worker process died.
    """
    pool = _pool(processes)
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_apply, function, chunk))
            if len(waiting) >= 8 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died (out of memory, a crash in a library, or a script that does not call "
            'this under `if __name__ == "__main__":`); try processes=1'
        ) from error
    finally:
        if waiting:  # nobody wants it any more, as after Ctrl-C: what is half done can take minutes
            for process in list((pool._processes or {}).values()):
                process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


class Workers(Generic[Item]):
    """Processes that work off tasks while this one goes on: `with Workers(function, 2) as workers: ...`.

    The end of the block waits for all that was given, also after an error or Ctrl-C. Processes
    of a parent that was killed end by themselves.

    Args:
      function: of one task, for its effect; defined at the top of a module.
      count: processes; 0: each task is done when it is given, by this one.
    """

    def __init__(self, function: Callable[[Item], None], count: int) -> None:
        self._function = function
        self._count = count
        self._waiting: deque[Future[None]] = deque()
        self._pool = _pool(count) if count else None
        if self._pool is not None:
            for _ in range(count):  # they start, and import what the function needs, meanwhile
                self._pool.submit(_ready, function)

    def give(self, task: Item) -> None:
        """Hands over a task; waits while there are two for each process, so that memory does not grow.

        Raises:
          DataError: a process died.
          Exception: what the function raised for an earlier task.
        """
        if self._pool is None:
            self._function(task)
            return
        while self._waiting and (len(self._waiting) >= 2 * self._count or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._function, task))

    def __enter__(self) -> "Workers[Item]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._pool is None:
            return
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        except BrokenProcessPool as broken:
            raise _died(broken) from broken
        finally:
            self._pool.shutdown(wait=True)
        if isinstance(error, BrokenProcessPool):
            raise _died(error) from error


def _died(error: BrokenProcessPool) -> DataError:
    return DataError(
        "a worker process died (out of memory, a crash in a library, or a script that does not call this "
        'under `if __name__ == "__main__":`); what is complete is kept'
    )


def _pool(count: int) -> ProcessPoolExecutor:
    # spawn: a fork of a process in which JAX has started threads can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)


def _ready(function: Callable[..., Any]) -> None:
    """Does nothing; the process has imported the function's module to get here."""


def _start_worker() -> None:
    # Ctrl-C reaches all processes of a terminal: the parent says when the work ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


def _end_with_parent() -> None:
    """Ends this process when its parent is no more: the queue that it waits at has no end of its own."""
    if sys.platform == "linux":  # at once, in the middle of a library's work too
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def require_scheduler(address: str) -> None:
    """Raises what `stream_structures` would, before hours are spent on what comes first.

    Raises:
      JaxcrystalError: no `distributed`, or no scheduler at that address.
    """
    _connect(address).close()


def _connect(address: str) -> Any:
    """Returns a client of the scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise JaxcrystalError("--dask needs distributed: pip install 'jaxcrystal[distributed]'") from None
    try:
        return Client(address, timeout=_CLUSTER_TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise JaxcrystalError(
            f"no dask scheduler at {address} ({_first_line(error)}): start one with `dask scheduler`, "
            "workers with `dask worker`, and give its address, such as tcp://10.0.0.1:8786"
        ) from error


def _on_cluster(
    function: Callable[[Item], Result], chunks: list[list[Item]], address: str
) -> Iterator[list[Result]]:
    client = _connect(address)
    futures: list[Any] = []
    try:
        # pure=False: equal items are computed anew instead of being hashed here.
        futures = [client.submit(_apply, function, chunk, pure=False) for chunk in chunks]
        while futures:
            try:
                result = futures[0].result()
            except Exception as error:  # a worker without this package, out of memory, or gone
                raise JaxcrystalError(
                    f"the work failed on the cluster at {address} ({type(error).__name__}: "
                    f"{_first_line(error)}); its workers need this version of jaxcrystal with its extras"
                ) from error
            futures.pop(0)  # its memory on the cluster is freed with it
            yield result
    finally:
        client.cancel(futures)
        client.close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
