"""A structure as its space group, lattice and one site of each orbit."""

import warnings
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.data.dataset import PreparedSites
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import DataError
from jaxcrystal.io.checks import atomic_numbers, checked, near_pairs
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.symmetry.canonical import Sites, canonical_cell, canonical_sites
from jaxcrystal.symmetry.detect import standard_dataset
from jaxcrystal.symmetry.families import FREE, TIE
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import ANGLE_SCALE, LENGTH_SCALE
from jaxcrystal.symmetry.orbits import expand_orbit
from jaxcrystal.symmetry.wyckoff import locate, wyckoff_positions

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Distance, Å, within which spglib takes atoms as related by symmetry, unless another is asked for.
SYMPREC = 0.1
#: Largest distance, Å, between an atom of the standardised cell and its rebuilt image.
REBUILD_TOLERANCE = 0.1
#: Å; no two atoms of a crystal are nearer.
SHORTEST_DISTANCE = 0.5


def symmetrize(structure: "Structure", max_sites: int = 20, symprec: float = SYMPREC) -> PreparedSites:
    """Finds the group of a structure and one site of each orbit, in the tables' setting.

    The cell is the conventional one that spglib standardises to with the group's first
    Hall number, in groups 1-15 the one that `symmetry.canonical` chooses of these; each
    site is moved exactly onto the representative subspace of its Wyckoff position, and
    the orbits are checked to rebuild that cell. Origin, letters, images and order of the
    sites are those that `symmetry.canonical` chooses of all that are equivalent, so that
    the arrays do not depend on how the structure was described.

    Args:
      structure: a pymatgen structure, any cell of the crystal. Oxidation states are
        dropped; deuterium and tritium count as hydrogen.
      max_sites: most inequivalent sites that are accepted.
      symprec: Å; atoms this far from where an operation puts them are still related by it.

    Raises:
      Rejected: with the reason.
    """
    species = atomic_numbers(structure)
    checked(structure)
    lattice, frac_coords = structure.lattice.matrix, structure.frac_coords
    near = near_pairs(lattice, frac_coords, SHORTEST_DISTANCE)
    _require_apart(near, species, SYMPREC)
    found = _standardise((lattice, frac_coords, species), symprec)

    space_group = int(found.number)
    orbits, letters = _orbits(found)
    if len(orbits) > max_sites:
        raise Rejected(
            Reason.TOO_MANY_SITES, f"{len(orbits)} inequivalent sites, at most {max_sites} allowed"
        )
    _require_apart(near, species, SHORTEST_DISTANCE)
    lattice, positions = canonical_cell(found.std_lattice, found.std_positions, space_group)
    lattice_params = params_of_lattice(lattice, space_group)
    tolerance = REBUILD_TOLERANCE / np.linalg.norm(lattice, axis=1).min()

    sites = [
        find_letter(positions[rows[0]], len(rows), space_group, tolerance, letter)
        for rows, letter in zip(orbits, letters, strict=True)
    ]
    prepared = PreparedSites(
        space_group=space_group,
        lattice_params=lattice_params,
        species=np.array([found.std_types[rows[0]] for rows in orbits], np.int32),
        frac_coords=np.array([coords for _, coords in sites]),
        letters=np.array([index for index, _ in sites], np.int32),
    )
    _check_rebuilt(prepared, lattice, np.asarray(found.std_types), positions)
    described = Sites(prepared.species, prepared.letters, prepared.frac_coords)
    chosen = canonical_sites(described, lattice, space_group, _mendeleev_number)
    return replace(prepared, **chosen._asdict())


@cache
def _mendeleev_number(element: int) -> float:
    """Returns the place of an element in Pettifor's order, in which like ones are near; last if unknown."""
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last elements have none
        number = Element.from_Z(element).mendeleev_no
    return np.inf if number is None or np.isnan(number) else float(number)


def params_of_lattice(lattice: Float[np.ndarray, "3 3"], space_group: int) -> Float[np.ndarray, "6"]:
    """Returns the lattice parameters of a conventional cell in float64.

    The inverse of `symmetry.lattice.host_lattice`.

    Args:
      lattice: [3, 3] rows are vectors in Å, any orientation.
      space_group: decides which lengths are averaged and which angles count.
    """
    family = int(group_tables().family[space_group])
    free: Any = np.asarray(FREE)[family]
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = (lattice @ lattice.T)[[1, 0, 0], [2, 2, 1]] / (lengths[[1, 0, 0]] * lengths[[2, 2, 1]])
    tie = TIE[family][:3, :3]
    ratio = tie @ lengths / np.maximum(tie.sum(1), 1.0) / LENGTH_SCALE
    ratio = np.where(free[:3], ratio, 1.0)
    from_lengths = LENGTH_SCALE * (ratio + np.log(-np.expm1(-ratio)))
    from_angles = ANGLE_SCALE * cosines / np.sqrt(1.0 - cosines**2)
    return np.where(free, np.concatenate([from_lengths, from_angles]), 0.0)


def _require_apart(
    near: list[tuple[int, int, float]], species: Int[np.ndarray, " atoms"], shortest: float
) -> None:
    """Refuses a structure of which two atoms are nearer than a distance in Å."""
    for one, other, distance in near:
        if distance < shortest:
            names = f"{SYMBOLS[species[one]]} and {SYMBOLS[species[other]]}"
            raise Rejected(Reason.OVERLAPPING, f"{names} are {distance:.2g} Å apart")


def _standardise(atoms: tuple[np.ndarray, np.ndarray, np.ndarray], symprec: float) -> Any:
    """Returns spglib's data set with the group's first Hall number."""
    lattice, frac_coords, species = atoms
    found = standard_dataset(lattice, species, frac_coords, symprec)
    if found is None:
        raise Rejected(Reason.SYMMETRY_FAILED, "spglib finds no space group: atoms too close, or a flat cell")
    return found


def _orbits(found: Any) -> tuple[list[Int[np.ndarray, " atoms"]], list[str]]:
    """Returns the rows of the standardised cell in each orbit, and spglib's letters."""
    source = {int(p): atom for atom, p in reversed(list(enumerate(found.mapping_to_primitive)))}
    atoms = np.array([source[int(p)] for p in found.std_mapping_to_primitive])
    labels = np.asarray(found.crystallographic_orbits)[atoms]
    first = [rows[0] for rows in (np.flatnonzero(labels == label) for label in labels)]
    order = sorted(set(first))
    return [np.flatnonzero(labels == labels[row]) for row in order], [
        found.wyckoffs[atoms[row]] for row in order
    ]


def find_letter(
    frac_coords: Float[np.ndarray, "3"],
    multiplicity: int,
    space_group: int,
    tolerance: float,
    first: str = "",
) -> tuple[int, Float[np.ndarray, "3"]]:
    """Finds the Wyckoff position that a site of known multiplicity lies on.

    Args:
      frac_coords: [3] fractional in the conventional cell.
      multiplicity: atoms of the site's orbit in the conventional cell.
      space_group: 1-230.
      tolerance: largest distance from the position, in fractional coordinates.
      first: a letter to try before the others.

    Returns:
      The index of the letter in `wyckoff_positions`, and the site on its subspace.

    Raises:
      Rejected: there is no such position.
    """
    positions = wyckoff_positions(space_group)
    possible = [index for index, p in enumerate(positions) if p.multiplicity == multiplicity]
    for index in sorted(possible, key=lambda index: positions[index].letter != first):
        try:
            return index, locate(frac_coords, space_group, positions[index].letter, tolerance)[1]
        except DataError:
            continue
    raise Rejected(
        Reason.NOT_REBUILT,
        f"{multiplicity} equivalent atoms lie on no Wyckoff position of group {space_group}",
    )


def _check_rebuilt(
    sites: PreparedSites,
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
) -> None:
    """Refuses sites whose orbits are not the atoms of the cell."""
    positions = wyckoff_positions(sites.space_group)
    orbits = [
        expand_orbit(coords, positions[letter].site_ops, sites.space_group)
        for coords, letter in zip(sites.frac_coords, sites.letters, strict=True)
    ]
    rebuilt = np.repeat(sites.species, [len(orbit) for orbit in orbits])
    if len(rebuilt) != len(species):
        raise Rejected(
            Reason.NOT_REBUILT, f"the orbits make {len(rebuilt)} atoms, the cell has {len(species)}"
        )
    offsets = frac_coords[:, None] - np.concatenate(orbits)[None]
    distances = np.linalg.norm((offsets - np.round(offsets)) @ lattice, axis=-1)
    distances = np.where(species[:, None] == rebuilt[None], distances, np.inf)
    nearest = distances.argmin(axis=1)
    worst = distances[np.arange(len(nearest)), nearest].max()
    if worst > REBUILD_TOLERANCE or len(set(nearest.tolist())) != len(nearest):
        raise Rejected(Reason.NOT_REBUILT, f"an atom is {worst:.3g} Å from where the symmetry puts it")
