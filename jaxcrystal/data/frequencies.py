"""How often Wyckoff letters occur in a data set, and letters drawn in that proportion.

An assignment gives every site of every element a letter. A position without a free
coordinate can hold one site of the whole crystal; the others any number.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.files import write_text
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.symmetry.wyckoff import wyckoff_position, wyckoff_positions

#: The letters of the sites of each element; elements are not named here.
Assignment = tuple[tuple[str, ...], ...]
_FORMAT = "jaxcrystal-letters-1"
#: Weight, in sites, of what is known without data: every letter, the low multiplicities more.
_PRIOR_SITES = 1.0


@dataclass(frozen=True, eq=False)
class LetterFrequencies:
    """Counts of letter assignments.

    Attributes:
      assignments: group -> sites per element, sorted, such as (1, 1, 2) -> assignment
        with elements in the same order -> number of structures.
    """

    assignments: Mapping[int, Mapping[tuple[int, ...], Mapping[Assignment, int]]]

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> "LetterFrequencies":
        """Counts the assignments of every structure of a data set."""
        counts: dict[int, dict[tuple[int, ...], Counter[Assignment]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        for index in range(len(dataset)):
            group, sites = int(dataset.space_group[index]), dataset.sites(index)
            names = [p.letter for p in wyckoff_positions(group)]
            by_element: dict[int, list[str]] = defaultdict(list)
            for element, letter in zip(dataset.species[sites], dataset.letters[sites], strict=True):
                by_element[int(element)].append(names[letter])
            assignment = _sorted_assignment(by_element.values())
            counts[group][tuple(len(letters) for letters in assignment)][assignment] += 1
        return cls({group: {k: dict(v) for k, v in kinds.items()} for group, kinds in counts.items()})

    def save(self, path: str | Path) -> None:
        """Writes compact JSON."""
        table = {
            str(group): {
                ",".join(map(str, counts)): {" ".join("".join(x) for x in a): n for a, n in found.items()}
                for counts, found in kinds.items()
            }
            for group, kinds in sorted(self.assignments.items())
        }
        content = {"format": _FORMAT, "assignments": table}
        write_text(path, json.dumps(content, separators=(",", ":")))

    @classmethod
    def load(cls, path: str | Path) -> "LetterFrequencies":
        """Reads what `save` wrote; raises DataError for anything else."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r}, expected {_FORMAT!r}")
            return cls(
                {
                    int(group): {
                        tuple(map(int, counts.split(","))): {
                            tuple(tuple(x) for x in text.split(" ")): int(n) for text, n in found.items()
                        }
                        for counts, found in kinds.items()
                    }
                    for group, kinds in content["assignments"].items()
                }
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is not a table of letter frequencies: {error}") from error

    def draw(self, rng: np.random.Generator, space_group: int, counts: Sequence[int]) -> Assignment:
        """Draws letters in proportion to their frequency for this group and these counts.

        Where the data has no such structure, sites are drawn one by one in proportion to
        the letters of the group in the data, every letter possible, low multiplicities
        favoured so that the cell stays small.

        Args:
          rng: the source of randomness.
          space_group: 1-230.
          counts: inequivalent sites of each element.

        Returns:
          The letters of each element's sites, in the order of `counts`.

        Raises:
          RequestError: a count below 1, or none.
        """
        counts = tuple(int(n) for n in counts)
        if not counts or min(counts) < 1:
            raise RequestError(f"each element needs 1 or more sites, got {list(counts)}")
        order = np.argsort(counts, kind="stable")
        found = self.assignments.get(space_group, {}).get(tuple(sorted(counts)))
        if not found:
            return self._draw_by_site(rng, space_group, counts)
        options = sorted(found)
        weights = np.array([found[option] for option in options], float)
        option = options[rng.choice(len(options), p=weights / weights.sum())]

        drawn: list[tuple[str, ...]] = [()] * len(counts)
        for size in set(counts):  # elements of equal counts may be swapped
            places = [place for place in order if counts[place] == size]
            letters = [element for element in option if len(element) == size]
            for place, which in zip(places, rng.permutation(len(letters)), strict=True):
                drawn[place] = letters[which]
        return tuple(drawn)

    def site_weights(self, space_group: int) -> dict[str, float]:
        """Returns the weight of each letter of a group when sites are drawn one by one."""
        positions = wyckoff_positions(space_group)
        seen: Counter[str] = Counter()
        for found in self.assignments.get(space_group, {}).values():
            for assignment, number in found.items():
                for letters in assignment:
                    seen.update({letter: number * letters.count(letter) for letter in set(letters)})
        low = np.array([1.0 / p.multiplicity for p in positions])
        prior = _PRIOR_SITES * low / low.sum()
        data = np.array([seen[p.letter] for p in positions]) * low
        weights = data / max(data.sum(), 1e-300) * min(sum(seen.values()), 20) + prior
        return {p.letter: float(w) for p, w in zip(positions, weights / weights.sum(), strict=True)}

    def _draw_by_site(
        self, rng: np.random.Generator, space_group: int, counts: tuple[int, ...]
    ) -> Assignment:
        weights = self.site_weights(space_group)
        fixed = {p.letter for p in wyckoff_positions(space_group) if p.num_free == 0}
        left = dict(weights)
        letters: list[str] = []
        for _ in range(sum(counts)):
            names = list(left)
            shares = np.array([left[name] for name in names])
            letters.append(names[rng.choice(len(names), p=shares / shares.sum())])
            if letters[-1] in fixed:
                del left[letters[-1]]
        ends = np.cumsum(counts)
        return tuple(tuple(sorted(letters[end - size : end])) for end, size in zip(ends, counts, strict=True))


def is_legal(space_group: int, assignment: Assignment) -> bool:
    """Returns whether no position without a free coordinate is used twice.

    Raises:
      RequestError: a letter that the group does not have.
    """
    used = Counter(letter for letters in assignment for letter in letters)
    return all(n == 1 or wyckoff_position(space_group, letter).num_free > 0 for letter, n in used.items())


def _sorted_assignment(elements: Iterable[Sequence[str]]) -> Assignment:
    letters = (tuple(sorted(element)) for element in elements)
    return tuple(sorted(letters, key=lambda element: (len(element), element)))
