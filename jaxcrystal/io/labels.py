"""The element of an atom's label or type symbol."""

import re
from collections.abc import Collection

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.io.rejection import Reason, Rejected

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}
_ISOTOPES = {"D": 1, "T": 1}
_GROUP_OF_ATOMS = re.compile(r"(?:[Ww]at|WAT|O[HhWw]|O-H|H2O|D2O|NH[34]|NO3|CO3|SO4|PO4)(?![a-z])")
#: Capitals of a nonmetal and of what is bound to it in groups of atoms: CO1 can be cobalt, a carbon
#: or a carbonyl. Other pairs (CL1, FE1, SN1) are elements in capitals, as older files write them.
_PAIR = re.compile(r"(?!SN)[BCNPS][HNO](?![a-z])")
#: Pseudo-atoms such as H1.33, and Na0.5; with a sign behind, it is an oxidation state (Fe2.5+).
_FRACTION = re.compile(r"[A-Za-z]{1,2}[0-9]*\.[0-9]+(?![0-9+-])")
_SEVERAL = re.compile(r"[,/&]\s*[0-9.]*[A-Za-z]|\+\s*[0-9.]*\s*[A-Z]")


def element_of(symbol: str, known: Collection[int] | None = None, is_label: bool = False) -> int:
    """Returns the atomic number of `Fe3+`, `FE1`, `O1A`, `Ti_pv` or `Al0+`.

    Args:
      symbol: what stands for the atom.
      known: atomic numbers of the elements that the file's formula has. They decide where a
        symbol can be read in two ways (`HO1`: hydrogen or holmium).
      is_label: a label, which may be named for a place (`T1`, of a tetrahedron).

    Raises:
      Rejected: it names no element, several, or a group of atoms.
    """
    symbol = symbol.strip()
    if _SEVERAL.search(symbol):
        raise Rejected(Reason.DISORDERED, f"{symbol} names several elements")
    if _GROUP_OF_ATOMS.match(symbol):
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"{symbol} stands for a group of atoms")
    possible = _possible(symbol)
    if possible == ["T"] and (is_label or (known is not None and 1 not in known)):
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"{symbol} can be a tetrahedral site as well as tritium")
    numbers = [_NUMBERS.get(name) or _ISOTOPES[name] for name in possible]
    if known is not None and len(numbers) > 1:
        numbers = [z for z in numbers if z in known] or numbers
    if not numbers:
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"{symbol} is not an element")
    if is_label and _PAIR.match(symbol) and (known is None or len(numbers) > 1):
        readings = f"{symbol[:2].title()}, {symbol[0]} or {symbol[:2]}"
        raise Rejected(
            Reason.UNKNOWN_ELEMENT, f"the label {symbol} can be {readings}: the file does not tell"
        )
    if len(numbers) > 1 and (symbol[0] == "H" or symbol[2:3].isalpha()):
        names = " or ".join(SYMBOLS[z] for z in numbers)
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"{symbol} can be {names}")
    return numbers[0]


def _possible(symbol: str) -> list[str]:
    """Returns the symbols that a text may begin with, two letters before one."""
    if _FRACTION.match(symbol):
        return []
    found = []
    for pattern in (r"[A-Za-z][a-z](?![a-z])|[A-Z]{2}(?![a-z])", r"[A-Za-z](?![a-z])"):
        match = re.match(pattern, symbol)
        name = match.group().title() if match else ""
        if name in _NUMBERS or name in _ISOTOPES:
            found.append(name)
    return found
