"""Turns crystals into short lists of numbers, for drawing."""

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.io.convert import symbols, to_pymatgen
from jaxcrystal.symmetry.detect import SYMPREC, find_conventional_cell
from jaxcrystal.symmetry.lattice import cell_lengths_angles

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Coordinates are integers in this part of an edge: 0.001 Å in an edge of 10 Å.
COORD_UNIT = 1e-4
#: Covalent radius of elements for which the table has none, Å.
_UNKNOWN_RADIUS = 1.6
_UNKNOWN_COLOR = (0.6, 0.6, 0.6)


def compact_cell(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
) -> dict[str, Any]:
    """Returns a cell as JSON values.

    Args:
      lattice: [3, 3] rows are vectors, Å.
      species: [atoms] atomic numbers.
      frac_coords: [atoms, 3] fractional, any branch.
    Returns:
      `lattice`: three lengths (Å) and three angles (degrees); `elements`: runs of atoms as
      [symbol, count]; `coords`: fractional coordinates in [0, 1), three an atom, in units of
      `COORD_UNIT`. Vectors that are left-handed are turned round, and coordinates with them,
      since lengths and angles do not tell the hands apart.
    """
    if np.linalg.det(lattice) < 0:
        lattice, frac_coords = -lattice, -frac_coords
    units = round(1 / COORD_UNIT)
    coords = np.rint(np.asarray(frac_coords, float) * units).astype(int) % units
    runs = [[symbol, len(list(run))] for symbol, run in groupby(symbols(species))]
    lengths, angles = cell_lengths_angles(lattice)
    return {
        "lattice": [*_rounded(lengths, 4), *_rounded(angles, 3)],
        "elements": runs,
        "coords": coords.ravel().tolist(),
    }


def conventional_cell(structure: "Structure") -> "Structure":
    """Returns the conventional cell as spglib chooses it (0.1 Å), the atoms where they were."""
    found = find_conventional_cell(
        structure.lattice.matrix, np.array(structure.atomic_numbers), structure.frac_coords, SYMPREC
    )
    return structure if found is None else to_pymatgen(*found)


def element_table(elements: set[str]) -> dict[str, dict[str, Any]]:
    """Returns colour (as Jmol has it) and covalent radius (Å) of elements, by atomic number."""
    from ase.data import atomic_numbers, covalent_radii
    from ase.data.colors import jmol_colors

    table = {}
    for number, symbol in sorted((atomic_numbers[symbol], symbol) for symbol in elements):
        known = number <= 96  # Cm is the last of the radii (Cordero 2008)
        color = jmol_colors[number] if number < len(jmol_colors) else _UNKNOWN_COLOR
        table[symbol] = {
            "color": "#" + "".join(f"{round(255 * float(part)):02x}" for part in color),
            "radius": round(float(covalent_radii[number]), 2) if known else _UNKNOWN_RADIUS,
        }
    return table


def _rounded(numbers: np.ndarray, digits: int) -> list[float]:
    return [round(float(x), digits) for x in numbers]
