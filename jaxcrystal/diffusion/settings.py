"""Settings of the sampler: noise levels, steps, and how chains are chosen among."""

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from jaxcrystal.config import Checked
from jaxcrystal.diffusion.schedules import SIGMA, NoiseSchedule
from jaxcrystal.limits import BEST_OF, LATTICE_STEP, STEPS_PER_LEVEL, TEMPERATURE, TRAJECTORY, Within

#: Largest step of the lattice where levels have few steps: 2 would take it from where it is to where the
#: network sees it.
_LARGEST_LATTICE_STEP = 0.8


@dataclass(frozen=True)
class Choice(Checked):
    """A place on the way at which only the likeliest chains of each structure go on, or the steps change.

    Attributes:
      sigma: Å; it comes after the last level whose σ_X is no smaller.
      keep: chains that go on; None: all.
      steps_per_level: of theirs, at each level that follows; None: as before.
    """

    sigma: Annotated[float, SIGMA]
    keep: Annotated[int | None, BEST_OF] = None
    steps_per_level: Annotated[int | None, STEPS_PER_LEVEL] = None


class Stage(NamedTuple):
    """A part of the way, from one choice to the next.

    Attributes:
      chains: of each structure that take it; if there are several, a choice follows.
      first, last: of its steps, which count from 1; after the last of all comes the evaluation of the
        final structure.
    """

    chains: int
    first: int
    last: int


@dataclass(frozen=True)
class LangevinConfig(Checked):
    """Settings of the sampler.

    Attributes:
      schedule: noise levels.
      steps_per_level: T.
      coord_step: ε_X over σ_X².
      lattice_step: ε_L over σ_L²; where a choice changes the steps of the levels, that of these follows, so
        that the lattice goes as far at each level.
      lattice_temperature: τ, factor of the lattice noise.
      alternating: update coordinates, evaluate again, update the lattice.
      denoise: the very last step takes the predicted noise out of the coordinates,
        X ← X - σ_X ε̂_X, and leaves the lattice.
      trajectory_every: keep every n-th state; 0: only the last.
      best_of: chains of each structure, of which `search.anneal_best` keeps the likeliest;
        `anneal` runs one.
      choices: places at which fewer of these go on, in order; the last choice is at the end.
      bound_levels, bound_draws: levels of the bound on the likelihood, and draws at each.
    """

    schedule: NoiseSchedule = NoiseSchedule()
    steps_per_level: Annotated[int, STEPS_PER_LEVEL] = 20
    coord_step: Annotated[float, Within(0, 1000)] = 1.0
    lattice_step: Annotated[float, LATTICE_STEP] = 0.1
    lattice_temperature: Annotated[float, TEMPERATURE] = 0.15
    alternating: bool = False
    denoise: bool = True
    trajectory_every: Annotated[int, TRAJECTORY] = 0
    best_of: Annotated[int, BEST_OF] = 1
    choices: tuple[Choice, ...] = ()
    bound_levels: Annotated[int, Within(2, 1000)] = 10
    bound_draws: Annotated[int, Within(1, 1000)] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.choices, tuple) or not all(isinstance(c, Choice) for c in self.choices):
            raise ValueError(f"choices is {self.choices!s:.60}; expected a tuple of Choice")
        total = self.num_steps
        if self.trajectory_every and total % self.trajectory_every:
            raise ValueError(
                f"trajectory_every is {self.trajectory_every}; it must divide the {total} steps in all"
            )
        sigmas = [choice.sigma for choice in self.choices]
        if sigmas != sorted(sigmas, reverse=True):
            raise ValueError(f"choices are at {sigmas} Å; they must be descending")

    @property
    def steps_of_levels(self) -> tuple[int, ...]:
        """Steps at each level of a chain that goes all the way."""
        steps = [self.steps_per_level] * self.schedule.levels
        for choice in self.choices:
            if choice.steps_per_level is not None:
                done = self._levels_before(choice)
                steps[done:] = [choice.steps_per_level] * (len(steps) - done)
        return tuple(steps)

    @property
    def num_steps(self) -> int:
        """Steps of a chain that goes all the way."""
        return sum(self.steps_of_levels)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The parts of the way from one choice to the next."""
        ends = [0, *accumulate(self.steps_of_levels)]
        found, chains, first = [], self.best_of, 1
        for choice in self.choices:
            last = ends[self._levels_before(choice)]
            keep = choice.keep or chains
            if keep < chains and last < self.num_steps:
                if last >= first:
                    found.append(Stage(chains, first, last))
                    first = last + 1
                chains = keep  # of two choices at one place the second is made, among all
        return (*found, Stage(chains, first, self.num_steps + 1))

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for each structure, those for the choices included.

        After a choice on the way, batches of few structures may compute chains that are out beside them.
        """
        each = 2 if self.alternating else 1
        steps = sum(stage.chains * (stage.last - stage.first + 1) for stage in self.stages)
        judged = sum(stage.chains for stage in self.stages if stage.chains > 1)
        return each * steps + self.bound_levels * self.bound_draws * judged

    @property
    def bound_schedule(self) -> NoiseSchedule:
        """The levels that chains are judged at."""
        return replace(self.schedule, levels=self.bound_levels)

    def sigmas(self, dtype: DTypeLike = jnp.float32) -> Float[Array, "steps 2"]:
        """Returns (σ_X, σ_L) of every step."""
        level = np.repeat(np.arange(self.schedule.levels), self.steps_of_levels)
        return self.schedule.sigmas(dtype)[level]

    def lattice_steps(self) -> Float[np.ndarray, " steps"]:
        """Returns ε_L over σ_L² of every step."""
        steps = np.repeat(self.steps_of_levels, self.steps_of_levels)
        most = max(self.lattice_step, _LARGEST_LATTICE_STEP)
        return np.minimum(self.lattice_step * self.steps_per_level / steps, most)

    def _levels_before(self, choice: Choice) -> int:
        """Returns how many levels are done where a choice is made: at least one."""
        schedule = self.schedule
        whole = math.log(schedule.coords_max / schedule.coords_min)
        done = math.log(schedule.coords_max / choice.sigma) / whole * (schedule.levels - 1)
        return min(max(math.floor(done + 1e-6) + 1, 1), schedule.levels)
