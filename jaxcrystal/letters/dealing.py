"""Deals things out in proportion to their chances, the likeliest first."""

import heapq
from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
#: Numbers that things are dealt out to; then they are dealt out again in the same order.
DEALT = 10_000


class Deal(Generic[Key]):
    """The order in which things are dealt out, by the method of Sainte-Laguë (that of seats in parliaments).

    The next one is that of the largest chance over 2 n + 1, where n is how often it was dealt. So an
    unlikely one waits until half of one is its share; what waits for more than `DEALT` is never dealt.

    Args:
      chances: of each thing, positive.
    """

    def __init__(self, chances: Mapping[Key, float]) -> None:
        self._options = [*chances]
        self._chances = [*chances.values()]
        self._next = [(-chance, place, 0) for place, chance in enumerate(self._chances)]
        heapq.heapify(self._next)
        self._order: list[int] = []

    def at(self, number: int) -> Key | None:
        """Returns what is dealt to a number, counted from 0; None where there is nothing."""
        if not self._options:
            return None
        number %= DEALT
        while len(self._order) <= number:
            _, place, dealt = self._next[0]
            self._order.append(place)
            chance = -self._chances[place] / (2 * dealt + 3)
            heapq.heapreplace(self._next, (chance, place, dealt + 1))
        return self._options[self._order[number]]
