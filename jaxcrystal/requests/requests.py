"""Reads what a user asks for, on the command line or in a file, and turns it into orders."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np

from jaxcrystal.config import ConfigError, fits, read_toml, refusals
from jaxcrystal.crystal import BUCKETS
from jaxcrystal.elements import atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.limits import ATOMS, COUNT, MOST_ORDERS, NAME, SITES, shown
from jaxcrystal.requests.formulas import ANY_GROUP, FORMULA_UNITS, MAX_ATOMS, plan_formula
from jaxcrystal.requests.orders import COUNTED, Order, make_order, parse_space_groups

#: Words for sets of groups: every one, or those most frequent in the training data.
ANY, COMMON = "any", "common"
NUM_COMMON = 32
#: Rows of a plan that are shown.
_MAX_ROWS = 1000
#: What letters may be.
LETTERS = (*COUNTED, "given")
_KINDS = ("sites", "wyckoff", "formula", "chemical_system", "like")


@dataclass(frozen=True)
class Request:
    """One request; exactly one of `sites`, `wyckoff`, `formula`, `chemical_system`, `like` is given.

    Attributes:
      space_group: numbers or symbols, or the word `any` (1-230) or `common` (the 32 groups
        with most structures in the model's training data). By default `any` for a formula,
        `common` for a chemical system.
      sites: element -> number of inequivalent sites, or several numbers, of which all
        combinations are made.
      wyckoff: element -> letters, one a site.
      formula: exact composition, such as `Cu2KSi`.
      chemical_system: elements, such as `Cu-Si-K`, all of which occur.
      like: file of structures whose groups and sites are drawn.
      sites_per_element: of a chemical system: all combinations are made.
      formula_units: of a formula, in the primitive cell.
      max_sites: of a formula, inequivalent ones; of a chemical system too.
      max_atoms: of a formula, in the primitive cell.
      at_most: structures of one assignment of letters to a formula.
      letters: see `orders.Order`; `given` goes with `like`, and with a formula `auto`, its likeliest
        assignments, or `nearest`, that of the structure of most similar elements in the training data.
      count: for each group (and combination of sites); with a formula or `like`, in all.
    """

    space_group: str | int | tuple[str | int, ...] | None = None
    sites: Mapping[str, int | Sequence[int]] | None = None
    wyckoff: Mapping[str, str] | None = None
    formula: str | None = None
    chemical_system: str | None = None
    like: Annotated[str | None, NAME] = None
    sites_per_element: Annotated[tuple[int, ...], SITES] = (1, 2)
    formula_units: Annotated[tuple[int, ...], ATOMS] = FORMULA_UNITS
    max_sites: Annotated[int, SITES] = BUCKETS[-1]
    max_atoms: Annotated[int, ATOMS] = MAX_ATOMS
    at_most: Annotated[int | None, COUNT] = None
    letters: str = "auto"
    count: Annotated[int, COUNT] = 16

    def __post_init__(self) -> None:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            listed = ", ".join(kind.replace("_", "-") for kind in _KINDS)
            raise RequestError(f"give one of {listed}; got {' and '.join(given) or 'none'}")
        if self.letters not in LETTERS:
            raise RequestError(
                f"letters is {shown(self.letters)}; expected {', '.join(LETTERS[:-1])} or {LETTERS[-1]}"
            )
        if self.letters == "given" and self.like is None:
            raise RequestError(
                "--letters given goes with --like: letters of your own are given with --wyckoff"
            )
        if self.letters != "auto" and self.wyckoff is not None:
            raise RequestError(
                f"--letters {self.letters} goes with --sites: --wyckoff says the letters itself"
            )
        if self.letters == "free" and self.formula is not None:
            raise RequestError("--letters free goes with --sites: with --formula sites are on letters")
        if self.letters == "ranked" and self.formula is not None:
            raise RequestError("--letters ranked goes with --sites: those of --formula are ranked anyway")
        if self.letters == "nearest" and self.at_most is not None:
            raise RequestError("--at-most does not go with --letters nearest: all are on the same letters")
        if self.like is not None and self.space_group is not None:
            raise RequestError("--space-group does not go with --like: the structures of the file give it")
        if self.space_group is None and (self.sites is not None or self.wyckoff is not None):
            raise RequestError("--space-group is missing: --sites and --wyckoff need one")
        for name, refusal in refusals(self):
            raise RequestError(f"{_option(name)} {refusal}")


@dataclass(frozen=True)
class Plan:
    """What is to be sampled.

    Attributes:
      orders: all different.
      counts: structures of each.
      notes: texts to print, such as the table of the assignments of a formula.
    """

    orders: tuple[Order, ...]
    counts: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def describe(self, max_rows: int = _MAX_ROWS) -> str:
        """Returns the orders, one a line, the first of them if there are many."""
        first = zip(self.orders[:max_rows], self.counts, strict=False)
        rows = [f"{count:>8,}  {order.text}" for order, count in first]
        left = len(self.orders) - max_rows
        more = [f"{'...':>8}  and {left:,} more"] if left > 0 else []
        return "\n".join(["crystals  group, sites or letters of each element", *rows, *more])


def make_plan(requests: Sequence[Request], frequencies: LetterFrequencies, seed: int = 0) -> Plan:
    """Returns the orders of all requests; those asked for twice are added up.

    Args:
      requests: at least one.
      frequencies: of the model's training data.
      seed: of what is drawn from files.

    Raises:
      RequestError: a request that makes no sense, or nothing to sample.
      DataError: a file of structures that cannot be used.
    """
    counts: dict[Order, int] = {}
    notes: list[str] = []
    made: dict[str, tuple[Sequence[Order], Sequence[int], list[str]]] = {}
    for request in requests:
        key = repr(request)  # what holds tables is not hashable
        if key not in made:
            made[key] = _orders(request, frequencies, seed)
            notes += made[key][2]
        for order, number in zip(*made[key][:2], strict=True):
            counts[order] = counts.get(order, 0) + number
        _require_few(len(counts), "the requests ask")
        if sum(counts.values()) > COUNT.high:
            raise RequestError(
                f"the requests ask for {sum(counts.values()):,} crystals; a run has at most {COUNT.high:,}"
            )
    return Plan(tuple(counts), tuple(counts.values()), tuple(notes))


def _require_few(orders: int, who: str) -> None:
    if orders > MOST_ORDERS:
        raise RequestError(
            f"{who} for {orders:,} different orders, and a run has at most {MOST_ORDERS:,}: name fewer "
            "groups or numbers of sites, or make several runs"
        )


def _orders(
    request: Request, frequencies: LetterFrequencies, seed: int
) -> tuple[Sequence[Order], Sequence[int], list[str]]:
    if request.like is not None:
        # Reading structure files is slow to import.
        from jaxcrystal.data.prepare import load_or_prepare
        from jaxcrystal.requests.like import draw_orders

        dataset = load_or_prepare(request.like)
        mode: Any = request.letters
        return *draw_orders(dataset, request.count, mode, seed), []
    default = ANY if request.formula is not None else COMMON
    groups = space_groups(default if request.space_group is None else request.space_group, frequencies)
    if request.formula is not None:
        plan = plan_formula(
            request.formula,
            groups,
            request.count,
            frequencies,
            formula_units=request.formula_units,
            max_sites=request.max_sites,
            max_atoms=request.max_atoms,
            at_most=request.at_most,
            nearest=request.letters == "nearest",
        )
        return plan.orders, plan.counts, [plan.describe(_MAX_ROWS)]
    orders = [*_orders_of_sites(request, groups)]
    return orders, [request.count] * len(orders), []


def _orders_of_sites(request: Request, groups: Sequence[int]) -> Iterator[Order]:
    """Yields the orders of a request that says how many sites there are, or their letters."""
    if request.wyckoff is not None:
        yield from (make_order(group, request.wyckoff) for group in groups)
        return
    choices, most = _site_choices(request)
    number = _num_combinations(choices, most)
    if not number:
        raise RequestError(
            f"{request.chemical_system} has more than {most} sites in every combination: "
            "raise --max-sites or give fewer --sites-per-element"
        )
    who = f"{number:,} combinations of sites in {len(groups)} groups are a request"
    _require_few(number * len(groups), who)
    letters = "auto" if request.letters == "given" else request.letters
    for numbers in _combinations([*choices.values()], most):
        # Sites make sense in one group as in any other.
        order = make_order(groups[0], dict(zip(choices, numbers, strict=True)), letters)
        yield from (replace(order, space_group=group) for group in groups)


def _site_choices(request: Request) -> tuple[dict[str, tuple[int, ...]], int | None]:
    """Returns the numbers of sites that each element can have, and the most in all (None: any number)."""
    if request.chemical_system is not None:
        elements = [word.strip() for word in request.chemical_system.split("-")]
        for element in elements:
            atomic_number(element)
        if len(set(elements)) < len(elements):
            raise RequestError(f"{shown(request.chemical_system)} names an element twice")
        return dict.fromkeys(elements, tuple(dict.fromkeys(request.sites_per_element))), request.max_sites
    several = {
        element: tuple(dict.fromkeys(value)) if isinstance(value, Sequence) else (value,)
        for element, value in (request.sites or {}).items()
    }
    if not several or any(not values for values in several.values()):
        raise RequestError("an element has no number of sites: give one or more, such as [1, 2]")
    return several, None


def _num_combinations(choices: Mapping[str, Sequence[int]], most: int | None) -> int:
    """Returns how many combinations have at most so many sites, without making them."""
    if most is None:
        return prod(map(len, choices.values()))
    ways = Counter({0: 1})
    for numbers in choices.values():
        sums = [(sites + n, way) for sites, way in ways.items() for n in numbers if sites + n <= most]
        ways = Counter()
        for sites, way in sums:
            ways[sites] += way
    return ways.total()


def _combinations(choices: Sequence[Sequence[int]], most: int | None) -> Iterator[tuple[int, ...]]:
    """Yields one number of each choice, those of at most so many in all, the last one changing fastest."""
    if not choices:
        yield ()
        return
    first, *others = choices
    rest = sum(map(min, others))
    for number in first:
        if most is None or number + rest <= most:
            left = None if most is None else most - number
            yield from ((number, *numbers) for numbers in _combinations(others, left))


def space_groups(words: str | int | Sequence[str | int], frequencies: LetterFrequencies) -> tuple[int, ...]:
    """Returns the numbers of the groups that are named, each once.

    Args:
      words: numbers, Hermann-Mauguin symbols, `any` or `common`; a text may hold several,
        separated by commas.
      frequencies: of the model's training data, for `common`.

    Raises:
      RequestError: one is not known, or there is none.
    """
    listed = [words] if isinstance(words, str | int | np.integer) else list(words)
    numbers: list[int] = []
    for word in [part for entry in listed for part in str(entry).split(",")]:
        if word.strip() == ANY:
            numbers += ANY_GROUP
        elif word.strip() == COMMON:
            numbers += common_groups(frequencies)
        else:
            numbers += parse_space_groups(word)
    if not numbers:
        raise RequestError(
            f"there is no space group in {shown(words)} (those that are common are known from a model's "
            "training data): expected numbers or symbols"
        )
    return tuple(dict.fromkeys(numbers))


def common_groups(frequencies: LetterFrequencies) -> list[int]:
    """Returns the groups with most structures in the training data, the commonest first."""
    totals = {group: frequencies.structures(group) for group in frequencies.assignments}
    return sorted(totals, key=lambda group: (-totals[group], group))[:NUM_COMMON]


def read_requests(path: str | Path) -> list[Request]:
    """Reads a file of orders: TOML, one `[[order]]` table a request, with the names of `Request`.

    Raises:
      RequestError: the file cannot be read, or an order in it makes no sense.
    """
    try:
        content = read_toml(path)
    except ConfigError as error:
        raise RequestError(str(error)) from error
    tables = content.pop("order", None)
    if content or not isinstance(tables, list) or not tables:
        extra = f" and has {', '.join(sorted(content))}" if content else ""
        raise RequestError(f"{path} needs [[order]] tables and nothing else{extra}")
    requests = []
    for number, table in enumerate(tables, start=1):
        try:
            requests.append(make_request(table))
        except RequestError as error:
            raise RequestError(f"{path}, order {number}: {error}") from error
    return requests


def make_request(values: Any) -> Request:
    """Returns the request of an order in a file, or of the options that were given.

    Args:
      values: table with some of the names of `Request`.

    Raises:
      RequestError: an unknown name, a value of another type, or a request that makes no sense.
    """
    hints = _hints()
    if not isinstance(values, dict):
        raise RequestError(f"expected a table, got {shown(values)}")
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise RequestError(f"unknown setting {shown(unknown[0])}; known are {', '.join(sorted(hints))}")
    for name, value in values.items():
        if name in ("sites", "wyckoff") and isinstance(value, dict):
            # Of a table the element is named.
            entries = {f"{name}.{element}": entry for element, entry in value.items()}
            hint, expected = _OF_ELEMENT[name]
        else:
            entries, hint, expected = {name: value}, hints[name], _EXPECTED[name]
        for where, entry in entries.items():
            if not fits(entry, hint):
                raise RequestError(f"{shown(where)[1:-1]} is {shown(entry)}; expected {expected}")
        for where, entry in {name: value, **entries}.items():
            if not entry and isinstance(entry, str | list | tuple | dict):
                raise RequestError(f"{where} is empty; expected {_EXPECTED[name]}")
    given: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    request = Request(**given)
    _require_kind(values)
    return request


def _require_kind(values: Mapping[str, Any]) -> None:
    """Refuses settings that the kind of a request has no use for."""
    kinds = [kind for kind in _KINDS if kind in values]
    for name, of_kinds in _GO_WITH.items():
        if name in values and kinds[0] not in of_kinds:
            *firsts, last = map(_option, of_kinds)
            listed = f"{', '.join(firsts)} and {last}" if firsts else last
            raise RequestError(f"{_option(name)} goes with {listed}, not with {_option(kinds[0])}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@lru_cache(maxsize=1)
def _hints() -> dict[str, Any]:
    return get_type_hints(Request)


#: Kinds of requests that a setting is for; the others are for all, or refused by `Request`.
_GO_WITH = {
    "formula_units": ("formula",),
    "max_atoms": ("formula",),
    "at_most": ("formula",),
    "max_sites": ("formula", "chemical_system"),
    "sites_per_element": ("chemical_system",),
    "letters": ("sites", "chemical_system", "like", "formula"),
}
_EXPECTED = {
    "space_group": "numbers or symbols, any or common",
    "sites": "a table such as {Ba = 1, O = [1, 2]}",
    "wyckoff": 'a table such as {Ba = "a", O = "cd"}',
    "formula": "a text such as Cu2KSi",
    "chemical_system": "a text such as Cu-Si-K",
    "like": "the name of a file",
    "sites_per_element": "whole numbers such as [1, 2]",
    "formula_units": "whole numbers such as [1, 2, 4]",
    "letters": f"{', '.join(LETTERS[:-1])} or {LETTERS[-1]}",
    **dict.fromkeys(("max_sites", "max_atoms", "at_most", "count"), "a whole number"),
}
#: Of the entries of a table.
_OF_ELEMENT: dict[str, tuple[Any, str]] = {
    "sites": (int | tuple[int, ...], "a whole number of sites, or several"),
    "wyckoff": (str, 'a text such as "cd"'),
}
