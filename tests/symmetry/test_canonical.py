"""Many descriptions of one crystal give one conventional cell."""

from itertools import product

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from benchmarks.descriptions import described_anew, unimodular
from jaxcrystal.data.dataset import stack
from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.symmetry.canonical import canonical_cell
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import host_lattice
from jaxcrystal.symmetry.normalizer import allowed_changes
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import lattice_of, primitive_cell, random_angles, random_crystal

MONOCLINIC = range(3, 16)


@pytest.mark.property
@pytest.mark.parametrize("group", range(1, 231))
def test_any_cell_and_origin_give_the_same_arrays(group):
    """Axes, origins and the settings of the monoclinic groups: all are other cells of one lattice.

    With a small tolerance, since spglib takes any origin that brings the atoms within it.
    """
    rng = np.random.default_rng(group)
    matcher = StructureMatcher(primitive_cell=False, scale=False, stol=0.05)
    crystal = random_crystal(rng, group, 3, clearance=0.9)
    written = primitive_cell(crystal).crystal
    cell = to_pymatgen(lattice_of(written), written.species, written.frac_coords)
    expected = symmetrize(cell, symprec=1e-3)
    assert expected.space_group == group
    again = to_pymatgen(*expand_crystal(stack(["x"], [expected]).crystal(0))[:3])
    assert matcher.fit(cell, again.get_primitive_structure(0.01))
    for _ in range(4):
        found = symmetrize(described_anew(rng, cell), symprec=1e-3)
        assert found.space_group == group
        assert np.allclose(found.lattice_params, expected.lattice_params, atol=1e-6)
        assert np.array_equal(found.species, expected.species)
        assert np.array_equal(found.letters, expected.letters)
        assert np.allclose(found.frac_coords, expected.frac_coords, atol=1e-6)


@pytest.mark.parametrize("origin", [0.0, 0.5])
def test_crystals_of_one_type_are_on_the_same_letters(origin):
    """Whichever element has the lowest atomic number: titanate, fluoride, bromide, and an inverse one."""
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) + origin
    found = []
    for a, b, x in (("Sr", "Ti", "O"), ("K", "Mg", "F"), ("Cs", "Pb", "Br"), ("Ba", "Li", "F")):
        sites = symmetrize(Structure(Lattice.cubic(4.5), [a, b, x, x, x], places))
        letters = [wyckoff_positions(221)[letter].letter for letter in sites.letters]
        of_element = dict(zip([SYMBOLS[z] for z in sites.species], letters, strict=True))
        found.append([of_element[symbol] for symbol in (a, b, x)])
    assert found == [["a", "b", "c"]] * 4  # c, the middles of faces, comes before d, those of edges


@pytest.mark.parametrize(("cation", "anion"), [("Na", "Cl"), ("Mg", "O"), ("Ti", "C")])
def test_elements_that_can_change_places_are_in_pettifors_order(cation, anion):
    for places in ([[0] * 3, [0.5] * 3], [[0.5] * 3, [0] * 3]):
        salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.8), [cation, anion], places)
        sites = symmetrize(salt)
        on_a = SYMBOLS[sites.species[sites.letters.tolist().index(0)]]
        assert on_a == cation
        assert sorted(sites.letters) == [0, 1]


def test_a_cell_is_as_the_rule_says(x64):
    rng = np.random.default_rng(0)
    for group in MONOCLINIC:
        for _ in range(20):
            lattice = host_lattice(rng.normal(0.0, 4.0, 6), group)
            coords = rng.uniform(size=(3, 3))
            found, moved = canonical_cell(lattice, coords, group)
            metric = found @ found.T
            assert np.linalg.det(found) == pytest.approx(np.linalg.det(lattice))
            assert metric[0, 2] < 1e-6
            size = metric[0, 0] + metric[2, 2]
            for axes in allowed_changes(group).axes:
                other = axes @ found @ (axes @ found).T
                assert other[0, 0] + other[2, 2] > size - 1e-3
            again, unmoved = canonical_cell(found, moved, group)
            assert np.array_equal(again, found)
            assert np.array_equal(unmoved, moved)


def test_triclinic_cells_are_those_of_niggli():
    rng = np.random.default_rng(1)
    for _ in range(50):
        lattice = Lattice.from_parameters(*rng.uniform(3, 9, 3), *random_angles(rng, 1))
        skewed = unimodular(rng) @ lattice.matrix
        found, coords = canonical_cell(skewed, np.eye(3), 1)
        assert np.linalg.det(found) == pytest.approx(np.linalg.det(skewed))
        assert np.allclose(coords @ found, skewed)
        theirs = lattice.get_niggli_reduced_lattice()
        assert np.allclose(Lattice(found).parameters, theirs.parameters, atol=1e-3)


@pytest.mark.parametrize("angles", [(80.0, 70.0, 90.0), (90.0, 90.0, 75.0), (90.0, 90.0, 90.0)])
def test_rounding_chooses_no_niggli_cell(angles):
    """Files have four decimals: on which side of 90° an angle lies must not turn the others over."""
    rng = np.random.default_rng(2)
    lattice = Lattice.from_parameters(10.0, 11.0, 12.0, *angles).matrix
    expected = Lattice(canonical_cell(lattice, np.eye(3), 2)[0]).parameters
    for _ in range(20):
        noisy = unimodular(rng) @ (lattice + rng.uniform(-5e-5, 5e-5, (3, 3)))
        found = Lattice(canonical_cell(noisy, np.eye(3), 2)[0]).parameters
        assert np.allclose(found, expected, atol=5e-3)


NEAR_TIES = (0.0, 1e-7, 1e-6, 1e-5, 3e-5, 1e-4, 1e-3)


@pytest.mark.property
@pytest.mark.parametrize("spread", NEAR_TIES)
def test_near_ties_are_settled_alike_from_any_triclinic_cell(spread):
    """Equal within the tolerance is not transitive: a = b and b = c, but a < c.

    Axes and angles that many descriptions can share, apart by less and by more than the tolerance.
    """
    rng = np.random.default_rng(3)
    right, acute, tetrahedral = [90.0] * 3, [60.0] * 3, [109.4712206] * 3
    for angles in (right, acute, tetrahedral, [90, 90, 120], [60, 90, 90], [60, 60, 90], [80, 75, 90]):
        lengths = 5.0 * (1.0 + spread * rng.uniform(-1, 1, 3))
        angles = np.array(angles) + 50.0 * spread * rng.uniform(-1, 1, 3)
        lattice = Lattice.from_parameters(*lengths, *angles).matrix
        found = []
        for _ in range(8):
            skewed = unimodular(rng) @ lattice
            cell, coords = canonical_cell(skewed, np.eye(3), 2)
            assert np.allclose(coords @ cell, skewed)
            found.append(Lattice(cell).parameters)
        assert np.ptp(found, axis=0).max() < 0.01


@pytest.mark.property
@pytest.mark.parametrize("spread", NEAR_TIES)
def test_near_ties_are_settled_alike_from_any_monoclinic_cell(spread):
    rng = np.random.default_rng(4)
    for group in MONOCLINIC:
        changes = allowed_changes(group).axes
        for ratio, angle in ((1.0, 90.0), (1.0, 120.0), (1.0, 100.0), (2.0, 90.0), (2.0**0.5, 135.0)):
            a, beta = 5.0 * (1.0 + spread * rng.uniform(-1, 1)), angle + 50.0 * spread * rng.uniform(-1, 1)
            lattice = Lattice.monoclinic(a, 4.0, 5.0 * ratio, beta).matrix
            found = []
            for _ in range(6):
                one, other = rng.integers(len(changes), size=2)
                cell, _ = canonical_cell(changes[one] @ changes[other] @ lattice, np.eye(3), group)
                found.append(Lattice(cell).parameters)
            assert np.ptp(found, axis=0).max() < 0.01


def test_what_is_odd_decides_whether_a_monoclinic_change_is_allowed():
    """By this, coefficients up to 2 reach the cell of the shortest axes from any other."""
    for group in MONOCLINIC:
        allowed = {tuple(axes[[0, 0, 2, 2], [0, 2, 0, 2]]) for axes in allowed_changes(group).axes}
        odd = {tuple(np.array(change) % 2) for change in allowed}
        for change in product(range(-2, 3), repeat=4):
            p, q, r, s = change
            if abs(p * s - q * r) == 1:
                assert (change in allowed) == (tuple(np.array(change) % 2) in odd)


def test_other_groups_keep_their_cell():
    lattice, coords = np.diag([5.0, 4.0, 3.0]), np.full((1, 3), 0.2)
    for group in np.flatnonzero(group_tables().family >= 2)[:5].tolist():
        found, moved = canonical_cell(lattice, coords, group)
        assert found is lattice
        assert moved is coords
