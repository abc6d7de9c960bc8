"""How often sampling finds known crystals from their group and sites.

python -m benchmarks.reconstruction --data test.npz [--targets 160] [--max-sites 4] [--samples 4]
    [--sites constrained|free|drawn ...] [--model DIR] [--steps-per-level 20]

`constrained`: the sites are on the targets' Wyckoff letters; `free`: only their number is
given and they move freely; `drawn`: only their number is given and letters are drawn by
frequency. Every target counts, with or without a match. Beside each result stands the
random start: what sampling starts from, without a step of the network. The same, with
more figures, is `jaxcrystal reconstruct`.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.evaluation.reconstruction import Reconstruction, reconstruct
from jaxcrystal.evaluation.targets import Contract, Targets, choose
from jaxcrystal.training.model import load_model

#: Names of the contracts here and in the package.
SITES: dict[str, Contract] = {"constrained": "letters", "free": "free", "drawn": "drawn"}
_KEYS = ("lattice_errors", "valid", "flagged", "formula_as_target", "group_as_asked")


def measure(found: Reconstruction) -> dict[str, Any]:
    """Returns the figures at k = 1 and at the number of samples."""
    figures = found.figures()
    match = [
        {key: rates[key] for key in ("k", "rate", "rmse")}
        | {"by_free_coords": {n: [s["rate"], s["targets"]] for n, s in rates["by_free_coords"].items()}}
        for rates in figures["match"]
        if rates["k"] in (1, found.samples_per_target)
    ]
    return {"match": match} | {key: figures[key] for key in _KEYS}


def report(name: str, figures: dict[str, Any]) -> None:
    for match in figures["match"]:
        split = ", ".join(f"{key}: {rate:.0%} of {n}" for key, (rate, n) in match["by_free_coords"].items())
        print(
            f"{name:26s} k = {match['k']}: match {match['rate']:6.1%}, RMSE {match['rmse']:.3f}; "
            f"by free coordinates {split}"
        )
    errors = "; ".join(
        f"{key}: lengths {e['lengths']:.1%}, volume {e['volume']:.1%}"
        for key, e in figures["lattice_errors"].items()
    )
    print(
        f"{'':26s} valid {figures['valid']:.1%}, flagged {figures['flagged']:.1%}, formula as the target's "
        f"{figures['formula_as_target']:.1%}, group {figures['group_as_asked']:.1%}; errors of {errors}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--targets", type=int, default=160)
    parser.add_argument("--max-sites", type=int, default=4)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument(
        "--sites", nargs="+", choices=("constrained", "free", "drawn"), default=["constrained"]
    )
    parser.add_argument("--model")
    parser.add_argument("--steps-per-level", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="reconstruction", help="of the file in results/")
    arguments = parser.parse_args()

    model = load_model(arguments.model)
    config = LangevinConfig(model.schedule, steps_per_level=arguments.steps_per_level)
    dataset = choose(Dataset.load(arguments.data), arguments.targets, arguments.max_sites, arguments.seed)
    targets = Targets.from_dataset(dataset)
    results: dict[str, Any] = {
        "arguments": vars(arguments) | {"data": Path(arguments.data).name},
        "model": model.info,
        "targets": len(dataset),
        "denominator": "all targets",
    }
    # The baseline with the true letters stands beside the contracts that do not give them too.
    for sites in dict.fromkeys([*arguments.sites, "constrained"]):
        runs = {f"{sites}, random start": True} | ({sites: False} if sites in arguments.sites else {})
        for name, random_start in runs.items():
            found = reconstruct(
                targets,
                SITES[sites],
                arguments.samples,
                model,
                arguments.seed,
                config,
                random_start=random_start,
                processes=arguments.processes,
                progress=True,
            )
            results[name] = measure(found)
            report(name, results[name])
            save(arguments.name, results)
    print(f"{len(dataset)} targets of at most {arguments.max_sites} sites; all of them are the denominator")


if __name__ == "__main__":
    main()
