"""Batches: padded crystals from a data set, and which structures make up each step."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: Sizes that structures are padded to, in inequivalent sites.
BUCKETS = (1, 2, 3, 4, 6, 8, 12, 20)


def bucket_of(num_sites: int | np.integer) -> int:
    """Returns the smallest bucket that holds `num_sites` inequivalent sites.

    Raises:
      DataError: more sites than the largest bucket, or none.
    """
    for bucket in BUCKETS:
        if 1 <= num_sites <= bucket:
            return bucket
    raise DataError(f"{num_sites} inequivalent sites: structures need 1 to {BUCKETS[-1]}")


@lru_cache(maxsize=230)
def letter_tables(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns site_ops [letters, 48] and site_projection [letters, 3, 3] of a group."""
    positions = wyckoff_positions(space_group)
    return np.stack([p.site_ops for p in positions]), np.stack([p.projection for p in positions])


def empty_crystals(batch: int, max_nodes: int, dtype: type = np.float32) -> Crystal:
    """Returns structures [batch] without sites, on the host.

    Args:
      batch: structures.
      max_nodes: sites each is padded to.
      dtype: of the floating-point arrays.
    """
    arrays: dict[str, Any] = {
        "species": np.zeros((batch, max_nodes), np.int32),
        "frac_coords": np.zeros((batch, max_nodes, 3), dtype),
        "node_mask": np.zeros((batch, max_nodes), bool),
        "lattice_params": np.zeros((batch, 6), dtype),
        "space_group": np.zeros(batch, np.int32),
        "site_ops": np.zeros((batch, max_nodes, MAX_OPS), bool),
        "site_projection": np.zeros((batch, max_nodes, 3, 3), dtype),
    }
    return Crystal(**arrays)


def to_crystals(
    dataset: Dataset,
    indices: Sequence[int | np.integer] | Int[np.ndarray, " batch"],
    max_nodes: int,
    constrained: bool,
    dtype: type = np.float32,
) -> Crystal:
    """Returns structures padded to one size, stacked along a leading batch axis.

    Args:
      dataset: prepared structures.
      indices: [batch] which structures; a negative index gives an all-padding one.
      max_nodes: sites each structure is padded to.
      constrained: True keeps every site on its Wyckoff position (`site_ops` and
        `site_projection` of its letter); False frees all (all operations of the
        group, identity).
      dtype: of the floating-point arrays.

    Raises:
      DataError: a structure has more than `max_nodes` sites.
    """
    indices = np.asarray(indices, np.int64)
    crystals: Any = empty_crystals(len(indices), max_nodes, dtype)
    num_ops = group_tables().num_ops
    for row, index in enumerate(indices):
        if index < 0:
            continue
        count, sites = int(dataset.num_sites[index]), dataset.sites(index)
        if count > max_nodes:
            raise DataError(f"structure {dataset.ids[index]} has {count} sites, max_nodes is {max_nodes}")
        group = int(dataset.space_group[index])
        crystals.species[row, :count] = dataset.species[sites]
        crystals.frac_coords[row, :count] = dataset.frac_coords[sites]
        crystals.node_mask[row, :count] = True
        crystals.lattice_params[row] = dataset.lattice_params[index]
        crystals.space_group[row] = group
        if constrained:
            site_ops, projection = letter_tables(group)
            crystals.site_ops[row, :count] = site_ops[dataset.letters[sites]]
            crystals.site_projection[row, :count] = projection[dataset.letters[sites]]
        else:
            crystals.site_ops[row, :count, : num_ops[group]] = True
            crystals.site_projection[row, :count] = np.eye(3)
    return Crystal(*crystals)


class BucketSampler:
    """Which structures make up each training step; a function of seed and step alone.

    Every step draws from one bucket, as often as its structures are many. A bucket's
    structures are taken in shuffled order, all of them before any comes again. Steps
    may be asked for in any order, so that a resumed training goes on exactly.
    """

    #: Steps after which each bucket has had its share exactly.
    _CYCLE = 1024

    def __init__(
        self,
        num_sites: Int[np.ndarray, " structures"],
        batch_size: int | Mapping[int, int],
        seed: int = 0,
        constrained_share: float = 1.0,
        indices: Sequence[int | np.integer] | Int[np.ndarray, " chosen"] | None = None,
    ) -> None:
        """Prepares the plan.

        Args:
          num_sites: [structures] of the data set.
          batch_size: structures a step, the same for all or one for each bucket.
          seed: of every draw.
          constrained_share: share of the steps with constrained sites.
          indices: the structures to draw from (default all).

        Raises:
          DataError: there is no structure to draw from.
        """
        chosen = np.arange(len(num_sites)) if indices is None else np.asarray(indices, np.int64)
        if len(chosen) == 0:
            raise DataError(
                "no structure to draw from: the data set has none of the size and group asked for"
            )
        largest = np.asarray(BUCKETS)[np.searchsorted(BUCKETS, [bucket_of(n) for n in num_sites[chosen]])]
        self._members = {b: chosen[largest == b] for b in BUCKETS if (largest == b).any()}
        self._size = {b: batch_size if isinstance(batch_size, int) else batch_size[b] for b in self._members}
        self._seed, self.constrained_share = seed, constrained_share
        sites = {b: float(np.mean(num_sites[rows])) for b, rows in self._members.items()}

        shares = np.array([len(rows) / self._size[b] for b, rows in self._members.items()])
        exact = shares / shares.sum() * self._CYCLE
        visits = np.maximum(1, np.floor(exact)).astype(int)
        for position in np.argsort(visits - exact, kind="stable")[: max(0, self._CYCLE - visits.sum())]:
            visits[position] += 1
        self._visits = visits
        slots = np.array([self._size[b] * b for b in self._members])
        filled = np.array([self._size[b] * sites[b] for b in self._members])
        #: Share of the node slots of all batches that hold no site.
        self.padding_share = float(1.0 - (visits * filled).sum() / (visits * slots).sum())
        self._cycle_of = lru_cache(maxsize=2)(self._make_cycle)
        self._order_of = lru_cache(maxsize=4 * len(BUCKETS))(self._make_order)

    @property
    def buckets(self) -> tuple[int, ...]:
        """The buckets that hold structures, smallest first."""
        return tuple(self._members)

    def batch_size(self, bucket: int) -> int:
        """Returns the structures of a batch of this bucket."""
        return self._size[bucket]

    def shape(self, step: int) -> tuple[int, bool]:
        """Returns (bucket, constrained) of a step."""
        bucket, _ = self._visit(step)
        draw = np.random.default_rng([self._seed, 2, step]).random()
        return bucket, bool(draw < self.constrained_share)

    def batch(self, step: int) -> tuple[int, bool, Int[np.ndarray, " batch"]]:
        """Returns (bucket, constrained, indices into the data set) of a step."""
        bucket, visit = self._visit(step)
        members, size = self._members[bucket], self._size[bucket]
        rounds, slots = np.divmod(visit * size + np.arange(size), len(members))
        indices = np.array(
            [members[self._order_of(bucket, int(r))[s]] for r, s in zip(rounds, slots, strict=True)]
        )
        return *self.shape(step), indices

    def _visit(self, step: int) -> tuple[int, int]:
        """Returns the bucket of a step, and how often it was drawn from before."""
        length = int(self._visits.sum())
        cycle, place = divmod(step, length)
        plan, ranks = self._cycle_of(cycle)
        return self.buckets[plan[place]], cycle * int(self._visits[plan[place]]) + int(ranks[place])

    def _make_cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        plan = np.repeat(np.arange(len(self._visits)), self._visits)
        np.random.default_rng([self._seed, 0, cycle]).shuffle(plan)
        ranks = np.zeros(len(plan), int)
        for position in range(len(self._visits)):
            here = plan == position
            ranks[here] = np.arange(here.sum())
        return plan, ranks

    def _make_order(self, bucket: int, order_round: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, 1, bucket, order_round])
        return rng.permutation(len(self._members[bucket]))
