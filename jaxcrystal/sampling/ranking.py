"""Assignments of a formula over groups and formula units, ranked by what the data has.

The weight of an assignment, in structures, is

    N + alpha * P(group, units) * P(letters | group, units)

N is how often the training data has this group with these letters. Data forgets which element
is on which letters, so a pattern's number is shared equally among the ways to give its sets of
letters to the elements that make the composition right.

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
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import count, permutations, product
from typing import NamedTuple

from jaxcrystal.data.batches import BUCKETS
from jaxcrystal.data.frequencies import Assignment, LetterFrequencies
from jaxcrystal.sampling.assignments import AssignmentSpace
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: A pattern that fits the elements in more ways than this is as good as unseen.
_MAX_WAYS = 5040


class Ranked(NamedTuple):
    """One assignment and what it weighs.

    Attributes:
      space_group: 16-230.
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
    ) -> None:
        """Counts the assignments.

        Args:
          formula: atoms of each element in one formula unit.
          space_groups: each once.
          units: formula units in the primitive cell, each once.
          frequencies: of the training data.
          max_sites: inequivalent sites of all elements.

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
        seen = {group: seen_assignments(group, formula, frequencies, max_sites) for group in groups}
        asked = [seen[group].get(n, {}) for group, n in spaces]
        self.seen = math.fsum(share for found in asked for share, _ in found.values())
        self.alpha = 1.0 + math.fsum(
            share for found in asked for share, number in found.values() if number == 1
        )
        self.total = self.seen + self.alpha

        structures = {group: 1 + _structures(frequencies, group) for group in groups}
        all_structures = sum(structures[group] for group, _ in spaces)
        self._sources: dict[tuple[int, int], _Source] = {}
        for (group, n), space in spaces.items():
            log_prior = math.log(self.alpha * structures[group] / all_structures) - space.log_total(n)
            self._sources[group, n] = _Source(space, n, log_prior, seen[group].get(n, {}))

    def weight(self, space_group: int, units: int, assignment: Assignment) -> tuple[float, float]:
        """Returns the weight of one assignment, and the part of it that was seen.

        Raises:
          KeyError: the group has no assignment with so many formula units.
        """
        source = self._sources[space_group, units]
        share, _ = source.seen.get(assignment, (0.0, 0))
        return source.weight(source.space.log_weight(assignment), assignment), share

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


def seen_assignments(
    space_group: int, formula: Sequence[int], frequencies: LetterFrequencies, max_sites: int = BUCKETS[-1]
) -> dict[int, dict[Assignment, tuple[float, int]]]:
    """Finds the patterns of the data that give a formula.

    Args:
      space_group: 1-230.
      formula: atoms of each element in one formula unit.
      frequencies: of the training data.
      max_sites: patterns with more sites are left out.
    Returns:
      Formula units in the primitive cell -> assignment with elements in the order of the
      formula -> the part of the pattern's structures that is this assignment's, and the
      structures of the pattern.
    """
    sizes = {p.letter: int(p.site_ops.sum()) for p in wyckoff_positions(space_group)}
    found: dict[int, dict[Assignment, tuple[float, int]]] = defaultdict(dict)
    for counts, patterns in frequencies.assignments.get(space_group, {}).items():
        if len(counts) != len(formula) or sum(counts) > max_sites:
            continue
        for unordered, number in patterns.items():
            pattern = [tuple(sorted(letters)) for letters in unordered]
            atoms = [sum(sizes[letter] for letter in letters) for letters in pattern]
            units, rest = divmod(sum(atoms), sum(formula))
            if rest or sorted(atoms) != sorted(n * units for n in formula):
                continue
            ways = _ways(pattern, atoms, [n * units for n in formula])
            found[units] |= {way: (number / len(ways), number) for way in ways}
    return dict(found)


def _ways(
    pattern: Sequence[tuple[str, ...]], atoms: Sequence[int], wanted: Sequence[int]
) -> list[Assignment]:
    """Returns the different ways to give the sets of letters to elements of so many atoms."""
    sizes = sorted(set(wanted))
    members = [[i for i, n in enumerate(wanted) if n == size] for size in sizes]
    letters = [[x for x, n in zip(pattern, atoms, strict=True) if n == size] for size in sizes]
    number = math.prod(
        math.factorial(len(group)) // math.prod(math.factorial(n) for n in Counter(group).values())
        for group in letters
    )
    if number > _MAX_WAYS:
        return []
    ways = []
    for choice in product(*(sorted(set(permutations(group))) for group in letters)):
        way: list[tuple[str, ...]] = [()] * len(wanted)
        for places, chosen in zip(members, choice, strict=True):
            for place, element in zip(places, chosen, strict=True):
                way[place] = element
        ways.append(tuple(way))
    return ways


def _structures(frequencies: LetterFrequencies, space_group: int) -> int:
    return sum(sum(f.values()) for f in frequencies.assignments.get(space_group, {}).values())
