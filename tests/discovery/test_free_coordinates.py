"""Free coordinates: their gradient is that of the energy, and all that symmetry allows is in them."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from jaxcrystal.discovery.free_coordinates import FreeCoordinates, invariant_strains
from jaxcrystal.symmetry.crystals import build_crystal, letter_indices
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.lattice import FREE
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.subspaces import num_free_coords
from tests.crystals import params_from_lengths_angles

#: Group, letters, coordinates, lengths and angles: triclinic, monoclinic (P, C, without and with a
#: centre), orthorhombic, polar, trigonal (rhombohedral, with hexagonal axes) and hexagonal.
CASES = {
    "P-1": (2, "ii", [[0.2, 0.1, 0.3], [0.3, 0.6, 0.8]], (4.0, 4.4, 5.0), (80, 95, 100)),
    "P2/m": (10, "mn", [[0.2, 0, 0.3], [0.7, 0.5, 0.35]], (5.0, 2.9, 4.7), (90, 104, 90)),
    "C2": (5, "ac", [[0, 0.1, 0], [0.23, 0.4, 0.3]], (6.1, 4.6, 4.8), (90, 111, 90)),
    "Pm": (6, "ac", [[0.1, 0, 0.2], [0.3, 0.26, 0.7]], (4.5, 4.6, 4.0), (90, 98, 90)),
    "Pnma": (62, "cc", [[0.05, 0.25, 0.1], [0.3, 0.25, 0.6]], (6.0, 3.6, 4.6), (90, 90, 90)),
    "P4mm": (99, "ab", [[0, 0, 0.07], [0.5, 0.5, 0.5]], (3.1, 3.1, 3.4), (90, 90, 90)),
    "R-3": (148, "af", [[0, 0, 0], [0.3, 0.1, 0.2]], (6.8, 6.8, 5.4), (90, 90, 120)),
    "P3_121": (152, "ac", [[0.4, 0.4, 0], [0.2, 0.5, 0.1]], (5.4, 5.4, 5.6), (90, 90, 120)),
    "P6_3/mmc": (194, "ch", [[1 / 3, 2 / 3, 0.25], [0.17, -0.17, 0.25]], (5.3, 5.3, 4.2), (90, 90, 120)),
    "Fm-3m": (225, "ae", [[0, 0, 0], [0.26, 0, 0]], (7.4, 7.4, 7.4), (90, 90, 90)),
}


@pytest.fixture(params=CASES)
def free(request, x64) -> FreeCoordinates:
    group, letters, coords, lengths, angles = CASES[request.param]
    params = np.asarray(params_from_lengths_angles(np.array(lengths), np.array(angles, float), group))
    crystal = build_crystal(group, [29, 79], letter_indices(group, letters), np.array(coords), params)
    return FreeCoordinates(crystal)


def computed(lattice, positions, species):
    atoms = Atoms(species, positions, cell=lattice, pbc=True)
    atoms.calc = EMT()
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)


@pytest.mark.grad
def test_gradient(free) -> None:
    rng = np.random.default_rng(0)
    q = free.disturbed(0.03, 0.02, rng)
    _, forces, stress = computed(*free.cell(q), free.species)
    gradient = free.gradient(q, forces, stress)
    # Nothing is lost: the forces of a symmetric crystal lie along the moves.
    moves = len(free.moves)
    deformation = np.eye(3) + np.tensordot(q[moves:], free.strains, 1)
    assert np.linalg.norm(gradient[:moves]) == pytest.approx(np.linalg.norm(forces @ deformation), rel=1e-6)
    for direction in (*np.eye(len(q))[:moves][:3], *np.eye(len(q))[moves:], rng.standard_normal(len(q))):
        step = 1e-4 * direction
        energies = [computed(*free.cell(q + sign * step), free.species)[0] for sign in (1, -1)]
        assert (energies[0] - energies[1]) / 2e-4 == pytest.approx(gradient @ direction, rel=1e-3, abs=2e-3)


def test_the_crystal_at_a_point_is_that_cell(free) -> None:
    """In its own frame, with forces and stress turned along."""
    q = free.disturbed(0.03, 0.02, np.random.default_rng(1))
    energy, forces, stress = computed(*free.cell(q), free.species)
    crystal = free.at(q)
    group = int(crystal.space_group)
    lattice, species, frac_coords = expand_crystal(crystal).primitive(group)
    turn = free.turn(q)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    again = computed(lattice, frac_coords @ lattice, species)
    assert again[0] == pytest.approx(energy, abs=1e-6)
    np.testing.assert_allclose(again[1], forces @ turn, atol=1e-5)
    np.testing.assert_allclose(again[2], turn.T @ stress @ turn, atol=1e-6)


def test_numbers(free) -> None:
    crystal = free.crystal
    assert len(free.moves) == round(float(num_free_coords(crystal)))
    assert len(free) == len(free.moves) + len(free.strains)
    flat = free.moves.reshape(len(free.moves), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-12)
    assert free.largest_move(np.zeros(len(free))) == 0.0


@pytest.mark.parametrize("group", range(1, 231))
def test_strains_are_as_many_as_lattice_parameters(group) -> None:
    strains = invariant_strains(group)
    family = int(group_tables().family[group])
    assert len(strains) == FREE[family].sum(), FAMILIES[family]
    np.testing.assert_allclose(strains, strains.transpose(0, 2, 1), atol=1e-12)
