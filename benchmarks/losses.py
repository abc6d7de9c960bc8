"""Denoising losses by noise level of a model on held-out structures.

python -m benchmarks.losses --data test.npz [--max-sites 4] [--structures 512] [--coords-min 0.03]
    [--schedule paper]
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.schedules import SCHEDULES
from jaxcrystal.training.loop import usable
from jaxcrystal.training.model import load_model
from jaxcrystal.training.validation import validate


def main() -> None:
    """Prints a line for free and one for constrained sites; writes `results/NAME.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="prepared file of held-out structures")
    parser.add_argument("--model", help="model folder (default: the bundled one)")
    parser.add_argument("--max-sites", type=int, default=20, help="larger structures are left out")
    parser.add_argument("--structures", type=int, default=512, help="so many, spread evenly over the file")
    parser.add_argument("--schedule", choices=tuple(SCHEDULES), help="levels (default: the model's)")
    parser.add_argument("--coords-min", type=float, help="σ_X of the last level, Å (default: the model's)")
    parser.add_argument("--name", default="losses", help="of the file in results/")
    arguments = parser.parse_args()
    model, dataset = load_model(arguments.model), Dataset.load(arguments.data)
    schedule = SCHEDULES[arguments.schedule] if arguments.schedule else model.schedule
    if arguments.coords_min:
        schedule = replace(schedule, coords_min=arguments.coords_min)
    chosen = dataset.select(usable(dataset, arguments.max_sites, min_space_group=16))
    results = validate(model.network, schedule, model.params, chosen, arguments.structures)
    for result in results:
        print(result.describe())
    columns = ("sites", "level", "sigma_coords", "sigma_lattice", "coords", "lattice")
    settings = vars(arguments) | {"data": Path(arguments.data).name}
    rows = [dict(zip(columns, row, strict=True)) for result in results for row in result.rows()]
    print(f"written to {save(arguments.name, settings | {'levels': rows})}")


if __name__ == "__main__":
    main()
