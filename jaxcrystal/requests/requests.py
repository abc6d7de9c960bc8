"""Reads what a user asks for, on the command line or in a file, and turns it into orders."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.elements import atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.formulas import ANY_GROUP, FORMULA_UNITS, MAX_ATOMS, plan_formula
from jaxcrystal.requests.orders import Order, make_order, parse_space_groups

#: Words for sets of groups: every one, or those most frequent in the training data.
ANY, COMMON = "any", "common"
NUM_COMMON = 32
#: Rows of a plan that are shown.
_MAX_ROWS = 1000
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
      letters: `auto`, `free` or (with `like`) `given`.
      count: for each group (and combination of sites); with a formula or `like`, in all.
    """

    space_group: str | int | tuple[str | int, ...] | None = None
    sites: Mapping[str, int | Sequence[int]] | None = None
    wyckoff: Mapping[str, str] | None = None
    formula: str | None = None
    chemical_system: str | None = None
    like: str | None = None
    sites_per_element: tuple[int, ...] = (1, 2)
    formula_units: tuple[int, ...] = FORMULA_UNITS
    max_sites: int = BUCKETS[-1]
    max_atoms: int = MAX_ATOMS
    at_most: int | None = None
    letters: str = "auto"
    count: int = 16

    def __post_init__(self) -> None:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            listed = ", ".join(kind.replace("_", "-") for kind in _KINDS)
            raise RequestError(f"give one of {listed}; got {' and '.join(given) or 'none'}")
        if self.letters not in ("auto", "free", "given"):
            raise RequestError(f"letters is {self.letters!r}; expected auto, free or given")
        if self.letters == "given" and self.like is None:
            raise RequestError(
                "--letters given goes with --like: letters of your own are given with --wyckoff"
            )
        if self.letters == "free" and (self.wyckoff is not None or self.formula is not None):
            kind = "--wyckoff" if self.formula is None else "--formula"
            raise RequestError(f"--letters free goes with --sites: with {kind} sites are on letters")
        if self.like is not None and self.space_group is not None:
            raise RequestError("--space-group does not go with --like: the structures of the file give it")
        if self.space_group is None and (self.sites is not None or self.wyckoff is not None):
            raise RequestError("--space-group is missing: --sites and --wyckoff need one")
        for name in ("count", "max_sites", "max_atoms", "at_most"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RequestError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")


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
        rows = [f"{count:>8,}  {order.text}" for order, count in zip(self.orders, self.counts, strict=True)]
        more = [f"{'...':>8}  and {len(rows) - max_rows:,} more"] if len(rows) > max_rows else []
        return "\n".join(["crystals  group, sites or letters of each element", *rows[:max_rows], *more])


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
    for request in requests:
        orders, wanted, note = _orders(request, frequencies, seed)
        for order, number in zip(orders, wanted, strict=True):
            counts[order] = counts.get(order, 0) + number
        notes += note
    return Plan(tuple(counts), tuple(counts.values()), tuple(notes))


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
        )
        return plan.orders, plan.counts, [plan.describe(_MAX_ROWS)]
    orders = [
        make_order(group, sites, "auto" if request.letters == "given" else request.letters)
        for group in groups
        for sites in _site_choices(request)
    ]
    return orders, [request.count] * len(orders), []


def _site_choices(request: Request) -> list[Mapping[str, Any]]:
    """Returns the sites of every combination that a request stands for."""
    if request.wyckoff is not None:
        return [request.wyckoff]
    if request.chemical_system is not None:
        elements = [word.strip() for word in request.chemical_system.split("-")]
        for element in elements:
            atomic_number(element)
        if len(set(elements)) < len(elements):
            raise RequestError(f"{request.chemical_system} names an element twice")
        choices: Mapping[str, Any] = dict.fromkeys(elements, request.sites_per_element)
    else:
        choices = request.sites or {}
    several = {
        element: (value,) if isinstance(value, int) else tuple(value) for element, value in choices.items()
    }
    if any(not values for values in several.values()):
        raise RequestError("an element has no number of sites: give one or more, such as [1, 2]")
    combinations = [dict(zip(several, values, strict=True)) for values in product(*several.values())]
    if request.chemical_system is not None:
        combinations = [c for c in combinations if sum(c.values()) <= request.max_sites]
        if not combinations:
            raise RequestError(
                f"{request.chemical_system} has more than {request.max_sites} sites in every combination: "
                "raise --max-sites or give fewer --sites-per-element"
            )
    return list(combinations)


def space_groups(words: str | int | Sequence[str | int], frequencies: LetterFrequencies) -> tuple[int, ...]:
    """Returns the numbers of the groups that are named, each once.

    Args:
      words: numbers, Hermann-Mauguin symbols, `any` or `common`; a text may hold several,
        separated by commas.
      frequencies: of the model's training data, for `common`.
    """
    listed = [words] if isinstance(words, str | int) else list(words)
    numbers: list[int] = []
    for word in [part for entry in listed for part in str(entry).split(",")]:
        if word.strip() == ANY:
            numbers += ANY_GROUP
        elif word.strip() == COMMON:
            numbers += common_groups(frequencies)
        else:
            numbers += parse_space_groups(word)
    return tuple(dict.fromkeys(numbers))


def common_groups(frequencies: LetterFrequencies) -> list[int]:
    """Returns the groups with most structures in the training data, the commonest first."""
    totals = {
        group: sum(sum(found.values()) for found in kinds.values())
        for group, kinds in frequencies.assignments.items()
    }
    return sorted(totals, key=lambda group: (-totals[group], group))[:NUM_COMMON]


def read_requests(path: str | Path) -> list[Request]:
    """Reads a file of orders: TOML, one `[[order]]` table a request, with the names of `Request`.

    Raises:
      RequestError: the file cannot be read, or an order in it makes no sense.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RequestError(f"cannot read {path}: {reason}") from error
    tables = content.pop("order", None)
    if content or not isinstance(tables, list) or not tables:
        extra = f" and has {', '.join(sorted(content))}" if content else ""
        raise RequestError(f"{path} needs [[order]] tables and nothing else{extra}")
    requests = []
    for number, table in enumerate(tables, start=1):
        try:
            requests.append(_request(table))
        except RequestError as error:
            raise RequestError(f"{path}, order {number}: {error}") from error
    return requests


def _request(table: Any) -> Request:
    known = {field.name for field in fields(Request)}
    if not isinstance(table, dict):
        raise RequestError(f"expected a table, got {table!r}")
    unknown = sorted(set(table) - known)
    if unknown:
        raise RequestError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    for name, kinds, expected in _TYPES:
        if name in table and (not isinstance(table[name], kinds) or isinstance(table[name], bool)):
            raise RequestError(f"{name} is {table[name]!r}; expected {expected}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}
    return Request(**values)


_TYPES: tuple[tuple[str, Any, str], ...] = (
    ("space_group", (str, int, list), "numbers or symbols, any or common"),
    ("sites", dict, "a table such as {Ba = 1, O = [1, 2]}"),
    ("wyckoff", dict, 'a table such as {Ba = "a", O = "cd"}'),
    ("formula", str, "a text such as Cu2KSi"),
    ("chemical_system", str, "a text such as Cu-Si-K"),
    ("like", str, "the name of a file"),
    ("sites_per_element", list, "numbers such as [1, 2]"),
    ("formula_units", list, "numbers such as [1, 2, 4]"),
    ("letters", str, "auto, free or given"),
    *((name, int, "a whole number") for name in ("max_sites", "max_atoms", "at_most", "count")),
)
