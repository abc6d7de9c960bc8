"""Measures the denoising losses by noise level, for free and for constrained sites."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcrystal.crystal import bucket_of
from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.loss import DenoisingLoss
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model
from jaxcrystal.training.objective import make_level_losses

#: Structures whose losses are computed at once, at most.
_BATCH = 64


@dataclass(frozen=True, eq=False)
class LevelLosses:
    """Mean losses at every level; a structure or cell that does not count is left out.

    Attributes:
      sites: `free` or `constrained`.
      sigmas: [levels, 2] σ_X (Å) and σ_L.
      coords: [levels] mean squared error of the coordinate noise.
      lattice: [levels] the same of the lattice noise.
      cut_share: share of the sites, at all levels, at which the cut at K neighbours acted.
    """

    sites: str
    sigmas: Float[np.ndarray, "levels 2"]
    coords: Float[np.ndarray, " levels"]
    lattice: Float[np.ndarray, " levels"]
    cut_share: float

    def means(self) -> dict[str, float]:
        """Returns the mean over the levels of both losses."""
        return {name: round(float(getattr(self, name).mean()), 4) for name in ("coords", "lattice")}

    def rows(self) -> list[tuple[Any, ...]]:
        """Returns (sites, level, σ_X, σ_L, coords, lattice) for each level."""
        return [
            (self.sites, level + 1, *map(float, sigma), float(coords), float(lattice))
            for level, (sigma, coords, lattice) in enumerate(
                zip(self.sigmas, self.coords, self.lattice, strict=True)
            )
        ]

    def describe(self) -> str:
        """Returns one line: means and coordinate losses by level."""
        by_level = " ".join(f"{x:.2f}" for x in self.coords)
        means = self.means()
        cut = f"the cut at K neighbours acts at {100 * self.cut_share:.1f} % of the sites"
        return (
            f"{self.sites} sites: coords {means['coords']:.3f}, lattice {means['lattice']:.3f}; "
            f"coords by level {by_level}; {cut}"
        )


def validate(
    model: Model,
    schedule: NoiseSchedule,
    dataset: Dataset,
    max_structures: int,
    seed: int = 0,
) -> list[LevelLosses]:
    """Returns the losses by level for free and for constrained sites.

    Args:
      model: network and weights.
      schedule: whose levels are measured.
      dataset: held-out structures.
      max_structures: so many, spread evenly over the file.
      seed: of the noise.
    """
    count = min(max_structures, len(dataset))
    size = min(count, _BATCH)
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    buckets = np.array([bucket_of(n) for n in dataset.num_sites[chosen]])
    told = dataset.conditions(model.conditions)
    results = []
    for sites in ("free", "constrained"):
        sums, num_sites = np.zeros((5, schedule.levels)), 0
        for bucket in np.unique(buckets):
            members = chosen[buckets == bucket]
            padded = np.concatenate([members, np.full(-len(members) % size, -1)]).reshape(-1, size)
            crystals = [to_crystals(dataset, rows, int(bucket), sites == "constrained") for rows in padded]
            whole = jax.tree.map(lambda *arrays: np.concatenate(arrays), *crystals)
            capacity = ImageCapacity.fitting(whole, sites == "constrained")
            level_losses = make_level_losses(model.module, model.graph, schedule, capacity)
            for number, (rows, batch) in enumerate(zip(padded, crystals, strict=True)):
                key = jax.random.fold_in(jax.random.key(seed), int(bucket) * 1000 + number)
                cond = {name: column[rows].astype(np.float32) for name, column in told.items()} or None
                losses = level_losses(key, model.params, batch, cond)
                sums += np.stack([np.asarray(array).sum(1) for array in losses])
                num_sites += int(batch.node_mask.sum())
        summed = dict(zip(DenoisingLoss._fields, sums, strict=True))
        results.append(
            LevelLosses(
                sites,
                np.asarray(schedule.sigmas()),
                summed["coords"] / np.maximum(summed["coords_weight"], 1.0),
                summed["lattice"] / np.maximum(summed["lattice_weight"], 1.0),
                float(summed["num_cut"].sum() / max(num_sites * schedule.levels, 1)),
            )
        )
    return results


def trained_loss(losses: list[LevelLosses], constrained_share: float) -> float:
    """Returns one number to choose the best weights by, over the kinds of sites that are trained.

    Args:
      losses: of `validate`.
      constrained_share: share of the updates with constrained sites.
    """
    weights = {"free": 1.0 - constrained_share, "constrained": constrained_share}
    used = [result for result in losses if weights[result.sites] > 0.0]
    return float(sum(weights[x.sites] * 0.5 * (x.coords.mean() + x.lattice.mean()) for x in used))
