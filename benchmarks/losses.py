"""Denoising losses by noise level of a model on held-out structures.

python -m benchmarks.losses --data test.npz [--max-sites 4] [--structures 512] [--coords-min 0.03]
    [--schedule paper] [--draws 8] [--by-family]

With several draws of the noise the losses are their means; even a prediction of zero, whose
loss is 1 in the mean, is a few hundredths off with one draw.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.schedules import SCHEDULES
from jaxcrystal.model import load_model
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.training.config import DataConfig
from jaxcrystal.training.loop import usable
from jaxcrystal.training.validation import LevelLosses, validate


def mean_of(draws: Sequence[LevelLosses]) -> LevelLosses:
    """Returns the mean of the losses of several draws of the noise."""
    coords, lattice = (
        np.mean([getattr(drawn, name) for drawn in draws], 0) for name in ("coords", "lattice")
    )
    return replace(draws[0], coords=coords, lattice=lattice)


def main() -> None:
    """Prints a line for free and one for constrained sites; writes `results/NAME.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="prepared file of held-out structures")
    parser.add_argument("--model", help="model folder (default: the bundled one)")
    parser.add_argument("--max-sites", type=int, default=20, help="larger structures are left out")
    parser.add_argument("--structures", type=int, default=512, help="so many, spread evenly over the file")
    parser.add_argument("--schedule", choices=tuple(SCHEDULES), help="levels (default: the model's)")
    parser.add_argument("--coords-min", type=float, help="σ_X of the last level, Å (default: the model's)")
    parser.add_argument("--draws", type=int, default=1, help="of the noise of every structure and level")
    parser.add_argument("--by-family", action="store_true", help="apart for each crystal family")
    parser.add_argument("--min-space-group", type=int, default=1, help="groups below are left out")
    parser.add_argument("--name", default="losses", help="of the file in results/")
    arguments = parser.parse_args()
    model, dataset = load_model(arguments.model), Dataset.load(arguments.data)
    schedule = SCHEDULES[arguments.schedule] if arguments.schedule else model.schedule
    if arguments.coords_min:
        schedule = replace(schedule, coords_min=arguments.coords_min)
    config = DataConfig(max_sites=arguments.max_sites, min_space_group=arguments.min_space_group)
    chosen = dataset.select(usable(dataset, config))
    groups = {"all": np.arange(len(chosen))}
    if arguments.by_family:
        families = group_tables().family[chosen.space_group]
        groups |= {name: np.flatnonzero(families == n) for n, name in enumerate(FAMILIES)}
    columns = ("sites", "level", "sigma_coords", "sigma_lattice", "coords", "lattice")
    measured = {}
    for name, members in groups.items():
        if len(members) == 0:
            continue
        part = chosen.select(members)
        draws = [validate(model, schedule, part, arguments.structures, n) for n in range(arguments.draws)]
        results = [mean_of(drawn) for drawn in zip(*draws, strict=True)]
        used = min(len(part), arguments.structures)
        for result in results:
            print(f"{name}, {used} structures, {result.describe()}", flush=True)
        measured[name] = {
            "means_of_draws": [{result.sites: result.means() for result in drawn} for drawn in draws],
            "cut_share": {result.sites: result.cut_share for result in results},
            "levels": [dict(zip(columns, row, strict=True)) for result in results for row in result.rows()],
        }
    settings = vars(arguments) | {"data": Path(arguments.data).name}
    print(f"written to {save(arguments.name, settings | measured)}")


if __name__ == "__main__":
    main()
