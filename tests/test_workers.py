"""Order, progress and failures of parallel work."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from jaxcrystal.errors import DataError, JaxcrystalError
from jaxcrystal.workers import Workers, map_structures, require_scheduler, stream_structures


def square(number: int) -> int:
    return number * number


def process_id(number: int) -> int:
    return os.getpid()


def die(number: int) -> int:
    os._exit(3)


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused\nfor a long reason")


@pytest.mark.parametrize("processes", [1, 2, None])
def test_order_is_kept(processes, capsys) -> None:
    numbers = list(range(99, -1, -1))
    assert map_structures(square, numbers, processes=processes, description="squares") == [
        n * n for n in numbers
    ]
    assert "squares: 100%" in capsys.readouterr().err


def test_no_items(capsys) -> None:
    assert map_structures(square, [], processes=2) == []
    assert capsys.readouterr().err == ""


def test_processes() -> None:
    """One process is this one; several are others; few items are not worth starting any."""
    assert set(map_structures(process_id, list(range(50)), processes=1)) == {os.getpid()}
    assert os.getpid() not in map_structures(process_id, list(range(50)), processes=2)
    assert set(map_structures(process_id, list(range(5)), processes=2)) == {os.getpid()}
    # Five items that take a second each are worth it.
    assert os.getpid() not in map_structures(process_id, list(range(5)), processes=2, chunk=1)
    with pytest.raises(DataError, match="processes is 0, expected 1 or more"):
        map_structures(square, [1], processes=0)


@pytest.mark.parametrize("processes", [1, 2])
def test_chunks_and_progress_change_nothing(processes, capsys) -> None:
    numbers = list(range(23))
    found = map_structures(square, numbers, processes=processes, chunk=3, progress=False)
    assert found == [n * n for n in numbers]
    assert capsys.readouterr().err == ""


def test_results_come_while_the_rest_is_worked_on() -> None:
    seen = []

    def note(number: int) -> int:
        seen.append(number)
        return number

    stream = stream_structures(note, list(range(10)), processes=1)
    assert next(stream) == 0
    assert seen == [0]
    stream.close()


def test_a_worker_that_dies_is_said() -> None:
    with pytest.raises(DataError, match="a worker process died"):
        map_structures(die, list(range(50)), processes=2)


def test_dask_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for call in (require_scheduler, lambda address: map_structures(square, [1], dask=address)):
        with pytest.raises(JaxcrystalError, match=r"pip install 'jaxcrystal\[distributed\]'"):
            call("tcp://127.0.0.1:1")


def test_no_scheduler_at_the_address(monkeypatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("jaxcrystal.workers._CLUSTER_TIMEOUT", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (require_scheduler, lambda address: map_structures(square, [1], dask=address)):
            with pytest.raises(
                JaxcrystalError, match=r"no dask scheduler at tcp://127\.0\.0\.1:1 "
            ) as caught:
                call("tcp://127.0.0.1:1")
            assert "\n" not in str(caught.value)


def test_on_a_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    numbers = list(range(40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster:
            assert cluster.scheduler_address.startswith("tcp://")
            require_scheduler(cluster.scheduler_address)
            found = map_structures(square, numbers, dask=cluster.scheduler_address)
            with pytest.raises(
                JaxcrystalError, match=r"failed on the cluster at tcp.*: 0 is refused"
            ) as caught:
                map_structures(refuse, numbers, dask=cluster.scheduler_address)
    assert found == [n * n for n in numbers]
    assert "\n" not in str(caught.value)


def append(task: tuple[str, int]) -> None:
    path, number = task
    if number < 0:
        raise DataError(f"{number} is refused")
    with open(path, "a") as file:
        file.write(f"{number} {os.getpid()}\n")


def append_or_die(task: tuple[str, int]) -> None:
    if task[1] == 3:
        os._exit(3)
    append(task)


def written(path) -> list[tuple[int, int]]:
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_workers_do_every_task(count, tmp_path) -> None:
    with Workers(append, count) as workers:
        for number in range(20):
            workers.give((str(tmp_path / "out"), number))
    numbers, processes = zip(*written(tmp_path / "out"), strict=True)
    assert sorted(numbers) == list(range(20))
    assert (os.getpid() in processes) == (count == 0)
    assert len(set(processes)) <= max(count, 1)


def give_all(function, count: int, path, numbers, then: BaseException | None = None) -> None:
    with Workers(function, count) as workers:
        for number in numbers:
            workers.give((str(path), number))
        if then is not None:
            raise then


@pytest.mark.parametrize("count", [0, 1])
def test_an_error_of_a_task_is_raised(count, tmp_path) -> None:
    with pytest.raises(DataError, match="-1 is refused"):
        give_all(append, count, tmp_path / "out", [0, -1])
    assert [number for number, _ in written(tmp_path / "out")] == [0]


def test_what_was_given_is_done_when_the_parent_stops(tmp_path) -> None:
    """Ctrl-C while the next task is made."""
    with pytest.raises(KeyboardInterrupt):
        give_all(append, 1, tmp_path / "out", [0, 1], KeyboardInterrupt())
    assert [number for number, _ in written(tmp_path / "out")] == [0, 1]


def test_a_worker_that_dies_is_one_line(tmp_path) -> None:
    with pytest.raises(DataError, match="a worker process died") as error:
        give_all(append_or_die, 1, tmp_path / "out", range(20))
    assert "\n" not in str(error.value)
    assert [number for number, _ in written(tmp_path / "out")] == [0, 1, 2]


def stay(path: str) -> None:
    """Notes its process, and stays in a library that lets no other thread of it run."""
    with open(path, "a") as file:
        file.write(f"0 {os.getpid()}\n")
    ctypes.PyDLL(None).sleep(100_000)


_BUSY_PARENT = """
import signal, sys
from jaxcrystal.workers import map_structures
from tests.test_workers import stay
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
    map_structures(stay, [sys.argv[1]] * 10, processes=2, chunk=1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others wait for the library")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_busy_workers_end_with_their_parent(number, tmp_path) -> None:
    out = tmp_path / "out"
    (tmp_path / "parent.py").write_text(_BUSY_PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(out)], stderr=subprocess.DEVNULL, env=environment
    )
    while not out.exists() or len(written(out)) < 2:
        time.sleep(0.05)
    parent.send_signal(number)
    assert parent.wait() in (-number, 128 + number)
    for _, process in written(out):
        while _runs(process):
            time.sleep(0.05)


_PARENT = """
import os, sys, time
from jaxcrystal.workers import Workers, map_structures, require_scheduler, stream_structures
from tests.test_workers import append
if __name__ == "__main__":
    workers = Workers(append, 2)
    for number in range(20):
        workers.give((sys.argv[1], number))
    print("given", flush=True)
    time.sleep(600)
"""


def test_workers_of_a_killed_parent_end(tmp_path) -> None:
    out = tmp_path / "out"
    (tmp_path / "parent.py").write_text(_PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "given\n"
    workers = {process for _, process in written(out)}
    assert workers
    parent.kill()
    parent.communicate()
    for process in workers:
        # Ended, or never waited for by whoever inherits it.
        while _runs(process):
            time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
