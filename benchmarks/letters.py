"""How well the letters of held-out structures are predicted from their group, elements and site counts.

python -m benchmarks.letters --held-out val.npz [--model DIR] [--name letters]

For each structure: the chance that `--letters auto` draws its own letters, and whether they are the
likeliest. Letters that differ only by the choice of the origin count as wrong. Once by
frequency alone, once with like elements counting more, as the sampler does. And whether they are those of
the structure of the most similar elements (`--letters nearest`).

Then, of the sites in all groups: how many have 0, 1, 2 and 3 free coordinates, and how many would if they
were drawn by what is known without data, `frequencies.prior_weights`, or by multiplicity alone.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import MIN_SPACE_GROUP, save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.letters.frequencies import prior_weights
from jaxcrystal.model import load_model
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


def main() -> None:
    """Prints two lines; writes `results/NAME.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--held-out", required=True, help="prepared structures")
    parser.add_argument("--model", help="model folder (default: the bundled one)")
    parser.add_argument("--name", default="letters", help="of the file in results/")
    arguments = parser.parse_args()
    dataset, frequencies = Dataset.load(arguments.held_out), load_model(arguments.model).letters
    chances: dict[str, list[float]] = defaultdict(list)
    likeliest: dict[str, list[bool]] = defaultdict(list)
    nearest: list[bool] = []
    for row in np.flatnonzero((dataset.space_group >= MIN_SPACE_GROUP) & (dataset.num_sites <= 20)).tolist():
        group, sites = int(dataset.space_group[row]), dataset.sites(row)
        positions = wyckoff_positions(group)
        letters: dict[int, list[str]] = defaultdict(list)
        for element, letter in zip(dataset.species[sites], dataset.letters[sites], strict=True):
            letters[int(element)].append(positions[letter].letter)
        elements = sorted(letters)
        own = tuple(tuple(sorted(letters[z])) for z in elements)
        counts = [len(x) for x in own]
        for name, of in (("by frequency", []), ("like elements", elements)):
            found = frequencies.chances(group, counts, of)
            chances[name].append(found.get(own, 0.0))
            likeliest[name].append(bool(found) and max(found, key=lambda a: found[a]) == own)
        nearest.append(frequencies.nearest(group, counts, elements) == own)
    results: dict[str, Any] = {"structures": len(chances["by frequency"])}
    for name, values in chances.items():
        results[name] = {"drawn": float(np.mean(values)), "likeliest": float(np.mean(likeliest[name]))}
        print(f"{name:14s} drawn {np.mean(values):.3f}, likeliest {np.mean(likeliest[name]):.3f}")
    results["nearest"] = float(np.mean(nearest))
    print(f"those of the structure of the most similar elements: {np.mean(nearest):.3f}")
    results["sites"] = site_shares(dataset)
    for name, found in results["sites"].items():
        shares = ", ".join(f"{100 * share:.0f} %" for share in found["free"])
        print(f"{name}: {shares} with 0 to 3 free coordinates; log chance of a site {found['log']:.3f}")
    save(
        arguments.name, {"arguments": vars(arguments) | {"held_out": Path(arguments.held_out).name}} | results
    )


def site_shares(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Returns for some groups and for all: shares by number of free coordinates, mean log chance of a site.

    Only groups with a choice of letters count. The expected shares are those of a site in each group, as
    many as the data has there.
    """
    of_group = np.repeat(dataset.space_group, dataset.num_sites)
    results: dict[str, dict[str, Any]] = {}
    kinds: dict[str, Any] = {
        "by multiplicity": lambda group: _shares([1 / p.multiplicity for p in wyckoff_positions(group)]),
        "without data": prior_weights,
        "data": lambda group: _shares(_counts(dataset, of_group == group, group)),
    }
    groups = [g for g in np.unique(of_group).tolist() if len(wyckoff_positions(g)) > 1]
    for where, members in {"P-1": [2], "P2_1/c": [14], "C2/c": [15], "all groups": groups}.items():
        for name, weights in kinds.items():
            free, log, total = np.zeros(4), 0.0, 0
            for group in members:
                counts, chances = _counts(dataset, of_group == group, group), weights(group)
                np.add.at(free, [p.num_free for p in wyckoff_positions(group)], counts.sum() * chances)
                log += float((counts * np.log(np.where(counts > 0, chances, 1.0))).sum())
                total += int(counts.sum())
            results[f"{where}, {name}"] = {"free": (free / total).tolist(), "log": log / total}
    return results


def _counts(dataset: Dataset, rows: np.ndarray, group: int) -> np.ndarray:
    return np.bincount(dataset.letters[rows], minlength=len(wyckoff_positions(group)))


def _shares(values: Any) -> np.ndarray:
    return np.asarray(values) / np.sum(values)


if __name__ == "__main__":
    main()
