"""Enumerates the ways to put a composition on the Wyckoff positions of a group, likeliest first.

An assignment gives each element sites whose multiplicities add up to its atoms; a position
without a free coordinate holds one site of the whole crystal. There can be astronomically
many, so they are never listed whole. Letters are taken in steps, and a table over (atoms
that each element still needs, sites that are left) holds for every step, by dynamic
programming from the last one back:

    number   of ways to go on: exact
    total    of their weights, a weight being a product over sites
    best     log weight of the best way: exact, so that a best-first search that is led by it
             never looks at a way that does not lead to the next assignment in order
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import Assignment
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: Log weights are whole multiples of this: their sums are exact, and ties are ties.
_LOG_UNIT = 2.0**-30
_EXACT_FLOAT = 2.0**53
#: Numbers that the tables of one search may hold (256 MiB).
_MAX_NUMBERS = 2**25

#: Atoms that each element still needs (in units of the space), and sites left.
_State: TypeAlias = tuple[int, ...]


class _Step(NamedTuple):
    """Sites on one letter: any number for one element, or one at most for any element."""

    letter: str
    atoms: int
    elements: tuple[int, ...]
    fixed: bool


class AssignmentSpace:
    """All assignments of one group to one formula.

    Attributes:
      space_group: 1-230.
      formula: atoms of each element in one formula unit.
      max_units: the most formula units in a primitive cell that can be asked for.
      log_weights: letter -> logarithm of the weight of a site on it.
    """

    def __init__(
        self,
        space_group: int,
        formula: Sequence[int],
        weights: Mapping[str, float] | None = None,
        max_units: int = 1,
        max_sites: int = BUCKETS[-1],
    ) -> None:
        """Lays the steps out; tables are filled when they are needed.

        Args:
          space_group: 1-230.
          formula: atoms of each element in one formula unit, 1 or more.
          weights: positive weight of a site on each letter; equal ones if left out.
          max_units: formula units in the primitive cell that can be asked for.
          max_sites: inequivalent sites of all elements.

        Raises:
          RequestError: no such group, an empty formula, numbers below 1, or a composition
            of so many elements and atoms that the tables would not fit in memory.
        """
        if not formula or min(formula) < 1 or max_units < 1 or max_sites < 1:
            raise RequestError(
                f"formula {list(formula)}, {max_units} formula units, {max_sites} sites: "
                "all must be at least 1"
            )
        self.space_group, self.formula, self.max_units = space_group, tuple(formula), max_units
        positions = wyckoff_positions(space_group)
        most = max(formula) * max_units
        sizes = {p.letter: int(p.site_ops.sum()) for p in positions if p.site_ops.sum() <= most}
        weights = dict.fromkeys(sizes, 1.0) if weights is None else weights
        self.log_weights = {x: round(math.log(weights[x]) / _LOG_UNIT) * _LOG_UNIT for x in sizes}
        # Atoms are counted in units of what all multiplicities share.
        self._unit = math.gcd(*sizes.values()) if sizes else most + 1
        self._steps: list[_Step] = []
        for position in positions:
            if position.letter not in sizes:
                continue
            atoms, fixed = sizes[position.letter] // self._unit, position.num_free == 0
            fit = tuple(e for e, n in enumerate(formula) if atoms <= n * max_units // self._unit)
            for elements in [fit] if fixed else [(e,) for e in fit]:
                self._steps.append(_Step(position.letter, atoms, elements, fixed))
        self._shape = tuple(n * max_units // self._unit + 1 for n in formula)
        smallest = min((step.atoms for step in self._steps), default=1)
        self._limited = sum((n - 1) // smallest for n in self._shape) > max_sites
        self._max_sites = max_sites if self._limited else 0
        size = math.prod(self._shape) * (self._max_sites + 1)
        if size * (len(self._steps) + 1) > _MAX_NUMBERS:
            raise RequestError(
                f"{len(formula)} elements with {max_units * sum(formula)} atoms are too many for "
                f"the {len(positions)} letters of group {space_group}: ask for fewer formula units"
            )

    def number(self, units: int = 1) -> int:
        """Returns the exact number of assignments of so many formula units."""
        state = self._start(units)
        return 0 if state is None else int(self._numbers[state])

    def log_total(self, units: int = 1) -> float:
        """Returns the logarithm of the summed weight of all assignments; -inf for none."""
        state = self._start(units)
        total = 0.0 if state is None else float(self._totals[state])
        return math.log(total) if total > 0 else -math.inf

    def log_best(self, units: int = 1) -> float:
        """Returns the log weight of the best assignment; -inf for none."""
        state = self._start(units)
        return -math.inf if state is None else float(self._root_best[state])

    def log_weight(self, assignment: Assignment) -> float:
        """Returns the log weight of an assignment: the sum over its sites."""
        return sum(self.log_weights[letter] for element in assignment for letter in element)

    def ranked(self, units: int = 1) -> Iterator[tuple[float, Assignment]]:
        """Yields (log weight, assignment), each assignment once, in descending weight.

        The first ones come at once however many there are. Elements stand in the order of
        the formula, letters of an element in the order of the alphabet.
        """
        state = self._start(units)
        if state is None or self.number(units) == 0:
            return
        best = self._best
        # Of equal weights the way entered last goes first: without this, all beginnings of
        # all assignments that tie would be looked at before the first of them is finished.
        entered = 0
        heap: list[tuple[float, int, float, int, _State, tuple[tuple[int, str], ...]]] = [
            (-float(best[0][state]), 0, 0.0, 0, state, ())
        ]
        while heap:
            minus, _, done, number, state, sites = heapq.heappop(heap)
            while any(state[: len(self.formula)]):
                ways = []
                for gain, next_number, next_state, site in self._ways(number, state):
                    value = done + gain + float(best[next_number][next_state])
                    if value > -math.inf:
                        way = done + gain, next_number, next_state, sites + site
                        ways.append((-value, way))
                ways.sort(key=lambda way: way[0])
                (_, (done, number, state, sites)), *others = ways
                for minus_value, way in reversed(others):
                    entered += 1
                    heapq.heappush(heap, (minus_value, -entered, *way))
            yield -minus, self._assignment(sites)

    def _start(self, units: int) -> _State | None:
        """Returns the state with all atoms to place; None if they are no whole units."""
        if not 1 <= units <= self.max_units:
            raise RequestError(f"{units} formula units; this space was made for 1 to {self.max_units}")
        atoms = [n * units for n in self.formula]
        if any(n % self._unit for n in atoms):
            return None
        return *(n // self._unit for n in atoms), self._max_sites

    def _ways(
        self, number: int, state: _State
    ) -> Iterator[tuple[float, int, _State, tuple[tuple[int, str], ...]]]:
        """Yields (log weight gained, step, state, new sites) of what can be done in a step."""
        step = self._steps[number]
        yield 0.0, number + 1, state, ()
        for element in step.elements:
            if state[element] >= step.atoms and (state[-1] or not self._limited):
                left = list(state)
                left[element] -= step.atoms
                left[-1] -= self._limited
                after = number + 1 if step.fixed else number  # a free position can be used again
                yield self.log_weights[step.letter], after, tuple(left), ((element, step.letter),)

    def _assignment(self, sites: Sequence[tuple[int, str]]) -> Assignment:
        letters: list[list[str]] = [[] for _ in self.formula]
        for element, letter in sites:
            letters[element].append(letter)
        return tuple(tuple(sorted(of_element)) for of_element in letters)

    @cached_property
    def _numbers(self) -> np.ndarray:
        numbers = self._sweep(np.add, None, {}, 0, 1, float)[0]
        # No number on the way exceeds the largest at the end: below 2^53 floats are exact.
        if numbers.max() < _EXACT_FLOAT:
            return numbers
        return self._sweep(np.add, None, {}, 0, 1, object)[0]

    @cached_property
    def _totals(self) -> np.ndarray:
        weights = {letter: math.exp(log) for letter, log in self.log_weights.items()}
        return self._sweep(np.add, np.multiply, weights, 0, 1, float)[0]

    @cached_property
    def _root_best(self) -> np.ndarray:
        return self._sweep(np.maximum, np.add, self.log_weights, -math.inf, 0, float)[0]

    @cached_property
    def _best(self) -> list[np.ndarray]:
        return self._sweep(np.maximum, np.add, self.log_weights, -math.inf, 0, float, keep=True)

    def _sweep(
        self,
        merge: np.ufunc,
        extend: np.ufunc | None,
        gains: Mapping[str, float],
        nothing: int | float,
        finished: int | float,
        dtype: type,
        keep: bool = False,
    ) -> list[np.ndarray]:
        """Fills the tables from the last step back to the first.

        Args:
          merge: makes one value of those of different ways.
          extend: makes the value of a way with one more site from its value and the gain of
            the site's letter; None leaves it as it is.
          gains: of each letter.
          nothing: the value where no way leads to an end.
          finished: the value where no atom is left.
          dtype: of the values.
          keep: keeps the table of every step, not of the first only.
        Returns:
          Tables [atoms of each element..., sites left] from the first step to after the last.
        """
        table: np.ndarray = np.full((*self._shape, self._max_sites + 1), nothing, dtype)
        table[(0,) * len(self._shape)] = finished
        tables = [table.copy()] if keep else [table]
        # A site takes one of the sites that are left, where these are counted.
        after, before = (slice(1, None), slice(-1)) if self._limited else (slice(None), slice(None))
        for step in reversed(self._steps):
            source = table.copy() if step.fixed else table
            for element in step.elements:
                target_rows, source_rows = (np.moveaxis(t, element, 0) for t in (table, source))
                size = len(target_rows)
                # In blocks, so that a row of a free position takes up what the row before it got.
                block = size if step.fixed else step.atoms
                for first in range(step.atoms, size, block):
                    last = min(first + block, size)
                    target = target_rows[first:last, ..., after]
                    way = source_rows[first - step.atoms : last - step.atoms, ..., before]
                    if extend is not None:
                        way = extend(way, gains[step.letter])
                    merge(target, way, out=target)
            if keep:
                tables.append(table.copy())
        return tables[::-1]
