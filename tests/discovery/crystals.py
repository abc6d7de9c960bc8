"""Crystals of EMT's metals, and calculators that go wrong."""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from pymatgen.core import Lattice, Structure

from jaxcrystal.structures.entries import Entry


def cubic(a: float, *species: str) -> Structure:
    """fcc of one element; of two, L1_2 (three of the first) where both are given thrice and once."""
    places = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 0]]
    return Structure(Lattice.cubic(a), species * 4 if len(species) == 1 else species, places)


def b2(a: float, first: str, second: str) -> Structure:
    return Structure(Lattice.cubic(a), [first, second], [[0] * 3, [0.5] * 3])


def some(count: int) -> list[Entry]:
    """Alloys of Cu and Au with free coordinates in a monoclinic group; the second has atoms that overlap."""
    rng = np.random.default_rng(3)
    found = []
    for number in range(count):
        x, z = rng.uniform(0.2, 0.3, 2)
        cell = Lattice.from_parameters(5.2, 2.8, 4.9, 90, 100 + number % 7, 90)
        structure = Structure.from_spacegroup(
            "P2/m", cell, ["Cu", "Au"], [[x, 0, z], [x + 0.5, 0.5, z + 0.1]]
        )
        found.append(Entry(f"{number:04d}_CuAu_10", structure, requested_group=10, letters="Cu:m Au:n"))
    found[1:2] = [Entry("close", b2(1.5, "Cu", "Au"))][: count - 1]
    return found


class Falling(Calculator):
    """Its energy falls without end as the cell shrinks."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        volume = self.atoms.get_volume()
        self.results = {
            "energy": -1e4 * len(self.atoms) / volume,
            "forces": np.zeros((len(self.atoms), 3)),
            "stress": np.array([1, 1, 1, 0, 0, 0]) * 1e4 * len(self.atoms) / volume**2,
        }


class Exploding(Falling):
    """Its energy falls without end as the cell grows."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = -0.01 * self.atoms.get_volume()
        self.results["stress"] = np.array([-0.01, -0.01, -0.01, 0, 0, 0])


def falling() -> Calculator:
    return Falling()


def exploding() -> Calculator:
    return Exploding()
