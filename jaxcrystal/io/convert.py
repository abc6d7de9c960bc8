"""Full crystals as objects of other libraries, and as text of common file formats."""

import json
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure


def to_pymatgen(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
) -> "Structure":
    """Returns a pymatgen Structure.

    Args:
      lattice: [3, 3] rows are vectors, Å.
      species: [atoms] atomic numbers.
      frac_coords: [atoms, 3].
    """
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(np.asarray(lattice, float)), symbols(species), np.asarray(frac_coords, float))


def to_ase(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
) -> "Atoms":
    """Returns an ASE Atoms object, periodic in all directions; see `to_pymatgen`."""
    from ase import Atoms

    return Atoms(
        numbers=np.asarray(species, int),
        scaled_positions=np.asarray(frac_coords, float),
        cell=np.asarray(lattice, float),
        pbc=True,
    )


def symbols(species: Int[np.ndarray, " atoms"] | Sequence[int]) -> list[str]:
    """Returns the element symbols of atomic numbers."""
    return [_symbol(int(number)) for number in species]


def formula(species: Int[np.ndarray, " atoms"]) -> str:
    """Returns the reduced formula of the atoms of a cell, such as `BaTiO3`."""
    numbers, counts = np.unique(np.asarray(species, int), return_counts=True)
    return _reduced_formula(tuple(numbers.tolist()), tuple(counts.tolist()))


@cache
def _symbol(number: int) -> str:
    from pymatgen.core import Element

    return str(Element.from_Z(number).symbol)


@lru_cache(maxsize=4096)
def _reduced_formula(numbers: tuple[int, ...], counts: tuple[int, ...]) -> str:
    from pymatgen.core import Composition

    ordered = sorted(zip(symbols(numbers), counts, strict=True))
    return str(Composition(dict(ordered)).reduced_formula)


def poscar_text(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    comment: str = "jaxcrystal",
) -> str:
    """Returns a VASP 5 POSCAR; atoms of one element stand together, in the order of first use."""
    species, frac_coords = np.asarray(species), np.asarray(frac_coords, float)
    _, first = np.unique(species, return_index=True)
    elements = species[np.sort(first)]
    lines = [" ".join(comment.split()), "1.0"]
    lines += [" ".join(f"{x:19.12f}" for x in row) for row in np.asarray(lattice, float)]
    lines.append(" ".join(symbols(elements)))
    lines.append(" ".join(str(int((species == element).sum())) for element in elements))
    lines.append("Direct")
    for element in elements:
        lines += [" ".join(f"{x:16.12f}" for x in row) for row in frac_coords[species == element]]
    return "\n".join(lines) + "\n"


def pymatgen_json_text(structures: "dict[str, Structure]") -> str:
    """Returns a JSON object id -> pymatgen structure, as `jaxcrystal prepare` reads it."""
    return json.dumps({name: structure.as_dict() for name, structure in structures.items()})
