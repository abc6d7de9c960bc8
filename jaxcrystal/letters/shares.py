"""Shares the structures of a data set among the assignments of letters that they speak for."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import permutations, product
from math import factorial, prod
from typing import Generic, TypeVar

import numpy as np

from jaxcrystal.letters.similarity import log_similarity

#: The atomic numbers of the structures of an assignment, each in the order of its elements.
Elements = tuple[tuple[int, ...], ...]
Key = TypeVar("Key", bound=Hashable)
#: Share of the chances that goes by frequency alone, whatever the elements.
_BLIND_SHARE = 0.1
#: Elements of equal standing that can be swapped in more ways than this are not told apart.
MAX_SWAPS = 5040


class Shares(Generic[Key]):
    """Structures shared among the assignments that they count for.

    A structure counts for every way to give its sets of letters to the elements asked for. Most
    of all structures are shared in proportion to how alike the elements are, a small part equally.

    Args:
      elements: atomic numbers asked for; none: all is shared equally.
    """

    def __init__(self, elements: Sequence[int] = ()) -> None:
        self._elements = np.array(elements, int)
        self._equal: dict[Key, float] = defaultdict(float)
        self._alike: dict[Key, list[np.ndarray]] = defaultdict(list)

    def add(
        self, assignments: Sequence[Key], ways: Sequence[tuple[int, ...]], number: int, of_data: Elements
    ) -> None:
        """Adds the structures of one pattern.

        Args:
          assignments: what each way makes of the pattern; may be equal.
          ways: for each element asked for, its place in the pattern.
          number: of structures.
          of_data: their elements, as far as they are known.
        """
        for assignment in assignments:
            self._equal[assignment] += number / len(assignments)
        if len(self._elements) and of_data:
            data = np.array(of_data)
            for assignment, way in zip(assignments, ways, strict=True):
                self._alike[assignment].append(log_similarity(self._elements, data[:, way]))

    def of_each(self) -> dict[Key, float]:
        """Returns the structures of each assignment; their sum is that of all that were added."""
        if not self._alike:
            return dict(self._equal)
        # Relative to the most alike structure of all: others may be too far away for any number.
        nearest = max(float(logs.max()) for parts in self._alike.values() for logs in parts)
        alike = {
            key: sum(float(np.exp(logs - nearest).sum()) for logs in parts)
            for key, parts in self._alike.items()
        }
        scale = (1.0 - _BLIND_SHARE) * sum(self._equal.values()) / sum(alike.values())
        return {key: _BLIND_SHARE * share + scale * alike.get(key, 0.0) for key, share in self._equal.items()}

    def nearest(self) -> Key | None:
        """Returns the assignment of the structure whose elements are most alike; None where there is none.

        Of several that have structures as near, the one that has most of these, then that of most structures.
        """

        def closeness(key: Key) -> tuple[float, int, float]:
            logs = np.concatenate([[-np.inf], *self._alike.get(key, [])])
            return float(logs.max()), int((logs == logs.max()).sum()), self._equal[key]

        return max(self._equal, key=closeness, default=None)


def swaps(sizes: Sequence[int], wanted: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yields the ways to give parts of some sizes to places of the same sizes.

    Args:
      sizes: of the parts.
      wanted: of the places; the same numbers, in any order.
    Returns:
      For each place the part that it gets. None at all where there are more than `MAX_SWAPS`.
    """
    different = sorted(set(wanted))
    places = [[i for i, n in enumerate(wanted) if n == size] for size in different]
    parts = [[i for i, n in enumerate(sizes) if n == size] for size in different]
    if prod(factorial(len(members)) for members in parts) > MAX_SWAPS:
        return
    for choice in product(*(permutations(members) for members in parts)):
        way = [0] * len(wanted)
        for of_size, chosen in zip(places, choice, strict=True):
            for place, part in zip(of_size, chosen, strict=True):
                way[place] = part
        yield tuple(way)
