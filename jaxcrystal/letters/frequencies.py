"""Counts which Wyckoff letters elements have in a data set, and draws letters in that proportion.

An assignment gives every site of every element a letter. A position without a free
coordinate can hold one site of the whole crystal; the others any number. Structures of
elements that are like those asked for count more than others: an anion is rarely found where
a cation was.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.files import write_text
from jaxcrystal.letters.dealing import Deal
from jaxcrystal.letters.reading import read_elements
from jaxcrystal.letters.shares import Elements, Shares, swaps
from jaxcrystal.symmetry.wyckoff import fixed_letters, wyckoff_positions

#: The letters of the sites of each element; elements are not named here.
Assignment = tuple[tuple[str, ...], ...]
_FORMAT = "jaxcrystal-letters-2"
#: Weight, in sites, of what is known without data, `prior_weights`.
_PRIOR_SITES = 1.0


@dataclass(frozen=True, eq=False)
class LetterFrequencies:
    """Counts of letter assignments, and the elements that had them.

    Attributes:
      assignments: group -> sites per element, sorted, such as (1, 1, 2) -> assignment
        with elements in the same order -> number of structures.
      elements: the same -> the elements of these structures; may lack some, or all.
    """

    assignments: Mapping[int, Mapping[tuple[int, ...], Mapping[Assignment, int]]]
    elements: Mapping[int, Mapping[tuple[int, ...], Mapping[Assignment, Elements]]] = field(
        default_factory=dict
    )
    _chances: dict[tuple[int, tuple[int, ...], tuple[int, ...]], dict[Assignment, float]] = field(
        default_factory=dict, init=False, repr=False
    )
    _nearest: dict[Any, Assignment | None] = field(default_factory=dict, init=False, repr=False)
    _dealt: dict[Any, Deal[Assignment]] = field(default_factory=dict, init=False, repr=False)
    _site_weights: dict[int, dict[str, float]] = field(default_factory=dict, init=False, repr=False)
    _options: dict[Any, tuple[list[Assignment], np.ndarray]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of_elements(
        cls, found: Mapping[int, Mapping[tuple[int, ...], Mapping[Assignment, Sequence[tuple[int, ...]]]]]
    ) -> "LetterFrequencies":
        """Returns the counts of structures that are listed by group, sites per element and assignment."""
        return cls(
            {
                g: {k: {a: len(x) for a, x in v.items()} for k, v in kinds.items()}
                for g, kinds in found.items()
            },
            {
                g: {k: {a: tuple(sorted(x)) for a, x in v.items()} for k, v in kinds.items()}
                for g, kinds in found.items()
            },
        )

    def save(self, path: str | Path) -> None:
        """Writes compact JSON: of each assignment, the atomic numbers of its structures in a row.

        Raises:
          DataError: the elements of a structure are not known, or the file cannot be written.
        """
        if self.of_elements(self.elements).assignments != self.assignments:
            raise DataError(f"cannot write {path}: it holds structures by their elements, and some lack them")
        table = {
            str(group): {
                ",".join(map(str, counts)): {
                    " ".join("".join(x) for x in a): [z for of_one in structures for z in of_one]
                    for a, structures in found.items()
                }
                for counts, found in kinds.items()
            }
            for group, kinds in sorted(self.elements.items())
        }
        content = {"format": _FORMAT, "elements": table}
        write_text(path, json.dumps(content, separators=(",", ":")))

    @classmethod
    def load(cls, path: str | Path, called: object = None) -> "LetterFrequencies":
        """Reads what `save` wrote; raises DataError for anything else, which errors call `called`."""
        try:
            return cls.of_elements(read_elements(path, _FORMAT))
        except DataError as error:
            raise DataError(f"{called or path} is not a table of letter frequencies: {error}") from error

    def chances(
        self, space_group: int, counts: Sequence[int], elements: Sequence[int] = ()
    ) -> dict[Assignment, float]:
        """Returns the chance of every assignment that the data has for these counts.

        In proportion to the structures that have it, those of like elements counting more.

        Args:
          space_group: 1-230.
          counts: inequivalent sites of each element.
          elements: atomic numbers; none: all structures count the same.
        Returns:
          Assignment with elements in the order of `counts` -> chance, 1 in all; empty where the
          data has no such structure.
        """
        key = space_group, tuple(counts), tuple(elements)
        if key not in self._chances:
            found = self._shares(*key).of_each()
            total = sum(found.values())
            self._chances[key] = {assignment: share / total for assignment, share in found.items()}
        return self._chances[key]

    def nearest(self, space_group: int, counts: Sequence[int], elements: Sequence[int]) -> Assignment | None:
        """Returns the letters of the structure of this group and these counts whose elements are most alike.

        None where there is none. Args: see `chances`.
        """
        key = space_group, tuple(counts), tuple(elements)
        if key not in self._nearest:
            self._nearest[key] = self._shares(*key).nearest()
        return self._nearest[key]

    def deal(
        self, number: int, space_group: int, counts: Sequence[int], elements: Sequence[int] = ()
    ) -> Assignment | None:
        """Returns the letters of structure `number`, counted from 0, where they are dealt by their `chances`.

        See `dealing.Deal`. None where the data has no such structure.

        Args: see `chances`.
        """
        key = space_group, tuple(counts), tuple(elements)
        if key not in self._dealt:
            self._dealt[key] = Deal(self.chances(*key))
        return self._dealt[key].at(number)

    def _shares(self, space_group: int, counts: Sequence[int], elements: Sequence[int]) -> Shares[Assignment]:
        """Returns the structures of a group with these counts, shared among their assignments."""
        patterns = self.assignments.get(space_group, {}).get(tuple(sorted(counts)), {})
        shares = Shares[Assignment](elements)
        for pattern, number in patterns.items():
            ways = [*swaps([len(letters) for letters in pattern], counts)]
            assignments = [tuple(pattern[part] for part in way) for way in ways]
            shares.add(assignments, ways, number, self.elements_of(space_group, pattern))
        return shares

    def structures(self, space_group: int) -> int:
        """Returns how many structures of a group were counted."""
        return sum(sum(found.values()) for found in self.assignments.get(space_group, {}).values())

    def elements_of(self, space_group: int, assignment: Assignment) -> Elements:
        """Returns the elements of the structures of an assignment, as far as they are known."""
        counts = tuple(len(letters) for letters in assignment)
        return self.elements.get(space_group, {}).get(counts, {}).get(assignment, ())

    def draw(
        self,
        rng: np.random.Generator,
        space_group: int,
        counts: Sequence[int],
        elements: Sequence[int] = (),
    ) -> Assignment:
        """Draws letters by their `chances`.

        Where the data has no such structure, sites are drawn one by one by `site_weights`.

        Args:
          rng: the source of randomness.
          space_group: 1-230.
          counts: inequivalent sites of each element.
          elements: atomic numbers; none: only how often letters occur counts.

        Returns:
          The letters of each element's sites, in the order of `counts`.

        Raises:
          RequestError: a count below 1, or none.
        """
        counts = tuple(int(n) for n in counts)
        if not counts or min(counts) < 1:
            raise RequestError(f"each element needs 1 or more sites, got {list(counts)}")
        key = space_group, counts, tuple(elements)
        if key not in self._options:
            chances = self.chances(*key)
            shares = np.cumsum(list(chances.values()))
            self._options[key] = list(chances), shares / shares[-1:]
        options, shares = self._options[key]
        if not options:
            return self._draw_by_site(rng, space_group, counts)
        # As `rng.choice` does, which checks and sums the shares each time.
        return options[int(shares.searchsorted(rng.random(), side="right"))]

    def site_weights(self, space_group: int) -> dict[str, float]:
        """Returns the weight of each letter of a group when sites are drawn one by one.

        As often as the group's sites have it in the data, low multiplicities favoured so that the cell
        stays small; every letter is possible, and `prior_weights` decide without data.
        """
        if space_group not in self._site_weights:
            self._site_weights[space_group] = self._weigh_sites(space_group)
        return self._site_weights[space_group]

    def _weigh_sites(self, space_group: int) -> dict[str, float]:
        positions = wyckoff_positions(space_group)
        seen: Counter[str] = Counter()
        for found in self.assignments.get(space_group, {}).values():
            for assignment, number in found.items():
                for letters in assignment:
                    seen.update({letter: number * letters.count(letter) for letter in set(letters)})
        low = np.array([1.0 / p.multiplicity for p in positions])
        prior = _PRIOR_SITES * prior_weights(space_group)
        data = np.array([seen[p.letter] for p in positions]) * low
        weights = data / max(data.sum(), 1e-300) * min(sum(seen.values()), 20) + prior
        return {p.letter: float(w) for p, w in zip(positions, weights / weights.sum(), strict=True)}

    def _draw_by_site(
        self, rng: np.random.Generator, space_group: int, counts: tuple[int, ...]
    ) -> Assignment:
        weights = self.site_weights(space_group)
        left = dict(weights)
        letters: list[str] = []
        for _ in range(sum(counts)):
            names = list(left)
            shares = np.array([left[name] for name in names])
            letters.append(names[rng.choice(len(names), p=shares / shares.sum())])
            if letters[-1] in fixed_letters(space_group):
                del left[letters[-1]]
        ends = np.cumsum(counts)
        return tuple(tuple(sorted(letters[end - size : end])) for end, size in zip(ends, counts, strict=True))


def prior_weights(space_group: int) -> Float[np.ndarray, " letters"]:
    """Returns the chance of a site to be on each Wyckoff position of a group of which nothing is known.

    In proportion to 4^f / m^2.5, with f free coordinates and m atoms: a position with more freedom has
    more places for a site, one of many atoms needs a large cell. By multiplicity alone nine sites in ten of
    P2_1/c would be on inversion centres, where two in ten are. Both numbers are those of greatest likelihood
    for the sites of known crystals, group by group (`benchmarks.letters` has the shares).
    """
    positions = wyckoff_positions(space_group)
    weights = np.array([4.0**p.num_free / p.multiplicity**2.5 for p in positions])
    return weights / weights.sum()
