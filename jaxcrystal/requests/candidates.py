"""Turns orders into the single structures to be sampled, each with its letters and its template."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, overload

import numpy as np

from jaxcrystal.config import refusal
from jaxcrystal.crystal import Crystal, bucket_of, pad_and_stack
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.limits import COUNT, SEED
from jaxcrystal.requests.orders import Order
from jaxcrystal.symmetry.crystals import build_crystal, letter_indices

#: Conditions by name: one number, or one for each structure.
Cond = Mapping[str, float | Sequence[float] | np.ndarray]


class Candidate(NamedTuple):
    """One structure to be drawn.

    Attributes:
      place: position in the results.
      order: what it must be.
      number: which of the order's structures it is, from 0.
      letters: of every site; None for free sites.
      cond: its conditions, name and number each; empty: none.
    """

    place: int
    order: Order
    number: int
    letters: tuple[str, ...] | None
    cond: tuple[tuple[str, float], ...] = ()

    def template(self) -> Crystal:
        """Returns what sampling starts from, of numpy arrays in float64, without padding.

        Coordinates are a point of each site's subspace, the lattice parameters 0: both are drawn.
        """
        return _template(self.order.space_group, self.order.species, self.letters)


@lru_cache(maxsize=4096)
def _template(space_group: int, species: tuple[int, ...], letters: tuple[str, ...] | None) -> Crystal:
    """Makes the template of a structure, which all on the same letters share: its arrays are read-only."""
    indices = None if letters is None else letter_indices(space_group, letters)
    crystal = build_crystal(space_group, species, indices)
    for array in crystal:
        np.asarray(array).setflags(write=False)
    return crystal


class Candidates(Sequence[Candidate]):
    """The structures of some orders, each made when it is asked for: a run may have billions.

    Args:
      orders, counts: structures of each order, those of one order together.
      letters: returns those of a structure, by its order and its number there; asked often.
      cond: name -> one number, or one for each structure.
      places: those of the structures in the whole run that are here; None: all.
      before: structures of each order that another run has, so that numbers and places go on from there;
        None: none. Such a run may have orders of which it has no structure.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        counts: Sequence[int],
        letters: Callable[[Order, int], tuple[str, ...] | None],
        cond: Mapping[str, np.ndarray],
        places: range | None = None,
        before: Sequence[int] | None = None,
    ) -> None:
        self.orders, self.counts, self.cond = orders, counts, cond
        self._letters = letters
        self._before = [0] * len(orders) if before is None else before
        self._first_place = sum(self._before)
        self._ends = list(accumulate(counts))
        self._places = range(sum(counts)) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> "Candidates": ...
    def __getitem__(self, place: int | slice) -> "Candidate | Candidates":
        if isinstance(place, slice):
            rest = self._letters, self.cond, self._places[place], self._before
            return Candidates(self.orders, self.counts, *rest)
        return self._at(self._places[place])

    def __iter__(self) -> Iterator[Candidate]:
        return map(self._at, self._places)

    def drawn_orders(self) -> list[Order]:
        """Returns the orders that some structure here is of."""
        places, starts = self._places, [0, *self._ends]
        if not places:
            return []
        # Of each order, the first structure at its beginning or after that is here.
        firsts = (max(0, -(-(start - places.start) // places.step)) for start in starts[:-1])
        found = zip(self.orders, firsts, self._ends, strict=True)
        return [order for order, first, end in found if first < len(places) and places[first] < end]

    def _at(self, place: int) -> Candidate:
        which = bisect_right(self._ends, place)
        order, number = self.orders[which], place - self._ends[which] + self.counts[which]
        number += self._before[which]
        letters = self._letters(order, number)
        cond = tuple((name, float(self.cond[name][place])) for name in sorted(self.cond))
        return Candidate(self._first_place + place, order, number, letters, cond)


def make_candidates(
    orders: Sequence[Order],
    counts: Sequence[int],
    frequencies: LetterFrequencies,
    seed: int = 0,
    cond: Cond | None = None,
    before: Sequence[int] | None = None,
) -> Candidates:
    """Returns every structure to be drawn, with its letters.

    Args:
      orders: of `requests.orders.make_order`.
      counts: structures of each.
      frequencies: of a model, which letters that are not given are drawn from.
      seed: of those letters, 0 to 2³² - 1.
      cond: conditions: name -> one number, or one for each structure.
      before: see `Candidates`; counts may be 0 then.

    Raises:
      RequestError: counts that are not as many as orders, counts or a seed that are no whole numbers or out
        of bounds, conditions that are no finite numbers or not as many as structures.
    """
    counts = list(counts)
    if len(counts) != len(orders):
        raise RequestError(f"{len(counts)} counts for {len(orders)} orders: give one for each")
    if refused := refusal(counts, tuple[int, ...], COUNT if before is None else COUNT._replace(low=0)):
        raise RequestError(f"count {refused}")
    counts = [int(count) for count in counts]  # of Python, which do not overflow
    if refused := COUNT.refusal(max(1, sum(counts))):
        raise RequestError(f"count {refused}")
    if refused := refusal(seed, int, SEED):
        raise RequestError(f"seed {refused}")

    @lru_cache(maxsize=2**16)
    def letters(order: Order, number: int) -> tuple[str, ...] | None:
        return order.draw_letters(frequencies, seed, number)

    return Candidates(tuple(orders), counts, letters, _told(cond or {}, sum(counts)), before=before)


def _told(cond: Cond, total: int) -> dict[str, np.ndarray]:
    """Returns the conditions of each structure."""
    columns = {}
    for name in cond:
        try:
            with np.errstate(over="ignore"):  # infinite, and refused
                numbers = np.asarray(cond[name], np.float32)
            column = np.broadcast_to(numbers, total) if numbers.ndim == 0 else numbers
        except (TypeError, ValueError):
            raise RequestError(f"the condition {name} is {cond[name]!r}; expected numbers") from None
        if column.shape != (total,) or not np.isfinite(column).all():
            raise RequestError(
                f"the condition {name} has the shape {column.shape}; expected one finite number, or one for "
                f"each of {total} structures"
            )
        columns[name] = column
    return columns


def templates(
    orders: Sequence[Order],
    counts: Sequence[int],
    *,
    frequencies: LetterFrequencies | None = None,
    seed: int = 0,
    max_nodes: int | None = None,
) -> Crystal:
    """Returns what sampling starts from, for a sampler of one's own: see `diffusion.langevin.init`.

    Args:
      orders: of `requests.orders.make_order`; all with free or all with constrained sites, as one
        program serves one of the two.
      counts: structures of each.
      frequencies: `Model.letters`, by default of the bundled model: letters of sites that are only
        counted are drawn from it.
      seed: of those letters.
      max_nodes: sites that each structure is padded to; default: what holds the largest.
    Returns:
      Padded crystals [Σ counts] of numpy arrays, those of one order together. Coordinates are a
      point of each site's subspace, the lattice parameters 0.

    Raises:
      RequestError: free and constrained sites together, a count below 1.
      DataError: a structure has more sites than `max_nodes`.
    """
    if len({order.mode == "free" for order in orders}) > 1:
        raise RequestError("free and constrained sites need a program each: give their orders apart")
    if frequencies is None:
        from jaxcrystal.model import load_model  # with flax, which processes that only write need not have

        draws_letters = any(order.draws_letters for order in orders)
        frequencies = load_model().letters if draws_letters else LetterFrequencies({})
    candidates = make_candidates(orders, counts, frequencies, seed)
    most = max((order.num_sites for order in orders), default=1)
    crystals = [candidate.template() for candidate in candidates]
    return pad_and_stack(crystals, bucket_of(most) if max_nodes is None else max_nodes)
