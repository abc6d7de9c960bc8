"""Turns a chemical formula into orders of exactly this composition.

Formulas are reduced first, so that Cu4K2Si2 is Cu2KSi: how many formula units stand in the
primitive cell is asked for apart. Atoms are counted in the primitive cell, as the data does:
a perovskite has one formula unit, a spinel two.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.elements import atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.limits import FORMULA_ATOMS, MOST_ASSIGNMENTS, shown
from jaxcrystal.requests.assignments import AssignmentSpace
from jaxcrystal.requests.formula_plan import FormulaPlan, PlannedOrder, named_groups
from jaxcrystal.requests.formula_plan import formula_units as _units
from jaxcrystal.requests.orders import make_order
from jaxcrystal.requests.ranking import Ranked, Ranking
from jaxcrystal.symmetry.subspaces import internal_coords_of
from jaxcrystal.symmetry.symbols import space_group_number

#: Every group: what `any` stands for.
ANY_GROUP = tuple(range(1, 231))
#: 99 % of the bundled model's training structures have one of these.
FORMULA_UNITS = (1, 2, 3, 4)
#: Atoms in the primitive cell: what the bundled model's training data has at most.
MAX_ATOMS = 20
#: Atoms up to which an error message looks for numbers of formula units that would do.
_LOOK_UP_TO = 64
_TOKEN = re.compile(r"([A-Za-z][a-z]*)([0-9]*)|([(\[])|([)\]])([0-9]*)")
_FRACTION = re.compile(r"[0-9]*[.,/][0-9]+")
_MAX_DIGITS = 6
_CLOSING = {"(": ")", "[": "]"}


def parse_formula(text: str) -> dict[str, int]:
    """Returns the atoms of each element, not reduced, in the order of the text.

    Args:
      text: such as `Cu2KSi` or `Ca(OH)2`: whole numbers, round or square brackets.

    Raises:
      RequestError: no such formula; the line says where it goes wrong.
    """
    compact = "".join(str(text).split())
    if not compact:
        raise RequestError("the formula is empty: expected elements with whole numbers, such as Cu2KSi")
    fraction, named = _FRACTION.search(compact), f"formula {shown(text)}"
    if fraction:
        raise RequestError(f"{named} has {fraction[0]}: amounts must be whole numbers, as in Cu2KSi")
    # One counter for each bracket that is open, the outermost first.
    levels: list[Counter[str]] = [Counter()]
    brackets: list[str] = []
    place = 0

    def add(element: str, atoms: int) -> None:
        """Adds atoms within the innermost open bracket; what is within brackets multiplies without end."""
        levels[-1][element] += atoms
        if refused := FORMULA_ATOMS.refusal(levels[-1][element]):
            raise RequestError(f"the number of {element} in {named} {refused}")

    while place < len(compact):
        match = _TOKEN.match(compact, place)
        if match is None:
            raise RequestError(
                f"cannot read {shown(compact[place:])} in {named}: expected elements with whole numbers, "
                "such as Cu2KSi or Ca(OH)2"
            )
        symbol, number, opening, closing, times = match.groups()
        if symbol:
            if symbol in ("D", "T"):
                raise RequestError(f"{named} has {symbol}: isotopes are not told apart, write H")
            atomic_number(symbol)
            add(symbol, _amount(number, symbol, text))
        elif opening:
            brackets.append(opening)
            levels.append(Counter())
        else:
            if not brackets or _CLOSING[brackets.pop()] != closing:
                raise RequestError(f"{named} has a {closing!r} that closes nothing")
            inner = levels.pop()
            if not inner:
                raise RequestError(f"{named} has brackets with nothing in them")
            factor = _amount(times, closing, text)
            for element, atoms in inner.items():
                add(element, factor * atoms)
        place = match.end()
    if brackets:
        raise RequestError(f"{named} has a {brackets[-1]!r} that is not closed")
    return dict(levels[0])


def plan_formula(
    formula: str,
    space_groups: Sequence[int],
    count: int,
    frequencies: LetterFrequencies,
    formula_units: Sequence[int] = FORMULA_UNITS,
    max_sites: int = BUCKETS[-1],
    max_atoms: int = MAX_ATOMS,
    at_most: int | None = None,
    nearest: bool = False,
) -> FormulaPlan:
    """Spreads structures over the likeliest assignments that give exactly a formula.

    The `count` heaviest assignments of all groups and formula units, at most `limits.MOST_ASSIGNMENTS`,
    share the structures in proportion to their weight, by largest remainder; those whose part is
    far below one structure get none, so that the long tail of unseen assignments is only reached with a
    large `count`, or with `at_most`.

    An assignment without free coordinates has nothing but its lattice to draw, one to six
    parameters: its structures are much alike, and more than a few of them tell nothing new. With
    `at_most` the common assignments leave the rest to rarer ones.

    Args:
      formula: such as `Cu2KSi`; reduced first.
      space_groups: numbers from 1 to 230; `ANY_GROUP` for all.
      count: structures in all.
      frequencies: of the model's training data.
      formula_units: numbers of formula units in the primitive cell; those that need more than
        `max_atoms` atoms are left out.
      max_sites: inequivalent sites of all elements, at most the largest bucket.
      max_atoms: atoms in the primitive cell.
      at_most: structures of one assignment; None for any number.
      nearest: all on one assignment, that of the structure of the data whose elements are most alike.

    Raises:
      RequestError: nothing to read in the formula, no such group, numbers below
        1, no assignment at all, fewer than `count` structures at `at_most` for each, or no structure in
        the data that is alike.
    """
    parsed = parse_formula(formula)
    units = tuple(dict.fromkeys(formula_units))
    _check_numbers(count, units, max_sites, max_atoms, at_most)
    groups = tuple(dict.fromkeys(space_group_number(group) for group in space_groups))
    if not groups:
        raise RequestError("no space group given: expected numbers from 1 to 230")
    divisor = math.gcd(*parsed.values())
    atoms = {symbol: n // divisor for symbol, n in parsed.items()}
    name = "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in atoms.items())
    size = sum(atoms.values())
    fitting = tuple(n for n in units if n * size <= max_atoms)
    if not fitting:
        raise RequestError(
            f"{name} has {size} atoms: {_units(units)} would be more than the {max_atoms} atoms that a "
            f"primitive cell may have; allow {min(units) * size} or more"
        )

    elements = sorted(atoms, key=atomic_number)
    composition = tuple(atoms[symbol] for symbol in elements)
    if len(elements) > max_sites:
        raise RequestError(f"{name} has {len(elements)} elements; at most {max_sites} sites cannot hold them")
    numbers = [atomic_number(symbol) for symbol in elements]
    ranking = Ranking(composition, groups, fitting, frequencies, max_sites, numbers)
    if not ranking.number:
        looked = f"{named_groups(groups)} with {_units(fitting)} and at most {max_sites} sites"
        raise RequestError(
            f"no assignment of Wyckoff positions gives {name} in {looked}: "
            + _what_would_help(composition, groups, max_sites, max_atoms)
        )
    if nearest:
        found = ranking.nearest()
        if found is None:
            raise RequestError(
                f"no structure of the training data has the proportions of {name} in {named_groups(groups)} "
                f"with {_units(fitting)} and at most {max_sites} sites: allow more, or leave out "
                "--letters nearest"
            )
        best = [found]
    else:
        best = list(islice(ranking, min(count, MOST_ASSIGNMENTS)))
    counts = spread(np.array([ranked.weight for ranked in best]), count, at_most)
    rows = [
        _planned(ranked, elements, size, ranking.total, number)
        for ranked, number in zip(best, counts.tolist(), strict=True)
        if number
    ]
    skipped = tuple(n for n in units if n not in fitting)
    return FormulaPlan(name, tuple(rows), ranking.number, groups, fitting, skipped, max_atoms)


def spread(weights: np.ndarray, count: int, at_most: int | None = None) -> np.ndarray:
    """Shares things out in proportion to weights, by largest remainder.

    Args:
      weights: [n] positive, descending.
      count: things to share out.
      at_most: for each; what would go beyond it goes to the others in proportion.
    Returns:
      [n] whole numbers, `count` in all, none above that of a larger weight.

    Raises:
      RequestError: `at_most` is too small for so many.
    """
    limit = count if at_most is None else min(at_most, count)
    if limit * len(weights) < count:
        raise RequestError(
            f"{len(weights)} assignments at no more than {limit} each give fewer than the {count} structures "
            f"asked for: allow {-(-count // len(weights))} or more of each"
        )
    # Those that get the limit: of each, what is left over its share of the weight that is left.
    left = count - limit * np.arange(len(weights))
    quotas = left * (weights / np.cumsum(weights[::-1])[::-1])
    full = int(np.argmax(np.append(quotas < limit, True)))
    quotas = (count - full * limit) * (weights[full:] / weights[full:].sum())
    counts = np.full(len(weights), limit)
    if full < len(weights):
        counts[full:] = np.floor(quotas)
        order = np.argsort(-(quotas - np.floor(quotas)), kind="stable")
        counts[full + order[: count - counts.sum()]] += 1
    return counts


def _amount(text: str, what: str, formula: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise RequestError(f"formula {shown(formula)} has an amount of {len(text)} digits")
    number = int(text) if text else 1
    if number < 1:
        raise RequestError(f"formula {shown(formula)} has {what}{text}: amounts must be at least 1")
    return number


def _check_numbers(
    count: int, units: Sequence[int], max_sites: int, max_atoms: int, at_most: int | None
) -> None:
    if count < 1:
        raise RequestError(f"{count} structures are asked for; the count must be at least 1")
    if not units:
        raise RequestError("no number of formula units given: expected some, such as 1, 2, 4")
    if min(units) < 1:
        raise RequestError(f"{min(units)} formula units are asked for; there must be at least 1")
    if not 1 <= max_sites <= BUCKETS[-1]:
        raise RequestError(f"at most {max_sites} sites; expected 1 to {BUCKETS[-1]}")
    if max_atoms < 1:
        raise RequestError(f"at most {max_atoms} atoms; there must be room for at least 1")
    if at_most is not None and at_most < 1:
        raise RequestError(f"at most {at_most} structures of an assignment; at least 1 must be allowed")


def _planned(ranked: Ranked, elements: Sequence[str], size: int, total: float, count: int) -> PlannedOrder:
    letters = {s: "".join(x) for s, x in zip(elements, ranked.assignment, strict=True)}
    group = ranked.space_group
    free = internal_coords_of(group, "".join(letters.values()))
    order, share = make_order(group, letters), ranked.weight / total
    return PlannedOrder(
        order, count, ranked.units, ranked.units * size, free, ranked.weight, share, ranked.seen
    )


def _what_would_help(
    composition: Sequence[int], groups: Sequence[int], max_sites: int, max_atoms: int
) -> str:
    """Returns the fewest formula units that have an assignment in one of the groups."""
    size = sum(composition)
    fewest = _LOOK_UP_TO // size + 1
    for group in groups:
        if fewest == 1:
            break
        try:
            space = AssignmentSpace(group, composition, None, fewest - 1, max_sites)
        except RequestError:  # too large to look at
            continue
        found = (n for n in range(1, fewest) if space.log_best(n) > -math.inf)
        fewest = next(found, fewest)
    if fewest * size > _LOOK_UP_TO:
        elsewhere = "try other groups" if len(groups) < len(ANY_GROUP) else "allow more sites"
        return f"none was found with other numbers of formula units up to {_LOOK_UP_TO} atoms; {elsewhere}"
    atoms = f"{fewest * size} atoms" + (f", {max_atoms} allowed" if fewest * size > max_atoms else "")
    return f"{_units((fewest,))} ({atoms}) would do, or try other groups"
