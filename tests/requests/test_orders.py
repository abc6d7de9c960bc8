"""Requests: what is accepted, and the one line that says what is wrong."""

import subprocess
import sys

import pytest

from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.orders import (
    make_order,
    parse_conditions,
    parse_sites,
    parse_space_groups,
    parse_wyckoff,
)


def test_symbols_are_the_periodic_table() -> None:
    from pymatgen.core import Element

    assert len(SYMBOLS) == 119
    assert [Element.from_Z(z).symbol for z in range(1, 119)] == list(SYMBOLS[1:])
    assert atomic_number("Ba") == 56


def test_numbers_of_sites() -> None:
    order = make_order("Pm-3m", {"Ba": 1, "O": 2})
    assert (order.space_group, order.elements, order.counts) == (221, (8, 56), (2, 1))
    assert (order.mode, order.letters, order.species) == ("auto", (), (8, 8, 56))


def test_letters() -> None:
    order = make_order(221, {"Ba": "a", "Ti": "b", "O": "dc"})
    assert order.letters == (("c", "d"), ("b",), ("a",))
    assert order.draw_letters(LetterFrequencies({}), 0, 0) == ("c", "d", "b", "a")


def test_the_order_of_elements_does_not_matter() -> None:
    assert make_order(221, {"Ba": 1, "O": 2}) == make_order("P m -3 m", {"O": 2, "Ba": 1})


def test_orders_differ_in_text() -> None:
    orders = [
        make_order(221, {"Ba": 1}),
        make_order(221, {"Ba": 1}, "free"),
        make_order(221, {"Ba": "a"}),
        make_order(221, {"Ba": "b"}),
        make_order(221, {"Ba": 2}),
        make_order(221, {"O": 1}),
        make_order(220, {"Ba": 1}),
    ]
    assert len({order.text for order in orders}) == len({order.hash for order in orders}) == len(orders)


def test_hash_is_the_same_in_every_process() -> None:
    script = (
        "from jaxcrystal.requests.orders import make_order; print(make_order(221, {'Ba': 1, 'O': 2}).hash)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) == make_order(221, {"Ba": 1, "O": 2}).hash


def test_drawn_letters_depend_on_seed_order_and_number_only() -> None:
    frequencies = LetterFrequencies({})
    order = make_order(62, {"Ba": 2, "O": 3})
    drawn = [order.draw_letters(frequencies, 7, number) for number in range(20)]
    assert drawn == [order.draw_letters(frequencies, 7, number) for number in range(20)]
    assert len(set(drawn)) > 1
    assert drawn != [order.draw_letters(frequencies, 8, number) for number in range(20)]
    assert make_order(62, {"Ba": 2}, "free").draw_letters(frequencies, 7, 0) is None


def test_dealt_and_nearest_letters_do_not_depend_on_the_seed() -> None:
    """But where the data has no such structure they are drawn."""
    seen = {225: {(1, 1): {(("a",), ("b",)): [(11, 17)] * 3, (("a",), ("c",)): [(19, 35)] * 2}}}
    frequencies = LetterFrequencies.of_elements(seen)
    ranked, nearest = (make_order(225, {"Na": 1, "Cl": 1}, mode) for mode in ("ranked", "nearest"))
    dealt = [ranked.draw_letters(frequencies, 7, number) for number in range(200)]
    assert dealt == [ranked.draw_letters(frequencies, 8, number) for number in range(200)]
    assert dealt[0] == ("a", "b")
    assert len(set(dealt)) == 4
    near = make_order(225, {"K": 1, "Br": 1}, "nearest")
    assert {near.draw_letters(frequencies, 7, number) for number in range(5)} == {("a", "c")}
    assert {nearest.draw_letters(frequencies, 7, number) for number in range(5)} == {("a", "b")}
    for mode in ("ranked", "nearest"):
        unseen = make_order(62, {"Ba": 2, "O": 3}, mode)
        assert len({unseen.draw_letters(frequencies, seed, 0) for seed in range(9)}) > 1


def test_parsing() -> None:
    assert parse_space_groups("221, Pm-3m,P6_3/mmc") == (221, 194)
    assert parse_sites(" Ba=1,Ti = 1,O=2") == {"Ba": 1, "Ti": 1, "O": 2}
    assert parse_wyckoff("Ba=a,Ti=b,O=cd") == {"Ba": "a", "Ti": "b", "O": "cd"}
    assert parse_conditions(" band_gap = 1.5,e_above_hull=0") == {"band_gap": 1.5, "e_above_hull": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "numbers run from 1 to 230"),
        ("231", "numbers run from 1 to 230"),
        ("-3", "numbers run from 1 to 230"),
        ("221,", "unknown space group ''"),
        ("Pm-4m", "unknown space group 'Pm-4m'"),
        ("\u00b2\u00b2\u2075", "unknown space group"),
        ("--5", "unknown space group '--5'"),
    ],
)
def test_wrong_groups(text, message) -> None:
    with pytest.raises(RequestError, match=message):
        parse_space_groups(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ba=1,Xx=2", "unknown element 'Xx'"),
        ("ba=1", r"unknown element 'ba' \(did you mean Ba\?\)"),
        ("Ba", "cannot read 'Ba': expected ELEMENT=VALUE"),
        ("Ba=", "cannot read 'Ba='"),
        ("", "cannot read ''"),
        ("Ba=1,,O=1", "cannot read ''"),
        ("Ba=a", "cannot read Ba=a: expected a whole number of sites.*--wyckoff"),
        ("Ba=1.5", "expected a whole number"),
        ("Ba=1_0", "expected a whole number"),
        ("Ba=\u0663", "expected a whole number"),
        ("Ba=\u00b2", "expected a whole number"),
        ("Ba=1,Ba=2", "Ba is given twice"),
    ],
)
def test_wrong_sites(text, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        parse_sites(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gap=1,gap=2", "the condition 'gap' is given twice"),
        ("gap=1, gap =2", "the condition 'gap' is given twice"),
        ("=1.5", "cannot read '=1.5': expected NAME=VALUE"),
        ("gap=1,", "cannot read '': expected NAME=VALUE"),
        ("gap=large", "cannot read 'gap=large': expected NAME=VALUE"),
    ],
)
def test_wrong_conditions(text, message) -> None:
    with pytest.raises(RequestError, match=message):
        parse_conditions(text)


def test_another_setting_is_said(caplog) -> None:
    """Letters refer to the setting of the tables: a line says so where a symbol means another one."""
    assert parse_space_groups("Pnma,62,Cmca,Fd-3m,R-3m,P6_3/mmc,Oh^5") == (62, 64, 227, 166, 194, 225)
    assert not caplog.records
    assert parse_space_groups("Pbnm, Fd-3m:2") == (62, 227)
    first, second = (record.getMessage() for record in caplog.records)
    assert "Pbnm is group 62 in another setting: letters refer to the standard one, P n m a" in first
    assert "F d -3 m:1" in second


def test_wrong_letters_in_text() -> None:
    with pytest.raises(RequestError, match=r"cannot read O=1: expected Wyckoff letters.*--sites"):
        parse_wyckoff("Ba=a,O=1")


@pytest.mark.parametrize(
    ("group", "sites", "message"),
    [
        (221, {}, "no sites given"),
        (221, {"Ba": 0}, "Ba has 0 sites"),
        (221, {"Ba": -1}, "Ba has -1 sites"),
        (221, {"Ba": ""}, "Ba has 0 sites"),
        (221, {"Ba": 1, "O": "a"}, "not some of each"),
        (221, {"Ba": "z"}, "group 221 has no Wyckoff position 'z': it has 1a, 1b"),
        (221, {"Ba": "a", "O": "a"}, "1a of group 221 is given 2 times"),
        (221, {"Ba": "cc"}, "3c of group 221 is given 2 times"),
        (62, {"Ba": 11, "O": 10}, "21 inequivalent sites in all; at most 20"),
    ],
)
def test_wrong_orders(group, sites, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        make_order(group, sites)
    assert "\n" not in str(error.value)


def test_positions_with_free_coordinates_can_be_used_twice() -> None:
    assert make_order(221, {"O": "eee", "Ba": "e"}).num_sites == 4


def test_unknown_way_of_letters() -> None:
    with pytest.raises(RequestError, match="expected auto, ranked, nearest or free"):
        make_order(221, {"Ba": 1}, "loose")


def test_sites_on_letters_are_not_free() -> None:
    with pytest.raises(RequestError, match="letters is free, and letters are given"):
        make_order(221, {"Ba": "a"}, "free")
