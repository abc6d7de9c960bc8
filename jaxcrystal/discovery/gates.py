"""Refuses what no crystal is: potentials have never seen it, and give it any energy."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.structures.checks import MIN_DISTANCE, MIN_VOLUME_PER_ATOM
from jaxcrystal.structures.geometry import covalent_radii

if TYPE_CHECKING:
    from ase import Atoms

#: Atoms nearer than this share of the sum of their covalent radii overlap. Crystals have over 0.7 of it
#: (`geometry.MIN_DISTANCE_RATIO`); what the sampler leaves at 0.6 a potential still puts right.
MIN_RATIO = 0.5
#: Å³; caesium has 115.
MAX_VOLUME_PER_ATOM = 200.0


class Failure(Exception):
    """A crystal that cannot be relaxed, or was led astray.

    Attributes:
      word: the class of failure, as it stands in `relaxed.csv`.
      detail: what exactly, in one line.
    """

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(word, detail)
        self.word = word
        self.detail = detail


def require_crystal(atoms: "Atoms") -> None:
    """Checks volume and distances of a cell, images of atoms included.

    Raises:
      Failure: `volume` or `overlap`.
    """
    from ase.neighborlist import neighbor_list

    volume = float(atoms.get_volume()) / len(atoms)
    if not MIN_VOLUME_PER_ATOM <= volume <= MAX_VOLUME_PER_ATOM:
        raise Failure("volume", f"{volume:.3g} Å³ per atom")
    reach = np.maximum(MIN_RATIO * covalent_radii(atoms.numbers), MIN_DISTANCE / 2)
    first, second, distance = neighbor_list("ijd", atoms, reach)
    if len(distance):
        nearest = int(np.argmin(distance))
        names = sorted(SYMBOLS[atoms.numbers[pair[nearest]]] for pair in (first, second))
        raise Failure("overlap", f"{' and '.join(names)} are {distance[nearest]:.2f} Å apart")


def require_energy(energy_per_atom: float, limits: tuple[float, float]) -> None:
    """Checks an energy.

    Args:
      energy_per_atom: eV.
      limits: of the potential, see `Potential.energies`.

    Raises:
      Failure: `energy`.
    """
    if not (np.isfinite(energy_per_atom) and limits[0] <= energy_per_atom <= limits[1]):
        raise Failure("energy", f"{energy_per_atom:.4g} eV per atom is no crystal's energy")
