"""How often sampling finds known crystals from their group and sites.

python -m benchmarks.reconstruction --data test.npz [--targets 160] [--max-sites 4] [--samples 4]
    [--sites constrained|free|drawn ...] [--model DIR] [--steps-per-level 40]

`constrained`: the sites are on the targets' Wyckoff letters; `free`: only their number is
given and they move freely; `drawn`: only their number is given and letters are drawn by
frequency. Every target counts, with or without a match. Beside each result stands the
random start: what sampling starts from, without a step of the network.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import save
from jaxcrystal.data.convert import formula, to_pymatgen
from jaxcrystal.data.dataset import Dataset, PreparedSites
from jaxcrystal.data.symmetrize import as_crystal
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.evaluation.matching import lattice_errors, match_rates, rms_distances
from jaxcrystal.sampling.audit import primitive_cell
from jaxcrystal.sampling.orders import SYMBOLS, Order, make_order
from jaxcrystal.sampling.runner import sample_orders
from jaxcrystal.sampling.samples import Samples
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from jaxcrystal.training.model import load_model


class Targets:
    """Known crystals: what is asked for, and what should come out."""

    def __init__(self, dataset: Dataset) -> None:
        self.ids = [str(name) for name in dataset.ids]
        self.orders: dict[str, list[Order]] = {"constrained": [], "free": [], "drawn": []}
        self.structures, self.formulas = [], []
        self.free_coords = np.zeros(len(dataset), int)
        self.lengths, self.volumes = np.zeros((len(dataset), 3)), np.zeros(len(dataset))
        for row in range(len(dataset)):
            group, sites = int(dataset.space_group[row]), dataset.sites(row)
            species, letters = dataset.species[sites], dataset.letters[sites]
            positions = wyckoff_positions(group)
            given: dict[str, str] = {}
            for number, letter in zip(species, letters, strict=True):
                symbol = SYMBOLS[number]
                given[symbol] = given.get(symbol, "") + positions[letter].letter
            counts = {symbol: len(text) for symbol, text in given.items()}
            self.orders["constrained"].append(make_order(group, given))
            self.orders["free"].append(make_order(group, counts, "free"))
            self.orders["drawn"].append(make_order(group, counts))
            self.free_coords[row] = sum(positions[letter].num_free for letter in letters)
            coords = dataset.frac_coords[sites]
            prepared = PreparedSites(group, dataset.lattice_params[row], species, coords, letters)
            lattice, all_species, all_coords, _ = expand_crystal(as_crystal(prepared))
            self.structures.append(to_pymatgen(*primitive_cell(lattice, all_species, all_coords, group)))
            self.formulas.append(formula(all_species))
            self.lengths[row] = np.linalg.norm(lattice, axis=1)
            self.volumes[row] = abs(np.linalg.det(lattice)) / len(all_species)


def choose(dataset: Dataset, count: int, max_sites: int, seed: int) -> Dataset:
    """Returns structures of group ≥ 16 and at most so many sites, drawn by seed."""
    fits = np.flatnonzero(dataset.supported & (dataset.num_sites <= max_sites))
    chosen = np.random.default_rng(seed).permutation(fits)[:count]
    return dataset.select(np.sort(chosen))


def measure(targets: Targets, samples: Samples, count: int, processes: int) -> dict[str, Any]:
    """Returns the figures of `count` samples a target."""
    grid = np.arange(len(samples)).reshape(-1, count)
    usable = [s.to_pymatgen(primitive=True) if s.valid else None for s in samples]
    distances = rms_distances(
        targets.structures, [[usable[i] for i in row] for row in grid], processes, progress=True
    )
    lengths = np.array([sample.lengths_angles[0] for sample in samples])
    volumes = np.array([sample.audit.volume_per_atom for sample in samples])
    rows = np.repeat(np.arange(len(grid)), count)
    lattice = {
        name: asdict(
            lattice_errors(targets.lengths[rows], lengths, targets.volumes[rows], volumes, chosen.ravel())
        )
        for name, chosen in (("matched", ~np.isnan(distances)), ("all", np.ones(distances.shape, bool)))
    }
    right = [sample.formula == targets.formulas[row] for sample, row in zip(samples, rows, strict=True)]
    exact = [sample.found_group == sample.space_group for sample in samples]
    return {
        "match": [asdict(match_rates(distances, targets.free_coords, k)) for k in sorted({1, count})],
        "lattice_errors": lattice,
        "valid": float(np.mean([sample.valid for sample in samples])),
        "flagged": float(np.mean([bool(sample.flags) for sample in samples])),
        "formula_as_target": float(np.mean(right)),
        "group_as_asked": float(np.mean(exact)),
    }


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
    parser.add_argument("--steps-per-level", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="reconstruction", help="of the file in results/")
    arguments = parser.parse_args()

    model = load_model(arguments.model)
    config = LangevinConfig(model.schedule, steps_per_level=arguments.steps_per_level)
    dataset = choose(Dataset.load(arguments.data), arguments.targets, arguments.max_sites, arguments.seed)
    targets, count = Targets(dataset), arguments.samples
    results: dict[str, Any] = {
        "arguments": vars(arguments) | {"data": Path(arguments.data).name},
        "model": model.info,
        "targets": len(dataset),
        "denominator": "all targets",
    }
    # The baseline with the true letters stands beside the contracts that do not give them too.
    for sites in dict.fromkeys([*arguments.sites, "constrained"]):
        orders = targets.orders[sites]
        runs = {f"{sites}, random start": True} | ({sites: False} if sites in arguments.sites else {})
        for name, random_start in runs.items():
            samples = sample_orders(
                orders, count, model, arguments.seed, config, progress=True, random_start=random_start
            )
            results[name] = measure(targets, samples, count, arguments.processes)
            report(name, results[name])
            save(arguments.name, results)
    print(f"{len(dataset)} targets of at most {arguments.max_sites} sites; all of them are the denominator")


if __name__ == "__main__":
    main()
