"""Takes orders from known crystals: their groups, and the letters or numbers of their sites."""

from collections import Counter

import numpy as np

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import RequestError
from jaxcrystal.requests.orders import Order, SiteMode, make_order
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


def order_like(dataset: Dataset, row: int, mode: SiteMode) -> Order:
    """Returns the order of a structure's group and elements.

    Args:
      dataset: prepared.
      row: which structure; of a group from 16 and of no more sites than the sampler holds.
      mode: `given`, with its Wyckoff letters; `auto` or `free`, with the number of sites of
        each element only.
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


def draw_orders(
    dataset: Dataset, count: int, mode: SiteMode, seed: int = 0, max_sites: int = BUCKETS[-1]
) -> tuple[list[Order], list[int]]:
    """Draws structures at random and returns their orders, and how many of each.

    A structure is drawn again only after all others: with `count` beyond the number of
    structures every one of them is drawn at least once.

    Args:
      dataset: prepared; structures of groups 1-15 and larger ones are left out.
      count: structures to be sampled in all.
      mode: see `order_like`.
      seed: of the draw.
      max_sites: inequivalent sites of the largest structure.
    Returns:
      Different orders and the number of structures of each, `count` in all.

    Raises:
      RequestError: no structure is left.
    """
    fits = np.flatnonzero(dataset.supported & (dataset.num_sites <= min(max_sites, BUCKETS[-1])))
    if not len(fits):
        raise RequestError(
            f"none of the {len(dataset)} structures has a group from 16 to 230 and at most "
            f"{min(max_sites, BUCKETS[-1])} sites"
        )
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(fits) for _ in range(-(-count // len(fits)))])[:count]
    # Structures with the same order are counted: an order given twice gives the same crystals.
    counts = Counter(order_like(dataset, int(row), mode) for row in rows)
    return list(counts), list(counts.values())
