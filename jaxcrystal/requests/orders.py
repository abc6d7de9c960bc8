"""What a user orders: a space group, and the sites or Wyckoff letters of each element."""

import logging
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import Assignment, LetterFrequencies
from jaxcrystal.limits import shown
from jaxcrystal.symmetry.symbols import is_our_setting, our_setting, space_group_number
from jaxcrystal.symmetry.wyckoff import wyckoff_position

#: Letters drawn as like elements have them, dealt in proportion to these chances, those of the structure
#: of most similar elements; all sites free; or on given letters.
SiteMode = Literal["auto", "ranked", "nearest", "free", "given"]
#: Those of sites that are only counted.
COUNTED: tuple[SiteMode, ...] = ("auto", "ranked", "nearest", "free")
#: In ASCII: Python's `int` reads digits of other scripts too. Nothing that is listed has more digits.
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """One kind of crystal to be sampled; make it with `make_order`.

    Attributes:
      space_group: 1-230.
      elements: atomic numbers, ascending.
      counts: inequivalent sites of each element.
      mode: `given`, the sites are on `letters`; `auto`, letters are drawn as
        like elements have them in the model's training data; `ranked`, they are dealt in proportion to
        the same chances, the likeliest first; `nearest`, those of the structure there of this group and
        these counts whose elements are most alike; where there is none, both are as `auto`, which draws
        site by site then; `free`, sites move in three dimensions.
      letters: of each element's sites; empty unless `given`.
    """

    space_group: int
    elements: tuple[int, ...]
    counts: tuple[int, ...]
    mode: SiteMode = "auto"
    letters: Assignment = ()

    @property
    def num_sites(self) -> int:
        """Inequivalent sites of all elements."""
        return sum(self.counts)

    @property
    def draws_letters(self) -> bool:
        """Whether letters are taken from what the training data has."""
        return self.mode in ("auto", "ranked", "nearest")

    def is_known(self, frequencies: LetterFrequencies) -> bool:
        """Returns whether the data has structures of this group and these counts."""
        return frequencies.nearest(self.space_group, self.counts, self.elements) is not None

    @cached_property
    def text(self) -> str:
        """The order in one line, such as `221 O=1,Ti=1,Ba=1 auto`; what its seed depends on."""
        of_elements: list[str] = ["".join(letters) for letters in self.letters]
        of_elements = of_elements or [str(count) for count in self.counts]
        sites = ",".join(f"{SYMBOLS[z]}={x}" for z, x in zip(self.elements, of_elements, strict=True))
        return f"{self.space_group} {sites} {self.mode}"

    @property
    def wyckoff(self) -> str:
        """Letters by element, such as `O:c Ti:b Ba:a`; empty unless they are given."""
        return " ".join(
            f"{SYMBOLS[z]}:{''.join(of_element)}"
            for z, of_element in zip(self.elements, self.letters, strict=bool(self.letters))
        )

    @cached_property
    def hash(self) -> int:
        """A number of 32 bits that is the same in every process."""
        return zlib.crc32(self.text.encode())

    @property
    def species(self) -> tuple[int, ...]:
        """The atomic number of every site."""
        return tuple(z for z, n in zip(self.elements, self.counts, strict=True) for _ in range(n))

    def draw_letters(self, frequencies: LetterFrequencies, seed: int, number: int) -> tuple[str, ...] | None:
        """Returns the letter of every site of structure `number`; None if the sites are free."""
        if self.mode == "free":
            return None
        letters, what = self.letters, (self.space_group, self.counts, self.elements)
        if self.mode == "ranked":
            letters = frequencies.deal(number, *what) or ()
        elif self.mode == "nearest":
            letters = frequencies.nearest(*what) or ()
        if not letters:  # also where the data has no such structure
            rng = np.random.default_rng([seed, self.hash, number])
            letters = frequencies.draw(rng, *what)
        return tuple(letter for of_element in letters for letter in of_element)


def make_order(
    space_group: int | str, sites: Mapping[str, int] | Mapping[str, str], letters: str = "auto"
) -> Order:
    """Checks a request.

    Args:
      space_group: number or Hermann-Mauguin symbol.
      sites: element symbol -> number of inequivalent sites, or -> Wyckoff letters, one a
        site (`{"Ba": "a", "O": "cd"}`).
      letters: see `Order.mode`; all but `auto` go with numbers of sites only.

    Raises:
      RequestError: with what is wrong and what was expected, in one line.
    """
    group = space_group_number(space_group)
    mode: SiteMode | None = next((mode for mode in COUNTED if mode == letters), None)
    if mode is None:
        raise RequestError(
            f"letters is {shown(letters)}; expected {', '.join(COUNTED[:-1])} or {COUNTED[-1]}"
        )
    if not sites:
        raise RequestError("no sites given: expected elements with their sites, such as Ba=1,Ti=1,O=2")
    given = [isinstance(value, str) for value in sites.values()]
    if any(given) and not all(given):
        raise RequestError("give either numbers of sites or Wyckoff letters, not some of each")

    ordered = sorted(((atomic_number(symbol), value) for symbol, value in sites.items()), key=lambda x: x[0])
    elements = tuple(number for number, _ in ordered)
    if all(given):
        if mode != "auto":
            raise RequestError(
                f"letters is {mode}, and letters are given: give numbers of sites, such as Ba=1"
            )
        assignment = tuple(tuple(sorted(str(value))) for _, value in ordered)
        counts = tuple(len(of_element) for of_element in assignment)
    else:
        assignment = ()
        counts = tuple(_whole_number(value) for _, value in ordered)
    for number, count in zip(elements, counts, strict=True):
        if count < 1:
            raise RequestError(
                f"{SYMBOLS[number]} has {count} sites; each element needs at least 1 (or is left out)"
            )
    if sum(counts) > BUCKETS[-1]:
        raise RequestError(f"{sum(counts)} inequivalent sites in all; at most {BUCKETS[-1]} are supported")
    if all(given):
        _check_letters(group, assignment)
        return Order(group, elements, counts, "given", assignment)
    return Order(group, elements, counts, mode)


def parse_space_groups(text: str) -> tuple[int, ...]:
    """Returns the groups of a list such as `221,Pm-3m,F d -3 m`, each once, in that order.

    A symbol of another setting than that of `symmetry.groups` is taken for its group, with a warning.
    """
    groups = []
    for part in text.split(","):
        groups.append(space_group_number(part))
        if not is_our_setting(part):
            _log.warning(
                "jaxcrystal: %s is group %d in another setting: letters refer to the standard one, %s",
                part.strip(), groups[-1], our_setting(groups[-1]),
            )  # fmt: skip
    return tuple(dict.fromkeys(groups))


def parse_sites(text: str) -> dict[str, int]:
    """Returns the sites of each element of a text such as `Ba=1,Ti=1,O=2`."""
    sites = {}
    for symbol, value in _pairs(text, "Ba=1,Ti=1,O=2").items():
        if not _WHOLE_NUMBER.fullmatch(value):
            raise RequestError(
                f"cannot read {symbol}={value}: expected a whole number of sites, such as "
                f"{symbol}=1 (for letters use --wyckoff)"
            )
        sites[symbol] = int(value)
    return sites


def parse_wyckoff(text: str) -> dict[str, str]:
    """Returns the Wyckoff letters of each element of a text such as `Ba=a,Ti=b,O=cd`."""
    letters = _pairs(text, "Ba=a,Ti=b,O=cd")
    for symbol, value in letters.items():
        if not (value.isascii() and value.isalpha()):
            raise RequestError(
                f"cannot read {symbol}={value}: expected Wyckoff letters, one a site, such as "
                f"{symbol}=a (for numbers of sites use --sites)"
            )
    return letters


def parse_conditions(text: str) -> dict[str, float]:
    """Returns the numbers of a text such as `band_gap=1.5,e_above_hull=0`."""
    conditions: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            number = float(value) if name else None
        except ValueError:
            number = None
        if number is None:
            raise RequestError(
                f"cannot read {shown(part.strip())}: expected NAME=VALUE, such as band_gap=1.5"
            )
        if name in conditions:
            raise RequestError(f"the condition {shown(name)} is given twice: give each once")
        conditions[name] = number
    return conditions


def parse_numbers(text: str, name: str) -> tuple[int, ...]:
    """Returns the whole numbers of a list such as `1,2,4`.

    Args:
      text: separated by commas.
      name: of the option, for the message.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(map(_WHOLE_NUMBER.fullmatch, parts)):
        raise RequestError(f"{name} is {shown(text)}; expected whole numbers such as 1,2,4")
    return tuple(map(int, parts))


def _pairs(text: str, example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        symbol, separator, value = (word.strip() for word in part.partition("="))
        if not (symbol and separator and value):
            raise RequestError(
                f"cannot read {shown(part.strip())}: expected ELEMENT=VALUE, such as {example}"
            )
        atomic_number(symbol)
        if symbol in pairs:
            raise RequestError(f"{symbol} is given twice: give each element once, such as {example}")
        pairs[symbol] = value
    return pairs


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise RequestError(f"{shown(value)} is no number of sites: expected a whole number")
    return int(value)


def _check_letters(space_group: int, assignment: Assignment) -> None:
    for letter, count in Counter(letter for of_element in assignment for letter in of_element).items():
        position = wyckoff_position(space_group, letter)
        if count > 1 and position.num_free == 0:
            raise RequestError(
                f"Wyckoff position {position.multiplicity}{letter} of group {space_group} is given "
                f"{count} times: it has no free coordinate and holds one site only"
            )
