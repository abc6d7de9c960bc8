"""Draws crystals as balls in their conventional cell."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxcrystal.io.convert import symbols, to_ase
from jaxcrystal.plotting import STYLE
from jaxcrystal.symmetry.detect import SYMPREC, is_searchable

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: A drawing with more atoms than this shows nothing any more.
MAX_ATOMS = 150
#: Fraction of a cell edge: atoms this near to a face are drawn on the opposite face too.
_NEAR_FACE = 0.02


def drawing(structure: "Structure") -> Figure | None:
    """Returns a crystal seen from the front, a little from the right and from above.

    Atoms on faces, edges and corners of the cell are drawn on all of them.

    Args:
      structure: any cell of the crystal. Its conventional cell is drawn where spglib finds
        one (tolerance 0.1 Å), the cell as it is elsewhere.
    Returns:
      The figure, or None for a cell of more than `MAX_ATOMS` atoms.
    """
    from ase.data.colors import jmol_colors
    from ase.visualize.plot import plot_atoms

    cell = _conventional(structure)
    if len(cell) > MAX_ATOMS:
        return None
    species, frac_coords = _with_opposite_faces(np.array(cell.atomic_numbers), np.array(cell.frac_coords))
    atoms = to_ase(np.array(cell.lattice.matrix), species, np.zeros_like(frac_coords))
    atoms.set_scaled_positions(frac_coords)
    elements = np.unique(species)
    with rc_context(STYLE):
        figure = Figure(figsize=(2.0, 2.2))
        axes = figure.add_subplot()
        plot_atoms(atoms, ax=axes, rotation="-80x,18y,6z", radii=0.45)
        for patch in axes.patches:
            patch.set_linewidth(0.5)
        figure.legend(
            handles=[
                Line2D(
                    [], [], marker="o", linestyle="", color=jmol_colors[z], markeredgecolor="0.2", label=name
                )
                for z, name in zip(elements, symbols(elements), strict=True)
            ],
            loc="outside lower center",
            ncols=min(len(elements), 5),
            handletextpad=0.0,
            columnspacing=0.8,
        )
    return figure


def _conventional(structure: "Structure") -> "Structure":
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    if not is_searchable(structure.lattice.matrix, structure.frac_coords):
        return structure
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SpacegroupAnalyzer(structure, SYMPREC).get_conventional_standard_structure()
    except Exception:  # atoms on top of each other: spglib's and pymatgen's own errors
        return structure


def _with_opposite_faces(species: np.ndarray, frac_coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds the copies of atoms [n], [n, 3] that complete the faces, edges and corners."""
    frac_coords = frac_coords % 1.0
    frac_coords = np.where(frac_coords > 1 - _NEAR_FACE, frac_coords - 1, frac_coords)
    for axis in range(3):
        near = frac_coords[:, axis] < _NEAR_FACE
        species = np.concatenate([species, species[near]])
        frac_coords = np.concatenate([frac_coords, frac_coords[near] + np.eye(3)[axis]])
    return species, frac_coords
