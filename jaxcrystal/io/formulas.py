"""The formula that a file gives for its crystal, against the atoms that it lists."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.io.rejection import Reason, Rejected

_SUM = re.compile(r"(?:([A-Z][a-z]?)\s*([0-9]+\.?[0-9]*|\.[0-9]+)?\s*)+")
_TERM = re.compile(r"([A-Z][a-z]?)\s*([0-9]+\.?[0-9]*|\.[0-9]+)?")
_NESTED = re.compile(r"[A-Za-z0-9.\s]*[(\[][A-Za-z0-9.\s()\[\]]*")
#: A word such as 2H2O or 2(H2O): what the number in front multiplies is left open.
_FACTOR = re.compile(r"(?:^|\s)[0-9.]+[A-Za-z(\[]|(?:^|\s)[0-9.]+\s*[(\[]")
_CHARGE = re.compile(r"\s+[0-9]*[+-]$")
_ISOTOPES = {"D": "H", "T": "H"}
#: Relative; occupancies from 0.99 count as full.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class ToldFormula:
    """What a file says of its composition.

    Attributes:
      counts: atoms of each element, by atomic number.
      text: as it stands in the file.
      units: formula units in the cell, 0 where not given.
    """

    counts: dict[int, float]
    text: str
    units: int = 0

    def check(self, species: Sequence[int] | Int[np.ndarray, " atoms"]) -> None:
        """Compares the formula with the atoms of a cell.

        Args:
          species: atomic numbers of all atoms.

        Raises:
          Rejected: an element has no atom or is not in the formula, or the numbers differ.
        """
        found = Counter(int(number) for number in species)
        missing = [SYMBOLS[number] for number in self.counts if number not in found]
        if missing:
            raise Rejected(
                Reason.CONTRADICTORY,
                f"the file's formula is {self.text}, but it lists no atom of {', '.join(missing)}",
            )
        extra = [SYMBOLS[number] for number in found if number not in self.counts]
        if extra:
            raise Rejected(
                Reason.CONTRADICTORY,
                f"the file lists {', '.join(extra)}, which its formula {self.text} does not have",
            )
        ratios = [found[number] / count for number, count in self.counts.items()]
        listed = " ".join(f"{SYMBOLS[number]}{count}" for number, count in found.items())
        if max(ratios) > min(ratios) * (1 + _TOLERANCE):
            raise Rejected(
                Reason.CONTRADICTORY, f"the file's formula is {self.text}, but its atoms make {listed}"
            )
        if self.units and not self._units_fit(ratios[0]):
            raise Rejected(
                Reason.CONTRADICTORY,
                f"the file's cell holds {self.units} times {self.text}, but its atoms make {listed}",
            )

    def _units_fit(self, ratio: float) -> bool:
        """Returns whether the cell holds `units` formulas; some programs give the whole cell as formula."""
        if abs(ratio - self.units) <= _TOLERANCE * self.units:
            return True
        common = math.gcd(*(round(count) for count in self.counts.values()))
        return abs(ratio - 1) <= _TOLERANCE and common % self.units == 0


def told_formula(text: str, units: str = "") -> ToldFormula | None:
    """Returns the formula of a text such as `O3 Sr Ti`; None if it is not one.

    Args:
      text: a sum formula, or one with brackets such as `Mg (O H)2`.
      units: formula units in the cell, as text; `?` or nothing if not known.
    """
    plain = _CHARGE.sub("", text.strip())
    if _FACTOR.search(plain):
        return None
    if _NESTED.fullmatch(plain):
        plain = _without_brackets(plain)
    if not _SUM.fullmatch(plain):
        return None
    counts: Counter[int] = Counter()
    for symbol, amount in _TERM.findall(plain):
        try:
            counts[atomic_number(_ISOTOPES.get(symbol, symbol))] += float(amount or 1)  # type: ignore[assignment]
        except RequestError:
            return None
    known = {number: count for number, count in counts.items() if count > 0}
    match = re.fullmatch(r"([1-9][0-9]*)(?:\.0*)?", units.strip())
    return (
        ToldFormula(dict(known), " ".join(text.split()), int(match.group(1)) if match else 0)
        if known
        else None
    )


def _without_brackets(text: str) -> str:
    """Returns a formula with its brackets multiplied out; nothing if they make no sense."""
    from pymatgen.core import Composition

    try:
        amounts = Composition("".join(text.split())).get_el_amt_dict()
    except (ValueError, KeyError):
        return ""
    return " ".join(f"{symbol}{amount:g}" for symbol, amount in amounts.items())
