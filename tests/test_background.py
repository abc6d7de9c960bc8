"""What is made in the background is there when it is asked for, or says why not."""

from threading import Event, get_ident

import pytest

from jaxcrystal.background import Background


def test_keys_are_made_once_and_in_order() -> None:
    made: list[int] = []

    def make(key: int) -> tuple[int, int]:
        made.append(key)
        return 10 * key, get_ident()

    ahead = Background(make, [1, 2, 3])
    assert ahead[3] == ahead[3]
    assert made == [1, 2, 3]
    assert ahead[7][0] == 70  # of which it had not been told
    assert ahead[7][1] != get_ident()
    assert made == [1, 2, 3, 7]
    ahead.close()


def test_errors_reach_who_asks() -> None:
    ahead = Background(lambda key: 1 // key, [0, 1])
    assert ahead[1] == 1
    with pytest.raises(ZeroDivisionError):
        ahead[0]
    ahead.close()


def test_what_nobody_waits_for_is_not_made() -> None:
    started, go, made = Event(), Event(), []

    def make(key: int) -> None:
        started.set()
        go.wait(60)
        made.append(key)

    ahead = Background(make, range(5))
    started.wait(60)
    ahead.close()
    go.set()
    assert ahead[0] is None
    assert made == [0]
