"""Takes orders from known crystals: their groups, and the letters or numbers of their sites."""

import logging
from collections import Counter

import numpy as np
from jaxtyping import Int

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import RequestError
from jaxcrystal.requests.orders import Order, SiteMode, make_order
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: Structures that a warning names.
_SHOWN = 3
_log = logging.getLogger(__name__)


def order_like(dataset: Dataset, row: int, mode: SiteMode) -> Order:
    """Returns the order of a structure's group and elements.

    Args:
      dataset: prepared.
      row: which structure; of no more sites than the sampler holds.
      mode: `given`, with its Wyckoff letters; others, with the number of sites of each element only.
    """
    group, sites = int(dataset.space_group[row]), dataset.sites(row)
    positions = wyckoff_positions(group)
    letters: dict[str, str] = {}
    for number, letter in zip(dataset.species[sites], dataset.letters[sites], strict=True):
        symbol = SYMBOLS[number]
        letters[symbol] = letters.get(symbol, "") + positions[letter].letter
    if mode == "given":
        return make_order(group, letters)
    return make_order(group, {symbol: len(text) for symbol, text in letters.items()}, mode)


def rows_to_order(
    dataset: Dataset, rows: Int[np.ndarray, " rows"], mode: SiteMode
) -> Int[np.ndarray, " usable"]:
    """Returns those of some rows that make an order; the others are named in a warning.

    A row of a damaged or older file, with two sites on one point, must not stop a run of many.
    """
    usable, left_out = [], {}
    for row in rows:
        try:
            order_like(dataset, int(row), mode)
            usable.append(row)
        except RequestError as error:
            left_out[str(dataset.ids[row])] = str(error)
    if left_out:
        shown = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:_SHOWN])
        more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        _log.warning("jaxcrystal: %d of %d structures left out: %s%s", len(left_out), len(rows), shown, more)
    return np.array(usable, int)


def draw_orders(
    dataset: Dataset, count: int, mode: SiteMode, seed: int = 0, max_sites: int = BUCKETS[-1]
) -> tuple[list[Order], list[int]]:
    """Draws structures at random and returns their orders, and how many of each.

    A structure is drawn again only after all others: with `count` beyond the number of
    structures every one of them is drawn at least once.

    Args:
      dataset: prepared; larger structures and those that make no order are left out.
      count: structures to be sampled in all.
      mode: see `order_like`.
      seed: of the draw.
      max_sites: inequivalent sites of the largest structure.
    Returns:
      Different orders and the number of structures of each, `count` in all.

    Raises:
      RequestError: no structure is left.
    """
    fits = np.flatnonzero(dataset.num_sites <= min(max_sites, BUCKETS[-1]))
    fits = rows_to_order(dataset, fits, mode)
    if not len(fits):
        raise RequestError(
            f"none of the {len(dataset)} structures has at most {min(max_sites, BUCKETS[-1])} sites"
        )
    rng = np.random.default_rng(seed)
    # All structures so many times, the rest of `count` once more.
    rounds, rest = divmod(count, len(fits))
    draws = [(rng.permutation(fits), rounds)] if rounds else []
    draws.append((rng.permutation(fits)[:rest], 1))
    # Structures with the same order are counted: an order given twice gives the same crystals.
    counts: Counter[Order] = Counter()
    for rows, times in draws:
        for row in rows:
            counts[order_like(dataset, int(row), mode)] += times
    return list(counts), list(counts.values())
