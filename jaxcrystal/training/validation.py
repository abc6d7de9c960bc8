"""Denoising losses by noise level, for free and for constrained sites."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcrystal.data.batches import bucket_of, to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.score import NetworkConfig
from jaxcrystal.training.step import image_capacity, make_level_losses

_BATCH = 64


@dataclass(frozen=True, eq=False)
class LevelLosses:
    """Mean losses at every level; a structure or cell that does not count is left out.

    Attributes:
      sites: `free` or `constrained`.
      sigmas: [levels, 2] σ_X (Å) and σ_L.
      coords: [levels] mean squared error of the coordinate noise.
      lattice: [levels] the same of the lattice noise.
    """

    sites: str
    sigmas: Float[np.ndarray, "levels 2"]
    coords: Float[np.ndarray, " levels"]
    lattice: Float[np.ndarray, " levels"]

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
        return (
            f"{self.sites} sites: coords {means['coords']:.3f}, lattice {means['lattice']:.3f}; "
            f"coords by level {by_level}"
        )


def validate(
    network: NetworkConfig,
    schedule: NoiseSchedule,
    params: Any,
    dataset: Dataset,
    max_structures: int,
    seed: int = 0,
) -> list[LevelLosses]:
    """Returns the losses by level for free and for constrained sites.

    Args:
      network: settings of the weights.
      schedule: whose levels are measured.
      params: weights.
      dataset: held-out structures.
      max_structures: so many, spread evenly over the file.
      seed: of the noise.
    """
    count = min(max_structures, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    buckets = np.array([bucket_of(n) for n in dataset.num_sites[chosen]])
    results = []
    for sites in ("free", "constrained"):
        sums = np.zeros((4, schedule.levels))
        for bucket in np.unique(buckets):
            members = chosen[buckets == bucket]
            padded = np.concatenate([members, np.full(-len(members) % _BATCH, -1)]).reshape(-1, _BATCH)
            crystals = [to_crystals(dataset, rows, int(bucket), sites == "constrained") for rows in padded]
            whole = jax.tree.map(lambda *arrays: np.concatenate(arrays), *crystals)
            level_losses = make_level_losses(network, schedule, image_capacity(whole, sites == "constrained"))
            for number, batch in enumerate(crystals):
                key = jax.random.fold_in(jax.random.key(seed), int(bucket) * 1000 + number)
                losses = level_losses(params, key, batch)
                sums += np.stack([np.asarray(array).sum(1) for array in losses])
        coords, coords_weight, lattice, lattice_weight = sums
        results.append(
            LevelLosses(
                sites,
                np.asarray(schedule.sigmas()),
                coords / np.maximum(coords_weight, 1.0),
                lattice / np.maximum(lattice_weight, 1.0),
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
