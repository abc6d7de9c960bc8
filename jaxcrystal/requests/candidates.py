"""Orders as the single structures to be drawn, each with its letters."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxcrystal.errors import RequestError
from jaxcrystal.model import Model
from jaxcrystal.requests.orders import Order
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


class Candidate(NamedTuple):
    """One structure to be drawn.

    Attributes:
      place: position in the results.
      order: what it must be.
      number: which of the order's structures it is, from 0.
      letters: of every site; None for free sites.
    """

    place: int
    order: Order
    number: int
    letters: tuple[str, ...] | None


def make_candidates(
    orders: Sequence[Order], counts: Sequence[int], model: Model, seed: int = 0
) -> list[Candidate]:
    """Returns every structure to be drawn, with its letters.

    Raises:
      RequestError: a count below 1, a seed that is none.
    """
    if min(counts, default=1) < 1:
        raise RequestError(f"count is {min(counts)}; it must be at least 1")
    if not 0 <= seed < 2**32:
        raise RequestError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    numbered = ((order, n) for order, wanted in zip(orders, counts, strict=True) for n in range(wanted))
    return [
        Candidate(place, order, number, order.draw_letters(model.letters, seed, number))
        for place, (order, number) in enumerate(numbered)
    ]


def letter_indices(space_group: int, letters: Sequence[str]) -> list[int]:
    """Returns the index of each letter in `wyckoff_positions(space_group)`."""
    names = [position.letter for position in wyckoff_positions(space_group)]
    return [names.index(letter) for letter in letters]
