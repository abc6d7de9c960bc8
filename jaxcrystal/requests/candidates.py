"""Turns orders into the single structures to be sampled, each with its letters and its template."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxcrystal.crystal import Crystal, bucket_of, pad_and_stack
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
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
        group, letters = self.order.space_group, self.letters
        return build_crystal(
            group, self.order.species, None if letters is None else letter_indices(group, letters)
        )


def make_candidates(
    orders: Sequence[Order],
    counts: Sequence[int],
    frequencies: LetterFrequencies,
    seed: int = 0,
    cond: Cond | None = None,
) -> list[Candidate]:
    """Returns every structure to be drawn, with its letters.

    Args:
      orders: of `requests.orders.make_order`.
      counts: structures of each.
      frequencies: of a model, which letters that are not given are drawn from.
      seed: of those letters, 0 to 2³² - 1.
      cond: conditions: name -> one number, or one for each structure.

    Raises:
      RequestError: a count below 1, a seed that is none, conditions that are no finite numbers or not
        as many as structures.
    """
    if min(counts, default=1) < 1:
        raise RequestError(f"count is {min(counts)}; it must be at least 1")
    if not 0 <= seed < 2**32:
        raise RequestError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    numbered = ((order, n) for order, wanted in zip(orders, counts, strict=True) for n in range(wanted))
    told = _told(cond or {}, sum(counts))
    return [
        Candidate(place, order, number, order.draw_letters(frequencies, seed, number), told[place])
        for place, (order, number) in enumerate(numbered)
    ]


def _told(cond: Cond, total: int) -> list[tuple[tuple[str, float], ...]]:
    """Returns the conditions of each structure, sorted by name."""
    columns = []
    for name in sorted(cond):
        try:
            numbers = np.asarray(cond[name], np.float32)
            column = np.broadcast_to(numbers, total) if numbers.ndim == 0 else numbers
        except (TypeError, ValueError):
            raise RequestError(f"the condition {name} is {cond[name]!r}; expected numbers") from None
        if column.shape != (total,) or not np.isfinite(column).all():
            raise RequestError(
                f"the condition {name} has the shape {column.shape}; expected one finite number, or one for "
                f"each of {total} structures"
            )
        columns.append([(name, float(number)) for number in column])
    return [*zip(*columns, strict=True)] if columns else [()] * total


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

        draws_letters = any(order.mode == "auto" for order in orders)
        frequencies = load_model().letters if draws_letters else LetterFrequencies({})
    candidates = make_candidates(orders, counts, frequencies, seed)
    most = max((order.num_sites for order in orders), default=1)
    crystals = [candidate.template() for candidate in candidates]
    return pad_and_stack(crystals, bucket_of(most) if max_nodes is None else max_nodes)
