"""Structural validity."""

from typing import TYPE_CHECKING

import numpy as np

from jaxcrystal.sampling.audit import MIN_DISTANCE, MIN_VOLUME

if TYPE_CHECKING:
    from pymatgen.core import Structure


def is_valid(structure: "Structure") -> bool:
    """Returns whether no two atoms are nearer than 0.5 Å and the volume is at least 0.1 Å³.

    Minimum-image distances, an atom's own images ignored, as in CDVAE.
    """
    return shortest_distance(structure) >= MIN_DISTANCE and structure.volume >= MIN_VOLUME


def shortest_distance(structure: "Structure") -> float:
    """Returns the least minimum-image distance of two atoms of the cell, Å; infinity for one atom."""
    distances = np.array(structure.distance_matrix)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(initial=np.inf))
