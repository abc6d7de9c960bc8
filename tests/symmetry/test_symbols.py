"""Symbols of space groups in all their settings, against gemmi's and spglib's tables."""

import gemmi
import pytest
import spglib

from jaxcrystal.errors import RequestError
from jaxcrystal.symmetry.groups import group_tables, hermann_mauguin
from jaxcrystal.symmetry.symbols import (
    is_our_setting,
    our_setting,
    settings_of_number,
    settings_of_symbol,
    space_group_number,
)

GROUPS = range(1, 231)
TABLE = list(gemmi.spacegroup_table())


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("Pm-3m", 221),
        ("F m -3 m", 225),
        ("P6_3/mmc", 194),
        ("P63/mmc", 194),
        ("R-3m", 166),
        ("Fd-3m", 227),
        ("P2_1/c", 14),
        ("Pnma", 62),
        (" 62 ", 62),
        (62, 62),
    ],
)
def test_symbols(symbol, number):
    assert space_group_number(symbol) == number


@pytest.mark.parametrize("number", GROUPS)
def test_symbol_roundtrip(number):
    assert space_group_number(hermann_mauguin(number)) == number


@pytest.mark.parametrize("symbol", ["0", "231", "-4", "Pm-4m", "", "pm-3m "])
def test_unknown_symbols(symbol):
    with pytest.raises(RequestError, match="space group"):
        space_group_number(symbol)


@pytest.mark.parity
def test_every_setting_is_known_by_its_full_name():
    for setting in TABLE:
        assert [found.xhm() for found in settings_of_symbol(setting.xhm(), same_case=True)] == [setting.xhm()]
        assert space_group_number(setting.hm) == setting.number


@pytest.mark.parity
def test_symbols_of_spglib_are_known():
    """Short symbols of all settings but the monoclinic, and full and Schoenflies symbols of all."""
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        for symbol in (kind.international_short, kind.international_full, kind.schoenflies):
            assert space_group_number(symbol) == kind.number, symbol


def test_short_symbols_mean_one_group():
    """C2 is group 5, though C112, a cell of P2 that is centred for nothing, is in the table too."""
    assert [space_group_number(symbol) for symbol in ("C2", "B2", "C21", "P2", "P2/b")] == [5, 5, 5, 3, 13]


@pytest.mark.parametrize(
    ("symbol", "names"),
    [
        ("P 21/c", ["P 1 21/c 1", "P 21/c 1 1"]),
        ("P21", ["P 1 21 1", "P 1 1 21", "P 21 1 1"]),
        ("F d -3 m", ["F d -3 m:1", "F d -3 m:2"]),
        ("Fd3m", ["F d -3 m:1", "F d -3 m:2"]),
        ("F d -3 m S", ["F d -3 m:1"]),
        ("F d -3 m Z", ["F d -3 m:2"]),
        ("F 41/d -3 2/m (origin choice 2)", ["F d -3 m:2"]),
        ("R -3 m", ["R -3 m:H", "R -3 m:R"]),
        ("R -3 m H", ["R -3 m:H"]),
        ("R -3 m (rhombohedral axes)", ["R -3 m:R"]),
        ("H32", ["R 3 2:H"]),
        ("P2(1)/n", ["P 1 21/n 1", "P 1 1 21/n", "P 21/n 1 1"]),
        ("P_63/m_m_c", ["P 63/m m c"]),
        ("Bmeb", ["B m a b"]),
        ("Fm3\u0305m", ["F m -3 m"]),
        ("P2\u2081/c", ["P 1 21/c 1", "P 21/c 1 1"]),
        ("p m \u22123 m", ["P m -3 m"]),
        ("P 5", []),
    ],
)
def test_settings_that_a_symbol_may_mean(symbol, names):
    assert [setting.xhm() for setting in settings_of_symbol(symbol)] == names


def test_conventional_settings_of_a_number():
    assert [setting.xhm() for setting in settings_of_number(14)] == ["P 1 21/c 1"]
    assert [setting.xhm() for setting in settings_of_number(227)] == ["F d -3 m:1", "F d -3 m:2"]
    assert {setting.number for number in GROUPS for setting in settings_of_number(number)} == set(GROUPS)


@pytest.mark.parametrize("number", GROUPS)
def test_our_setting_is_the_tables(number):
    kind = spglib.get_spacegroup_type(int(group_tables().hall_number[number]))
    (setting,) = settings_of_symbol(our_setting(number))
    assert setting.hall == kind.hall_symbol
    assert is_our_setting(our_setting(number))
    assert is_our_setting(hermann_mauguin(number))
    assert is_our_setting(str(number))


@pytest.mark.parametrize("symbol", ["Pbnm", "P21/n", "Fd-3m:2", "R-3m:R", "I2/a", "F4/mmm", "B2/b"])
def test_other_settings(symbol):
    assert not is_our_setting(symbol)


@pytest.mark.parametrize(
    "symbol", ["\u00b2\u00b2\u2075", "\u0662\u0662\u0665", "--5", "62.0", "2\u00b2", "1e2", "+", "any"]
)
def test_what_is_no_number_is_no_group(symbol):
    with pytest.raises(RequestError, match="unknown space group") as error:
        space_group_number(symbol)
    assert "\n" not in str(error.value)


def test_a_hint_names_what_was_meant():
    with pytest.raises(RequestError, match="did you mean Pm-3m"):
        space_group_number("pm-3m")
