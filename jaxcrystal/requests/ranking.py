"""Ranks the assignments of a formula over groups and formula units, by the training data.

The weight of an assignment, in structures, is

    N + alpha * P(group, units) * P(letters | group, units)

N is how often the training data has this group with these letters. All structures whose sets of
letters can be given to the elements so that the composition comes out right are shared among
these ways, in all groups, those of like elements counting more (`shares.Shares`).

P(letters | group, units) is the product of the frequency of each site's letter in the group,
divided by the exact sum of that product over all assignments; P(group, units) is proportional
to the structures of the group in the data plus one, for every group and number of formula
units that has an assignment. Together they add up to 1, so that `alpha` is how many structures
all that was never seen weighs together: the patterns that fit the formula and were seen exactly
once, plus one. (The share of what is seen once is the estimate of Good and Turing, Biometrika
40, 237, 1953, for the chance that the next structure is of a kind not seen before;
`benchmarks.formulas` compares the likelihood of held-out structures with that of other values.)
So a pattern that was seen often stands before all that were not, while a very likely unseen
one can stand before one that was seen once.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.letters.frequencies import Assignment, LetterFrequencies
from jaxcrystal.letters.shares import Shares, swaps
from jaxcrystal.requests.assignments import AssignmentSpace
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


class Ranked(NamedTuple):
    """One assignment and what it weighs.

    Attributes:
      space_group: 1-230.
      units: formula units in the primitive cell.
      assignment: letters of each element, in the order of the formula.
      weight: in structures; see the module.
      seen: structures of the data with this group and these letters, whichever element is
        on which.
    """

    space_group: int
    units: int
    assignment: Assignment
    weight: float
    seen: int


class _Source(NamedTuple):
    """One group with one number of formula units."""

    space: AssignmentSpace
    units: int
    log_prior: float
    seen: dict[Assignment, tuple[float, int]]

    def weight(self, log_weight: float, assignment: Assignment) -> float:
        share, _ = self.seen.get(assignment, (0.0, 0))
        return share + math.exp(self.log_prior + log_weight)

    def unseen(self) -> Iterator[tuple[float, Assignment]]:
        return (entry for entry in self.space.ranked(self.units) if entry[1] not in self.seen)


class Ranking:
    """All assignments of a formula, counted exactly and yielded heaviest first.

    Attributes:
      number: how many there are.
      numbers: (group, formula units) -> how many, where there are any.
      seen: structures of the data that fit.
      alpha: structures that all prior weights add up to.
      total: the sum of all weights: `seen + alpha`.
    """

    def __init__(
        self,
        formula: Sequence[int],
        space_groups: Sequence[int],
        units: Sequence[int],
        frequencies: LetterFrequencies,
        max_sites: int = BUCKETS[-1],
        elements: Sequence[int] = (),
    ) -> None:
        """Counts the assignments.

        Args:
          formula: atoms of each element in one formula unit.
          space_groups: each once.
          units: formula units in the primitive cell, each once.
          frequencies: of the training data.
          max_sites: inequivalent sites of all elements.
          elements: atomic numbers, as `formula`; none: whichever they are.

        Raises:
          RequestError: see `AssignmentSpace`.
        """
        spaces: dict[tuple[int, int], AssignmentSpace] = {}
        for group in space_groups:
            space = AssignmentSpace(group, formula, frequencies.site_weights(group), max(units), max_sites)
            spaces |= {(group, n): space for n in units if space.number(n)}
        self.numbers = {(group, n): space.number(n) for (group, n), space in spaces.items()}
        self.number = sum(self.numbers.values())

        groups = dict.fromkeys(group for group, _ in spaces)
        self._patterns = seen_patterns(groups, units, formula, frequencies, max_sites, elements)
        seen = seen_assignments(*self._patterns)
        self.seen = math.fsum(share for found in seen.values() for share, _ in found.values())
        once = {
            (source, *sorted(assignment))
            for source, found in seen.items()
            for assignment, (_, number) in found.items()
            if number == 1
        }
        self.alpha = 1.0 + len(once)
        self.total = self.seen + self.alpha

        structures = {group: 1 + frequencies.structures(group) for group in groups}
        all_structures = sum(structures[group] for group, _ in spaces)
        self._sources: dict[tuple[int, int], _Source] = {}
        for (group, n), space in spaces.items():
            log_prior = math.log(self.alpha * structures[group] / all_structures) - space.log_total(n)
            self._sources[group, n] = _Source(space, n, log_prior, seen.get((group, n), {}))

    def weight(self, space_group: int, units: int, assignment: Assignment) -> tuple[float, float]:
        """Returns the weight of one assignment, and the part of it that was seen.

        Raises:
          KeyError: the group has no assignment with so many formula units.
        """
        source = self._sources[space_group, units]
        share, _ = source.seen.get(assignment, (0.0, 0))
        return source.weight(source.space.log_weight(assignment), assignment), share

    def nearest(self) -> Ranked | None:
        """Returns the assignment of the structure whose elements are most alike; None: no such."""
        shares, numbers = self._patterns
        found = shares.nearest()
        return None if found is None else Ranked(*found, self.weight(*found)[0], numbers[found])

    def __iter__(self) -> Iterator[Ranked]:
        """Yields every assignment once, in descending weight, without listing them first."""
        # An entry is an assignment that was seen; or the next of a source that was not, or, while
        # the source has not begun, a bound on what it has.
        heap: list[tuple[float, int, _Source | None, Ranked | None]] = []
        unseen: dict[tuple[int, int], Iterator[tuple[float, Assignment]]] = {}
        numbers = count()  # of equal weights the one entered first goes first
        for (group, n), source in self._sources.items():
            unseen[group, n] = source.unseen()
            for assignment, (_, number) in source.seen.items():
                weight = source.weight(source.space.log_weight(assignment), assignment)
                heap.append((-weight, next(numbers), None, Ranked(group, n, assignment, weight, number)))
            bound = math.exp(source.log_prior + source.space.log_best(n))
            heap.append((-bound, next(numbers), source, None))
        heapq.heapify(heap)
        while heap:
            _, _, origin, ranked = heapq.heappop(heap)
            if ranked is not None:
                yield ranked
            if origin is None:
                continue
            group, n = origin.space.space_group, origin.units
            following = next(unseen[group, n], None)
            if following is not None:
                weight = origin.weight(*following)
                entry = Ranked(group, n, following[1], weight, 0)
                heapq.heappush(heap, (-weight, next(numbers), origin, entry))


#: (group, formula units) -> assignment -> structures that are its part, and those of its pattern.
Seen = dict[tuple[int, int], dict[Assignment, tuple[float, int]]]


#: (group, formula units, assignment).
_Pattern = tuple[int, int, Assignment]


def seen_assignments(shares: Shares[_Pattern], numbers: Mapping[_Pattern, int]) -> Seen:
    """Returns what the data has of each assignment.

    Args: what `seen_patterns` returns.
    Returns:
      See `Seen`; assignments have the elements in the order of the formula. Patterns that fit in
      more than `shares.MAX_SWAPS` ways are left out.
    """
    seen: Seen = defaultdict(dict)
    for (group, n, assignment), share in shares.of_each().items():
        seen[group, n][assignment] = share, numbers[group, n, assignment]
    return dict(seen)


def seen_patterns(
    space_groups: Iterable[int],
    units: Sequence[int],
    formula: Sequence[int],
    frequencies: LetterFrequencies,
    max_sites: int = BUCKETS[-1],
    elements: Sequence[int] = (),
) -> tuple[Shares[_Pattern], dict[_Pattern, int]]:
    """Finds the patterns of the data that give a formula, and shares their structures out.

    Args:
      space_groups: 1-230.
      units: formula units in the primitive cell.
      formula: atoms of each element in one formula unit.
      frequencies: of the training data.
      max_sites: patterns with more sites are left out.
      elements: atomic numbers, as `formula`; none: whichever they are.
    Returns:
      The structures, shared among assignments, and how many there are of the pattern of each.
    """
    shares, numbers = Shares[_Pattern](elements), dict[_Pattern, int]()
    for group in space_groups:
        sizes = {p.letter: int(p.site_ops.sum()) for p in wyckoff_positions(group)}
        for counts, patterns in frequencies.assignments.get(group, {}).items():
            if len(counts) != len(formula) or sum(counts) > max_sites:
                continue
            for pattern, number in patterns.items():
                atoms = [sum(sizes[letter] for letter in letters) for letters in pattern]
                n, rest = divmod(sum(atoms), sum(formula))
                wanted = [n * amount for amount in formula]
                if rest or n not in units or sorted(atoms) != sorted(wanted):
                    continue
                ways = [*swaps(atoms, wanted)]
                keys = [(group, n, tuple(pattern[part] for part in way)) for way in ways]
                shares.add(keys, ways, number, frequencies.elements_of(group, pattern))
                numbers |= dict.fromkeys(keys, number)
    return shares, numbers
