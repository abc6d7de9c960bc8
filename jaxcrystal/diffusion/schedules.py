"""Noise schedules: paired levels of σ for the coordinates and the lattice."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float


@dataclass(frozen=True)
class NoiseSchedule:
    """Log-spaced noise levels, from the largest to the smallest.

    Attributes:
      coords_max, coords_min: σ_X in Å at the first and last level.
      lattice_max, lattice_min: σ_L in lattice-parameter units (about Å for lengths).
      levels: F.
    """

    coords_max: float = 1.5
    coords_min: float = 0.02
    lattice_max: float = 6.0
    lattice_min: float = 0.31623
    levels: int = 10

    def __post_init__(self) -> None:
        for name in ("coords", "lattice"):
            high, low = getattr(self, f"{name}_max"), getattr(self, f"{name}_min")
            if not 0 < low < high:
                raise ValueError(
                    f"{name}_max is {high} and {name}_min is {low}; they must be > 0 and descending"
                )
        if self.levels < 2:
            raise ValueError(f"levels is {self.levels}; it must be at least 2")

    def at(self, time: Float[Array, "*batch"]) -> Float[Array, "*batch 2"]:
        """Returns (σ_X, σ_L) at a time from 0 (most noise) to 1 (least)."""
        time = jnp.asarray(time)[..., None]
        high = jnp.log(jnp.asarray([self.coords_max, self.lattice_max], time.dtype))
        low = jnp.log(jnp.asarray([self.coords_min, self.lattice_min], time.dtype))
        return jnp.exp(high + (low - high) * time)

    def sigmas(self, dtype: DTypeLike = jnp.float32) -> Float[Array, "levels 2"]:
        """Returns (σ_X, σ_L) of every level, most noise first."""
        return self.at(jnp.linspace(0.0, 1.0, self.levels, dtype=dtype))


#: Named schedules. `paper`: σ_X² from 36 to 0.001 Å², σ_L² from 36 to 0.1, its public code's.
SCHEDULES = {
    "default": NoiseSchedule(),
    "paper": NoiseSchedule(coords_max=6.0, coords_min=0.001**0.5, lattice_max=6.0, lattice_min=0.1**0.5),
}
