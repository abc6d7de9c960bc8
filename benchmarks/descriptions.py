"""Describes the structures of a file anew, and counts those of which `prepare` then makes the same arrays.

python -m benchmarks.descriptions val.csv.gz [--count N]

Each structure gets other axes of its primitive cell, another origin and another orientation. Group, species
and letters must be the same, lattice parameters and coordinates within 0.01 and 0.001. What is left are
structures to which spglib, at its tolerance of 0.1 Å, gives slightly other atoms in another cell.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pymatgen.core import Lattice, Structure
from tqdm import tqdm

from benchmarks.harness import save
from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.io.readers import read, read_records


def main() -> None:
    """Prints the counts; writes `results/descriptions.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="structures")
    parser.add_argument("--count", type=int, help="of them, from the first; default: all")
    parser.add_argument("--name", default="descriptions", help="of the file in results/")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(("described", "group", "letters", "lattice", "arrays"), 0)
    records = list(read_records(arguments.file))[: arguments.count]
    for record in tqdm(records):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pymatgen's reader
            structure = read(record).get_primitive_structure()
        expected, found = symmetrize(structure), symmetrize(described_anew(rng, structure))
        same_group = found.space_group == expected.space_group
        same_letters = same_group and all(
            np.array_equal(getattr(found, name), getattr(expected, name)) for name in ("species", "letters")
        )
        near = same_letters and np.allclose(found.lattice_params, expected.lattice_params, atol=0.01)
        off = np.abs(found.frac_coords - expected.frac_coords).max() if near else np.inf
        for name, holds in zip(counts, (True, same_group, same_letters, near, off < 1e-3), strict=True):
            counts[name] += int(holds)
    print(
        "{described} described anew: {group} with the same group, {letters} of them on the same letters, "
        "{lattice} with the same cell, {arrays} with the same coordinates".format(**counts)
    )
    save(arguments.name, {"arguments": vars(arguments) | {"file": arguments.file.name}} | counts)


def unimodular(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Returns a random change of axes with determinant 1: rows are the new ones in the old ones."""
    axes = np.eye(3)
    for _ in range(6):
        one, other = rng.permutation(3)[:2]
        axes[one] += rng.integers(-1, 2) * axes[other]
    return axes


def described_anew(rng: np.random.Generator, structure: Structure) -> Structure:
    """Returns the crystal of a primitive cell with other axes and another origin, turned in space."""
    axes, turn = unimodular(rng), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn = turn * np.sign(np.linalg.det(turn))
    coords = structure.frac_coords @ np.linalg.inv(axes) + rng.uniform(size=3)
    return Structure(Lattice(axes @ structure.lattice.matrix @ turn), structure.species, coords % 1.0)


if __name__ == "__main__":
    main()
