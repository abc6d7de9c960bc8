"""Defines noise schedules: paired levels of σ for the coordinates and the lattice."""

import math
from dataclasses import dataclass, replace
from typing import Annotated

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from jaxcrystal.config import Checked
from jaxcrystal.limits import Within

#: Of σ: Å, or units of the lattice parameters. Less noise is lost in the single precision of the coordinates.
SIGMA = Within(1e-6, 1000)


@dataclass(frozen=True)
class NoiseSchedule(Checked):
    """Log-spaced noise levels, from the largest to the smallest.

    Attributes:
      coords_max, coords_min: σ_X in Å at the first and last level.
      lattice_max, lattice_min: σ_L in lattice-parameter units (about Å for lengths).
      levels: F.
    """

    coords_max: Annotated[float, SIGMA] = 1.5
    coords_min: Annotated[float, SIGMA] = 0.02
    lattice_max: Annotated[float, SIGMA] = 6.0
    lattice_min: Annotated[float, SIGMA] = 0.31623
    levels: Annotated[int, Within(2, 10_000)] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("coords", "lattice"):
            high, low = getattr(self, f"{name}_max"), getattr(self, f"{name}_min")
            if not low < high:
                raise ValueError(f"{name}_max is {high} and {name}_min is {low}; they must be descending")

    def at(self, time: Float[Array, "*batch"]) -> Float[Array, "*batch 2"]:
        """Returns (σ_X, σ_L) at a time from 0 (most noise) to 1 (least)."""
        return self.at_each(jnp.asarray(time)[..., None])

    def at_each(self, time: Float[Array, "*batch times"]) -> Float[Array, "*batch 2"]:
        """Returns (σ_X, σ_L), each at a time of its own; one time serves both."""
        high = jnp.log(jnp.asarray([self.coords_max, self.lattice_max], time.dtype))
        low = jnp.log(jnp.asarray([self.coords_min, self.lattice_min], time.dtype))
        return jnp.exp(high + (low - high) * time)

    def sigmas(self, dtype: DTypeLike = jnp.float32) -> Float[Array, "levels 2"]:
        """Returns (σ_X, σ_L) of every level, most noise first."""
        return self.at(jnp.linspace(0.0, 1.0, self.levels, dtype=dtype))

    def down_to(self, coords_min: float) -> "NoiseSchedule":
        """Returns the part that ends at this σ_X (Å), in as many levels; all of it if it ends before."""
        if not self.coords_min < coords_min < self.coords_max:
            return self
        time = math.log(self.coords_max / coords_min) / math.log(self.coords_max / self.coords_min)
        lattice_min = self.lattice_max * (self.lattice_min / self.lattice_max) ** time
        return replace(self, coords_min=coords_min, lattice_min=lattice_min)


#: Named schedules. `paper`: σ_X² from 36 to 0.001 Å², σ_L² from 36 to 0.1, its public code's.
SCHEDULES = {
    "default": NoiseSchedule(),
    "paper": NoiseSchedule(coords_max=6.0, coords_min=0.001**0.5, lattice_max=6.0, lattice_min=0.1**0.5),
}


def draw_levels(
    key: Array, schedule: NoiseSchedule, untied_share: float, batch: int
) -> Float[Array, "batch 2"]:
    """Draws (σ_X, σ_L) for the structures of a batch.

    Times of the schedule are stratified: every batch sees its whole range evenly. For a share of
    the structures the two σ are drawn one by one instead, from all that the named schedules span,
    so that the network can be sampled with a schedule that it was not trained for.

    Args:
      key: of this draw.
      schedule: of the other structures.
      untied_share: of the structures, rounded to whole ones.
      batch: structures.
    """
    untied = round(untied_share * batch)
    tied = batch - untied
    times = (jnp.arange(batch) - untied + jax.random.uniform(key, (batch,))) / max(tied, 1)
    sigmas = schedule.at(times)
    if not untied:
        return sigmas
    spanned = (schedule, *SCHEDULES.values())
    widest = NoiseSchedule(
        coords_max=max(s.coords_max for s in spanned),
        coords_min=min(s.coords_min for s in spanned),
        lattice_max=max(s.lattice_max for s in spanned),
        lattice_min=min(s.lattice_min for s in spanned),
    )
    alone = widest.at_each(jax.random.uniform(jax.random.fold_in(key, 1), (batch, 2)))
    return jnp.where(jnp.arange(batch)[:, None] < untied, alone, sigmas)
