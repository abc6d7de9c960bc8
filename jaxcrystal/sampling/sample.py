"""Samples from Python: a group with sites, a formula, or orders in; finished crystals out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np

from jaxcrystal.diffusion.presets import changed, make_config
from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.errors import RequestError
from jaxcrystal.model import Model, load_model
from jaxcrystal.requests.candidates import Cond, make_candidates
from jaxcrystal.requests.formulas import FORMULA_UNITS, MAX_ATOMS
from jaxcrystal.requests.orders import Order, make_order
from jaxcrystal.requests.requests import Request, make_plan
from jaxcrystal.sampling.arrays import sample_arrays
from jaxcrystal.sampling.stream import progress_bar, sample_stream
from jaxcrystal.structures.crystal_arrays import CrystalArrays
from jaxcrystal.structures.finished import Samples


@overload
def sample(
    space_group: int | str | Sequence[int | str],
    sites: Mapping[str, int] | Mapping[str, str],
    count: int = 1,
    *,
    model: Model | str | Path | None = None,
    seed: int = 0,
    letters: str = "auto",
    steps_per_level: int | None = None,
    best_of: int | None = None,
    preset: str | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    cond: Cond | None = None,
    progress: bool = False,
    arrays: Literal[False] = False,
) -> Samples: ...
@overload
def sample(
    space_group: int | str | Sequence[int | str],
    sites: Mapping[str, int] | Mapping[str, str],
    count: int = 1,
    *,
    model: Model | str | Path | None = None,
    seed: int = 0,
    letters: str = "auto",
    steps_per_level: int | None = None,
    best_of: int | None = None,
    preset: str | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    cond: Cond | None = None,
    progress: bool = False,
    arrays: Literal[True],
) -> CrystalArrays: ...
def sample(
    space_group: int | str | Sequence[int | str],
    sites: Mapping[str, int] | Mapping[str, str],
    count: int = 1,
    *,
    model: Model | str | Path | None = None,
    seed: int = 0,
    letters: str = "auto",
    steps_per_level: int | None = None,
    best_of: int | None = None,
    preset: str | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    cond: Cond | None = None,
    progress: bool = False,
    arrays: bool = False,
) -> Samples | CrystalArrays:
    """Samples crystals.

    Args:
      space_group: number (1-230) or Hermann-Mauguin symbol, or several of them.
      sites: element -> number of symmetry-inequivalent sites, such as
        `{"Ba": 1, "Ti": 1, "O": 1}`, or element -> Wyckoff letters, one a site, such as
        `{"Ba": "a", "Ti": "b", "O": "c"}`.
      count: structures for each group.
      model: a model or its folder; the bundled one by default.
      seed: a structure is the same to the last bit at the same seed, whatever else is
        drawn with it and on however many devices, on one machine and with one batch size.
      letters: for numbers of sites: `auto` draws Wyckoff letters as similar elements have them in
        the training data, `ranked` deals them in proportion to the same chances, the likeliest first,
        `nearest` takes those of the structure there whose elements are most alike, `free` lets every
        site move in three dimensions.
      steps_per_level: Langevin steps at each noise level, in place of the preset's.
      best_of: chains begun for each crystal, of which the likeliest is kept, in place of the preset's.
      preset: how much to spend on each crystal: `fast`, `default`, `thorough` or `paper`; see
        `diffusion.presets`.
      config: all settings of the sampler, in place of a preset.
      batch_size: structures computed together on each device (all local ones are used; see
        `environment.use_all_cores` for CPUs), by default what suits it; changes results by
        rounding only.
      cond: conditions, for a model that was trained with them: name -> one number, or one for
        each structure.
      progress: show a bar with structures/s.
      arrays: finish the crystals on the device and return them as arrays there, without touching one of
        them on the host: for thousands. The same crystals, in float32; no trajectories.

    Raises:
      RequestError: a request that makes no sense.
      DataError: the model cannot be read.
    """
    groups = [space_group] if isinstance(space_group, int | np.integer | str) else list(space_group)
    orders = [make_order(group, sites, letters) for group in groups]
    model = model if isinstance(model, Model) else load_model(model)
    config = _config(config, model, preset, steps_per_level=steps_per_level, best_of=best_of)
    counts = [count] * len(orders)
    return sample_orders(orders, counts, model, seed, config, batch_size, progress, cond=cond, arrays=arrays)


@overload
def sample_formula(
    formula: str,
    count: int = 1,
    space_group: int | str | Sequence[int | str] = "any",
    *,
    formula_units: Sequence[int] = FORMULA_UNITS,
    max_atoms: int = MAX_ATOMS,
    at_most: int | None = None,
    letters: str = "auto",
    model: Model | str | Path | None = None,
    seed: int = 0,
    best_of: int | None = None,
    preset: str | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    cond: Cond | None = None,
    progress: bool = False,
    arrays: Literal[False] = False,
) -> Samples: ...
@overload
def sample_formula(
    formula: str,
    count: int = 1,
    space_group: int | str | Sequence[int | str] = "any",
    *,
    formula_units: Sequence[int] = FORMULA_UNITS,
    max_atoms: int = MAX_ATOMS,
    at_most: int | None = None,
    letters: str = "auto",
    model: Model | str | Path | None = None,
    seed: int = 0,
    best_of: int | None = None,
    preset: str | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    cond: Cond | None = None,
    progress: bool = False,
    arrays: Literal[True],
) -> CrystalArrays: ...
def sample_formula(
    formula: str,
    count: int = 1,
    space_group: int | str | Sequence[int | str] = "any",
    *,
    formula_units: Sequence[int] = FORMULA_UNITS,
    max_atoms: int = MAX_ATOMS,
    at_most: int | None = None,
    letters: str = "auto",
    model: Model | str | Path | None = None,
    seed: int = 0,
    best_of: int | None = None,
    preset: str | None = None,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    cond: Cond | None = None,
    progress: bool = False,
    arrays: bool = False,
) -> Samples | CrystalArrays:
    """Samples crystals of exactly one composition, on the likeliest Wyckoff letters that give it.

    Args:
      formula: such as `Cu2KSi`; it is reduced first.
      count: structures in all; see `formulas.plan_formula` for how they are spread.
      space_group: numbers (1-230) or symbols, `any`, or `common`, the 32 groups with most
        structures in the model's training data.
      formula_units: in the primitive cell.
      max_atoms: in the primitive cell.
      at_most: structures of one assignment of letters; None for any number.
      letters: `nearest`: all on the letters, in any of the groups, of the structure in the training data
        whose elements are most alike.
      model: see `sample`, as for the rest.
      seed: of the draw.
      best_of, preset, config: see `sample`.
      batch_size: structures computed together on each device.
      cond: conditions, for a model that was trained with them.
      progress: show a bar with structures/s.
      arrays: return arrays on the device, see `sample`.

    Raises:
      RequestError: a request that makes no sense, or no assignment gives this formula.
      DataError: the model cannot be read.
    """
    model = model if isinstance(model, Model) else load_model(model)
    request = Request(
        space_group=space_group if isinstance(space_group, int | np.integer | str) else tuple(space_group),
        formula=formula,
        formula_units=tuple(formula_units),
        max_atoms=max_atoms,
        at_most=at_most,
        letters=letters,
        count=count,
    )
    plan = make_plan([request], model.letters, seed)
    config = _config(config, model, preset, best_of=best_of)
    return sample_orders(
        plan.orders, plan.counts, model, seed, config, batch_size, progress, cond=cond, arrays=arrays
    )


@overload
def sample_orders(
    orders: Sequence[Order],
    count: int | Sequence[int],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    random_start: bool = False,
    cond: Cond | None = None,
    arrays: Literal[False] = False,
) -> Samples: ...
@overload
def sample_orders(
    orders: Sequence[Order],
    count: int | Sequence[int],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    random_start: bool = False,
    cond: Cond | None = None,
    *,
    arrays: bool,
) -> Samples | CrystalArrays: ...
def sample_orders(
    orders: Sequence[Order],
    count: int | Sequence[int],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    random_start: bool = False,
    cond: Cond | None = None,
    arrays: bool = False,
) -> Samples | CrystalArrays:
    """Samples `count` structures of each order; see `sample`.

    Args:
      orders: of `make_order`; their structures stand in this order in the result. An order
        given twice gives the same structures twice.
      count: structures of each; one number for all, or one for each order.
      model: trained.
      seed: 0 to 2³² - 1.
      config: sampler settings.
      batch_size: rows of every batch on each device.
      progress: show a bar.
      random_start: return the states that sampling would start from, as a baseline.
      cond: conditions, for a model that was trained with them.
      arrays: return arrays on the device, see `sample`.
    """
    counts = list(count) if isinstance(count, Sequence | np.ndarray) else [count] * len(orders)
    candidates = make_candidates(orders, counts, model.letters, seed, cond)
    if arrays:
        return sample_arrays(candidates, model, seed, config, batch_size, progress, random_start)
    stream = sample_stream(candidates, model, seed, config, batch_size, random_start)
    results = {
        candidate.place: sample
        for candidate, sample in progress_bar(stream, len(candidates), disable=not progress)
    }
    return Samples([results[place] for place in range(len(candidates))])


def _config(
    config: LangevinConfig | None, model: Model, preset: str | None, **settings: int | None
) -> LangevinConfig:
    """Returns the settings of the sampler, or of a preset, with those on top that are given."""
    if config is None:
        return make_config(model.sampling_schedule, preset, **settings)
    if preset is not None:
        raise RequestError("config and preset are both given: a preset is a config of its own")
    return changed(config, **settings)
