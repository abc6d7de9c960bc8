"""How well the letters of held-out structures are predicted from their group, elements and site counts.

python -m benchmarks.letters --held-out val.npz [--model DIR] [--name letters]

For each structure: the chance that `--letters auto` draws its own letters, and whether they are the
likeliest. Letters that differ only by the choice of the origin count as wrong. Once by
frequency alone, once with like elements counting more, as the sampler does.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
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
    for row in np.flatnonzero((dataset.space_group >= 16) & (dataset.num_sites <= 20)).tolist():
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
    results: dict[str, Any] = {"structures": len(chances["by frequency"])}
    for name, values in chances.items():
        results[name] = {"drawn": float(np.mean(values)), "likeliest": float(np.mean(likeliest[name]))}
        print(f"{name:14s} drawn {np.mean(values):.3f}, likeliest {np.mean(likeliest[name]):.3f}")
    save(
        arguments.name, {"arguments": vars(arguments) | {"held_out": Path(arguments.held_out).name}} | results
    )


if __name__ == "__main__":
    main()
