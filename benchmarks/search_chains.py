"""What a search among chains gives for what it costs: match rates of the presets and of variants of them.

python -m benchmarks.search_chains --data val.npz [--targets 300] [--min-free-coords 4]
    [--min-space-group 16] [--presets fast default thorough]
    [--variants "T = 10" ...] [--given letters] [--model DIR] [--seed 0] [--name search_chains]

Each target is sampled once. For every preset and variant (`VARIANTS`): the match rate (all targets are the
denominator; also by free coordinates), the evaluations of the network for each structure, the mean RMSE of
the matches, the errors of the lattice, and the seconds of sampling, compilation included. All see the same
targets.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.presets import PRESETS, make_config
from jaxcrystal.diffusion.settings import Choice, LangevinConfig
from jaxcrystal.environment import use_all_cores
from jaxcrystal.evaluation.reconstruction import Reconstruction, reconstruct
from jaxcrystal.evaluation.targets import GIVEN, Targets, choose
from jaxcrystal.model import load_model
from jaxcrystal.sampling.programs import compiled

_FIGURES = ("rate", "standard_error", "rmse", "by_free_coords", "by_family")
_SHORT = {"steps_per_level": 5, "lattice_step": 0.4}
#: Settings on top of those of one plain chain of T = 20.
VARIANTS: dict[str, dict[str, Any]] = {
    "T = 10": {"steps_per_level": 10, "lattice_step": 0.2},
    "T = 5": _SHORT,
    "T = 5, few below 0.2 A": _SHORT | {"choices": (Choice(0.2, steps_per_level=2),)},
    "T = 5, likeliest of 3": _SHORT | {"best_of": 3},
    "T = 5, likeliest of 4, one draw": _SHORT | {"best_of": 4, "bound_draws": 1},
    "T = 5, 4 chains to 0.1 A": _SHORT | {"best_of": 4, "bound_draws": 1, "choices": (Choice(0.1, 1),)},
    "T = 5, 6 chains to 0.3 A": _SHORT
    | {"best_of": 6, "bound_draws": 1, "bound_levels": 5, "choices": (Choice(0.3, 1),)},
    "T = 5, likeliest of 8, one draw": _SHORT | {"best_of": 8, "bound_draws": 1},
    "T = 5, likeliest of 8": _SHORT | {"best_of": 8},
    "T = 5, likeliest of 16": _SHORT | {"best_of": 16},
}


def figures(found: Reconstruction, config: LangevinConfig) -> dict[str, Any]:
    """Returns what settings are compared by."""
    every = found.figures()
    match = every["match"][0]
    return {
        "match": {name: match[name] for name in _FIGURES},
        "evaluations": config.evaluations,
        "lattice_errors": every["lattice_errors"],
        "valid": every["valid"],
        "seconds": found.seconds["sampling"],
        "settings": asdict(config),
    }


def report(name: str, row: dict[str, Any]) -> None:
    """Prints a line."""
    match, lattice = row["match"], row["lattice_errors"]
    split = ", ".join(
        f"{kind} {part['rate']:.1%} of {part['targets']}" for kind, part in match["by_free_coords"].items()
    )
    print(
        f"{name:24s} {row['evaluations']:5d} evaluations: match {match['rate']:.1%} "
        f"± {match['standard_error']:.1%} ({split}), RMSE {match['rmse']:.3f}, lengths off "
        f"{lattice['all']['lengths']:.1%} (matched {lattice['matched']['lengths']:.1%}), "
        f"valid {row['valid']:.1%}, {row['seconds']:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--targets", type=int, default=300)
    parser.add_argument("--min-free-coords", type=int, default=4, help="of the targets, at their letters")
    parser.add_argument("--min-space-group", type=int, default=16)
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=["fast", "default", "thorough"])
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=[])
    parser.add_argument("--given", choices=GIVEN, default="letters")
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="search_chains", help="of the file in results/")
    arguments = parser.parse_args()

    use_all_cores()
    model = load_model(arguments.model)
    configs = {name: make_config(model.sampling_schedule, name) for name in arguments.presets}
    configs |= {
        name: LangevinConfig(model.sampling_schedule, **VARIANTS[name]) for name in arguments.variants
    }
    dataset = choose(Dataset.load(arguments.data), min_space_group=arguments.min_space_group)
    hard = Targets.from_dataset(dataset).free_coords >= arguments.min_free_coords
    dataset = choose(dataset.select(np.flatnonzero(hard)), arguments.targets, seed=arguments.seed)
    targets = Targets.from_dataset(dataset)
    results: dict[str, Any] = {
        "arguments": vars(arguments) | {"data": Path(arguments.data).name},
        "model": model.info,
        "targets": len(targets),
        "denominator": "all targets",
        "runs": {},
    }
    for name, config in configs.items():
        found = reconstruct(
            *(targets, arguments.given, 1, model, arguments.seed, config),
            processes=arguments.processes,
        )
        results["runs"][name] = figures(found, config)
        save(arguments.name, results)
        report(name, results["runs"][name])
        compiled.cache_clear()
        jax.clear_caches()


if __name__ == "__main__":
    main()
