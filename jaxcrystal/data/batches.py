"""Makes batches of padded crystals, and chooses which structures make up each training step."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from jaxcrystal.crystal import BUCKETS, Crystal, bucket_of, empty, pad_and_stack
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError


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
    nothing = empty(max_nodes)
    crystals = [
        dataset.crystal(int(index), constrained) if index >= 0 else nothing
        for index in np.asarray(indices, np.int64)
    ]
    return pad_and_stack(crystals, max_nodes, dtype)


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
