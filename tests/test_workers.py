"""Order, progress and failures of parallel work."""

import os
import sys
import warnings

import pytest

from jaxcrystal.errors import DataError, JaxcrystalError
from jaxcrystal.workers import map_structures, require_scheduler, stream_structures


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
