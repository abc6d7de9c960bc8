"""The audit against pymatgen, and on crystals that are known."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.structures.cells import is_valid, shortest_distance
from jaxcrystal.structures.checks import audit, distance_between_atoms
from jaxcrystal.symmetry.detect import find_group
from jaxcrystal.symmetry.orbits import FullCell, expand_orbit
from jaxcrystal.symmetry.wyckoff import wyckoff_position
from tests.crystals import random_shape


def cell(lattice, space_group, letters, coords=None):
    positions = [wyckoff_position(space_group, letter) for letter in letters]
    coords = [p.origin for p in positions] if coords is None else coords
    orbits = [expand_orbit(x, p.site_ops, space_group) for x, p in zip(coords, positions, strict=True)]
    sizes = [len(orbit) for orbit in orbits]
    site_index = np.repeat(np.arange(len(orbits)), sizes)
    return FullCell(lattice, 10 * (site_index + 1), np.concatenate(orbits), site_index)


def test_perovskite() -> None:
    found = audit(cell(4.0 * np.eye(3), 221, "abc"), 221)
    assert found.valid
    assert found.shortest_distance == pytest.approx(2.0)
    assert found.volume_per_atom == pytest.approx(64 / 5)


@pytest.mark.parametrize(("group", "distance"), [(221, 3.0), (229, 3.0 * 3**0.5 / 2), (225, 3.0 / 2**0.5)])
def test_one_atom_in_the_primitive_cell(group, distance) -> None:
    """Its own images are its neighbours; they do not make it invalid, however near."""
    atoms = cell(3.0 * np.eye(3), group, "a")
    assert audit(atoms, group).shortest_distance == pytest.approx(distance)
    assert find_group(*atoms.primitive(group), 0.1) == group
    if group == 221:
        assert distance_between_atoms(atoms.lattice, atoms.frac_coords, np.array([0])) == np.inf
        assert audit(atoms._replace(lattice=1.01 * np.eye(3)), group).valid
        assert not audit(atoms._replace(lattice=0.99 * np.eye(3)), group).valid  # 0.97 Å³


def test_coinciding_atoms_are_not_valid() -> None:
    found = audit(cell(5.0 * np.eye(3), 221, "ee", [np.array([0.2, 0, 0]), np.array([0.2, 0, 0])]), 221)
    assert not found.valid
    assert found.shortest_distance == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parity
@pytest.mark.parametrize("group", [1, 2, 4, 5, 10, 14, 15, 16, 47, 62, 75, 139, 146, 166, 194, 198, 225, 227])
def test_distances_as_pymatgen(group) -> None:
    rng = np.random.default_rng(group)
    lengths, angles = rng.uniform(2, 14, 3), [90, 90, 120 if 143 <= group <= 194 else 90]
    if group < 16:
        angles = random_shape(rng, group)[1]
    if group >= 75:
        lengths[1] = lengths[0]
    if group >= 195:
        lengths[2] = lengths[0]
    lattice = Lattice.from_parameters(*lengths, *angles).matrix
    letters = ["a", "b"] if group < 143 and _has(group, "b") else ["a"]
    general = "A" if group == 47 else max(p for p in "abcdefghijklmnopqrstuvwxyz" if _has(group, p))
    letters.append(general)
    points = [wyckoff_position(group, letter) for letter in letters]
    coords = [p.origin + rng.random(p.num_free) @ p.basis for p in points]
    atoms = cell(lattice, group, letters, coords)
    structure = Structure(*atoms[:3])
    if group >= 16:
        first = np.unique(atoms.site_index, return_index=True)[1]
        assert distance_between_atoms(lattice, atoms.frac_coords, first) == pytest.approx(
            shortest_distance(structure), abs=1e-6
        )
    found = audit(atoms, group)
    assert found.valid == is_valid(structure)
    everywhere = structure.get_neighbor_list(max(lengths) + 1)[3].min()
    assert found.shortest_distance == pytest.approx(everywhere, abs=1e-6)


def _has(group, letter) -> bool:
    try:
        wyckoff_position(group, letter)
    except ValueError:
        return False
    return True


def test_primitive_cell() -> None:
    lattice, few, moved = cell(5.6 * np.eye(3), 225, "ab").primitive(225)
    assert few.tolist() == [10, 20]
    assert abs(np.linalg.det(lattice)) == pytest.approx(5.6**3 / 4)
    assert find_group(lattice, few, moved, 0.01) == 225


def test_no_group_where_atoms_coincide() -> None:
    assert find_group(np.eye(3) * 4, np.array([8, 8]), np.zeros((2, 3)), 0.1) == 0


def test_validity_of_pymatgen_structures() -> None:
    assert is_valid(Structure(Lattice.cubic(3), ["Po"], [[0, 0, 0]]))
    assert not is_valid(Structure(Lattice.cubic(3), ["Po", "Po"], [[0, 0, 0], [0, 0, 0.16]]))
    assert is_valid(Structure(Lattice.cubic(3), ["Po", "Po"], [[0, 0, 0], [0, 0, 0.17]]))
    assert not is_valid(Structure(Lattice.cubic(0.4), ["H"], [[0, 0, 0]]))
