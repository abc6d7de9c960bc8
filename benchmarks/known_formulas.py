"""Samples known crystals again from their formulas alone: group, cell and letters are to be found.

python -m benchmarks.known_formulas --data test.npz [--targets 300] [--samples 1]
    [--letters auto nearest] [--preset default] [--min-space-group 1] [--model DIR] [--seed 0]

Each formula gets so many crystals, spread over its likeliest assignments of Wyckoff letters in all groups
(`--formula FORMULA --count SAMPLES`), or all on those of the training structure of the same proportions whose
elements are most alike (`--letters nearest`). A target counts as found if one of its first k crystals
matches it (`evaluation.matching`); one whose formula has no assignment, or no such structure, is not found.
Beside it: how many first crystals have the target's group, and how many its group and letters.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.presets import PRESETS, make_config
from jaxcrystal.environment import use_all_cores
from jaxcrystal.errors import RequestError
from jaxcrystal.evaluation.matching import match_rates, ranks, rms_distances, split_by_label
from jaxcrystal.evaluation.targets import Targets, choose
from jaxcrystal.model import Model, load_model
from jaxcrystal.requests.formulas import ANY_GROUP, plan_formula
from jaxcrystal.requests.orders import Order
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.symmetry.groups import FAMILIES


def plans(targets: Targets, samples: int, model: Model, letters: str) -> list[tuple[list[Order], list[int]]]:
    """Returns the orders of each target's formula with their counts, `samples` in all or none."""
    found = []
    for formula in targets.formulas:
        try:
            plan = plan_formula(formula, ANY_GROUP, samples, model.letters, nearest=letters == "nearest")
            found.append((plan.orders, plan.counts))
        except RequestError:
            found.append(([], []))
    return found


def measure(targets: Targets, arguments: argparse.Namespace, model: Model, letters: str) -> dict[str, Any]:
    """Samples every formula, and matches; prints a line."""
    planned = plans(targets, arguments.samples, model, letters)
    config = make_config(model.sampling_schedule, arguments.preset)
    orders = [order for of_target, _ in planned for order in of_target]
    counts = [count for _, of_target in planned for count in of_target]
    crystals = iter(sample_orders(orders, counts, model, arguments.seed, config, None, True))
    grid: list[list[Any]] = []
    for _, of_target in planned:
        drawn = [next(crystals) for _ in range(sum(of_target))]
        usable = [crystal.to_pymatgen(primitive=True) if crystal.valid else None for crystal in drawn]
        grid.append(usable or [None] * arguments.samples)
    distances = rms_distances(targets.structures, grid, 2, True)
    firsts = [of_target[0] if of_target else None for of_target, _ in planned]
    own = targets.orders["letters"]
    pairs = list(zip(firsts, own, strict=True))
    row: dict[str, Any] = {
        "match": {
            str(k): match_rates(distances, targets.free_coords, k).rate for k in ranks(arguments.samples)
        },
        "by_family": split_by_label((~np.isnan(distances)).any(1), targets.families, FAMILIES),
        "group": float(np.mean([o is not None and o.space_group == t.space_group for o, t in pairs])),
        "letters": float(np.mean([order == target for order, target in pairs])),
        "planned": float(np.mean([o is not None for o in firsts])),
    }
    text = ", ".join(f"{rate:.1%} at k = {k}" for k, rate in row["match"].items())
    print(
        f"{letters}: match {text}; of the first, {row['group']:.1%} in the target's group, "
        f"{row['letters']:.1%} on its letters; {row['planned']:.1%} of the formulas have a plan",
        flush=True,
    )
    return row


def main() -> None:
    """Prints a line for each way of letters; writes `results/known_formulas.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="prepared file of held-out structures")
    parser.add_argument("--targets", type=int, default=300)
    parser.add_argument("--samples", type=int, default=1, help="crystals of each formula")
    parser.add_argument("--letters", nargs="+", choices=("auto", "nearest"), default=["auto", "nearest"])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="default")
    parser.add_argument("--min-space-group", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    use_all_cores()
    model = load_model(arguments.model)
    chosen = choose(
        Dataset.load(arguments.data), arguments.targets, None, arguments.seed, arguments.min_space_group
    )
    targets = Targets.from_dataset(chosen)
    results = {letters: measure(targets, arguments, model, letters) for letters in arguments.letters}
    told = vars(arguments) | {"data": Path(arguments.data).name}
    save("known_formulas", {"arguments": told, "letters": results})


if __name__ == "__main__":
    main()
