"""The audit against pymatgen, and on crystals that are known."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.structures.cells import is_valid, shortest_distance
from jaxcrystal.structures.checks import audit, distance_between_atoms, primitive_cell
from jaxcrystal.symmetry.detect import find_group
from jaxcrystal.symmetry.orbits import expand_orbit
from jaxcrystal.symmetry.wyckoff import wyckoff_position


def cell(space_group, letters, coords=None):
    positions = [wyckoff_position(space_group, letter) for letter in letters]
    coords = [p.origin for p in positions] if coords is None else coords
    orbits = [expand_orbit(x, p.site_ops, space_group) for x, p in zip(coords, positions, strict=True)]
    sizes = [len(orbit) for orbit in orbits]
    species = np.repeat(np.arange(1, len(orbits) + 1) * 10, sizes)
    return species, np.concatenate(orbits), np.cumsum([0, *sizes[:-1]])


def test_perovskite() -> None:
    species, coords, first = cell(221, "abc")
    found = audit(4.0 * np.eye(3), species, coords, first, 221)
    assert found.valid
    assert found.shortest_distance == pytest.approx(2.0)
    assert found.volume_per_atom == pytest.approx(64 / 5)


@pytest.mark.parametrize(("group", "distance"), [(221, 3.0), (229, 3.0 * 3**0.5 / 2), (225, 3.0 / 2**0.5)])
def test_one_atom_in_the_primitive_cell(group, distance) -> None:
    """Its own images are its neighbours; they do not make it invalid, however near."""
    species, coords, first = cell(group, "a")
    found = audit(3.0 * np.eye(3), species, coords, first, group)
    assert found.shortest_distance == pytest.approx(distance)
    assert find_group(*primitive_cell(3.0 * np.eye(3), species, coords, group), 0.1) == group
    if group == 221:
        assert distance_between_atoms(3.0 * np.eye(3), coords, first) == np.inf
        assert audit(0.48 * np.eye(3), species, coords, first, group).valid
        assert not audit(0.40 * np.eye(3), species, coords, first, group).valid  # 0.064 Å³


def test_coinciding_atoms_are_not_valid() -> None:
    species, coords, first = cell(221, "ee", [np.array([0.2, 0, 0]), np.array([0.2, 0, 0])])
    found = audit(5.0 * np.eye(3), species, coords, first, 221)
    assert not found.valid
    assert found.shortest_distance == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parity
@pytest.mark.parametrize("group", [16, 47, 62, 75, 139, 146, 166, 194, 198, 225, 227])
def test_distances_as_pymatgen(group) -> None:
    rng = np.random.default_rng(group)
    lengths = rng.uniform(2, 14, 3)
    if group >= 75:
        lengths[1] = lengths[0]
    if group >= 195:
        lengths[2] = lengths[0]
    lattice = Lattice.from_parameters(*lengths, 90, 90, 120 if 143 <= group <= 194 else 90).matrix
    letters = ["a", "b"] if group < 143 else ["a"]
    general = "A" if group == 47 else max(p for p in "abcdefghijklmnopqrstuvwxyz" if _has(group, p))
    letters.append(general)
    points = [wyckoff_position(group, letter) for letter in letters]
    coords = [p.origin + rng.random(p.num_free) @ p.basis for p in points]
    species, all_coords, first = cell(group, letters, coords)
    structure = Structure(lattice, species, all_coords)
    assert distance_between_atoms(lattice, all_coords, first) == pytest.approx(
        shortest_distance(structure), abs=1e-6
    )
    found = audit(lattice, species, all_coords, first, group)
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
    species, coords, _ = cell(225, "ab")
    lattice, few, moved = primitive_cell(5.6 * np.eye(3), species, coords, 225)
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
