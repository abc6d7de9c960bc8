"""Names of space groups in all their settings: Hermann-Mauguin symbols old and new, Schoenflies, numbers.

The settings and their operations are those of gemmi's table; spglib adds the full symbols,
those with the glide plane e, and the Schoenflies symbols.
"""

import difflib
import re
from functools import lru_cache

import gemmi
import spglib

from jaxcrystal.errors import RequestError
from jaxcrystal.limits import shown
from jaxcrystal.symmetry.groups import group_tables, hall_symbol

#: Characters that people and word processors write for a minus sign, subscripts and a bar above.
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−﹣－", "-") | {chr(0x2080 + n): str(n) for n in range(10)})
_BAR = re.compile(r"([0-9])[\u0304\u0305]")
#: What may follow a symbol and says which origin or axes are meant.
_ENDINGS: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = (
    (re.compile(r"[\s:(]*origin(?:choice|@|at)?([12])\)?$", re.IGNORECASE), {}),
    (re.compile(r"[\s:(]*(hex|rhomb)[a-z]*axes\)?$", re.IGNORECASE), {"hex": "H", "rhomb": "R"}),
    (re.compile(r":[oO]?([12HRhr])$"), {"h": "H", "r": "R"}),
    (re.compile(r"(?<=[0-9a-z])[oO]([12])$"), {}),
    (re.compile(r"(?<=[0-9a-z])([HRSZhr])$"), {"S": "1", "Z": "2", "h": "H", "r": "R"}),
)
#: Characters that no symbol has.
_LONGEST = 80
_FIRST_CUBIC, _LAST_MONOCLINIC, _FIRST_MONOCLINIC = 195, 15, 3


def space_group_number(symbol: str | int) -> int:
    """Returns the number of a space group given as a number or symbol, in any setting.

    Args:
      symbol: `221`, `"221"`, `"Pm-3m"`, `"P m -3 m"`, `"P2_1/n"`, `"Pbnm"`, `"Oh^1"`.

    Raises:
      RequestError: not a number from 1 to 230 and not a known symbol.
    """
    text = str(symbol).strip()
    if len(text) > _LONGEST:
        raise RequestError(f"unknown space group {shown(text)}: no symbol is as long")
    if re.fullmatch(r"[+-]?[0-9]+", text):
        number = int(text)
        if not 1 <= number <= 230:
            raise RequestError(f"space group {number} does not exist: numbers run from 1 to 230")
        return number
    numbers = {setting.number for setting in settings_of_symbol(text, same_case=True)}
    if len(numbers) == 1:
        return numbers.pop()
    plain = re.sub(r"[\s_^]", "", text)
    if plain in _schoenflies():
        return _schoenflies()[plain]
    like = difflib.get_close_matches(_plain(text)[0].lower(), _settings(), n=1, cutoff=0.85)
    hint = f" (did you mean {_settings()[like[0]][0][0]}?)" if like else ""
    raise RequestError(f"unknown space group {text!r}{hint}: give a number (1-230) or a symbol such as Pm-3m")


def is_our_setting(symbol: str | int) -> bool:
    """Returns whether a known symbol can mean the setting of `symmetry.groups`, whose letters are used."""
    settings = settings_of_symbol(str(symbol))
    return not settings or any(setting.hall == hall_symbol(setting.number) for setting in settings)


def our_setting(number: int) -> str:
    """Returns the symbol of a group in the setting of `symmetry.groups`, such as `F d -3 m:1`."""
    hall = hall_symbol(number)
    return str(next(s.xhm() for s in gemmi.spacegroup_table() if s.hall == hall))


def settings_of_symbol(symbol: str, same_case: bool = False) -> list[gemmi.SpaceGroup]:
    """Returns the settings that a Hermann-Mauguin symbol may mean; none if it is not known.

    Several where the symbol leaves the origin, the axes of a rhombohedral group or the unique
    axis of a monoclinic one (`P 21`) open; the unique axis b comes first.

    Args:
      symbol: short or full, with or without blanks, and with the origin choice or axes if
        need be (`F d -3 m :2`, `F d -3 m Z`, `R -3 m (hexagonal axes)`).
      same_case: `pm-3m` is not taken for `Pm-3m`.
    """
    name, choice = _plain(symbol)
    found = _settings().get(name.lower(), [])
    return [
        setting
        for known, setting in found
        if (not same_case or known == name) and (not choice or setting.ext == choice)
    ]


def settings_of_number(number: int) -> list[gemmi.SpaceGroup]:
    """Returns the conventional settings of a group: one, or one for each choice of origin or axes."""
    first = gemmi.find_spacegroup_by_number(number)
    return [s for s in gemmi.spacegroup_table_itb() if s.number == number and s.hm == first.hm]


def _plain(symbol: str) -> tuple[str, str]:
    """Returns a symbol without blanks, underscores and marks of typesetting, and its choice of origin."""
    text = _BAR.sub(r"-\1", symbol.translate(_DASHES).strip().strip("'\""))
    text = re.sub(r"[\s_]", "", text)
    choice = ""
    for pattern, meaning in _ENDINGS:
        if match := pattern.search(text):
            found = str(match.group(1))
            choice = meaning.get(found) or meaning.get(found.lower()) or found
            text = text[: match.start()]
            break
    return re.sub(r"\(([0-9])\)", r"\1", text), choice


@lru_cache(maxsize=1)
def _settings() -> dict[str, list[tuple[str, gemmi.SpaceGroup]]]:
    """Returns lower-case symbol -> (symbol, setting) pairs; genuine symbols before old ways to write them."""
    by_hall: dict[str, list[str]] = {}
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        by_hall.setdefault(kind.hall_symbol, []).append(kind.international_full)
        if kind.number > _LAST_MONOCLINIC:  # spglib has one short symbol for all settings below
            by_hall[kind.hall_symbol].append(kind.international_short)
    genuine: dict[str, list[tuple[str, gemmi.SpaceGroup]]] = {}
    old: dict[str, list[tuple[str, gemmi.SpaceGroup]]] = {}
    for setting in sorted(gemmi.spacegroup_table(), key=_rank):
        names = dict.fromkeys(_plain(name)[0] for name in (setting.hm, *by_hall.get(setting.hall, ())))
        if _FIRST_MONOCLINIC <= setting.number <= _LAST_MONOCLINIC:
            letters = setting.hm.split()
            short = letters[0] + "".join(x for x in letters[1:] if x != "1")
            # C 2 is C 1 2 1 (5), not the cell of P 2 that is centred for nothing, C 1 1 2 (3).
            if all(other.number == setting.number for _, other in genuine.get(short.lower(), ())):
                names[short] = None
        for name in names:
            genuine.setdefault(name.lower(), []).append((name, setting))
            if setting.number >= _FIRST_CUBIC:
                old.setdefault(name.replace("-3", "3").lower(), []).append((name.replace("-3", "3"), setting))
            if setting.ext == "H":
                old.setdefault("h" + name[1:].lower(), []).append(("H" + name[1:], setting))
    return old | genuine


def is_conventional(setting: gemmi.SpaceGroup) -> bool:
    """Returns whether the International Tables list a setting."""
    return setting.hall in _listed_halls()


def unique_axis(setting: gemmi.SpaceGroup) -> str:
    """Returns `a`, `b` or `c` for a setting of a monoclinic group, nothing for others."""
    is_monoclinic = _FIRST_MONOCLINIC <= setting.number <= _LAST_MONOCLINIC
    return str(setting.qualifier).lstrip("-")[:1] if is_monoclinic else ""


def _rank(setting: gemmi.SpaceGroup) -> tuple[bool, int]:
    """Orders settings: those of the International Tables, and of these unique axis b, c, a."""
    return not is_conventional(setting), "bca".find(unique_axis(setting))


@lru_cache(maxsize=1)
def _listed_halls() -> frozenset[str]:
    return frozenset(setting.hall for setting in gemmi.spacegroup_table_itb())


@lru_cache(maxsize=1)
def _schoenflies() -> dict[str, int]:
    tables = group_tables()
    return {
        spglib.get_spacegroup_type(int(tables.hall_number[number])).schoenflies.replace("^", ""): number
        for number in range(1, 231)
    }
