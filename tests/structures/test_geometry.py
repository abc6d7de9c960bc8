"""What is measured of one structure, and what of it real crystals never have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from jaxcrystal.structures.geometry import is_odd_density, is_short, measure

#: Crystals with their measured lattices, and the nearest distance in each, Å.
REAL = {
    "salt": (
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.640), ["Na", "Cl"], [[0] * 3, [0.5] * 3]),
        2.820,
    ),
    "diamond": (Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0] * 3]), 1.545),
    "tungsten": (Structure(Lattice.cubic(3.165), ["W"] * 2, [[0] * 3, [0.5] * 3]), 2.741),
    "primitive polonium": (Structure(Lattice.cubic(3.352), ["Po"], [[0] * 3]), 3.352),
    "caesium": (Structure(Lattice.cubic(6.14), ["Cs"] * 2, [[0] * 3, [0.5] * 3]), 5.317),
    "rutile": (
        Structure.from_spacegroup(
            "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0] * 3, [0.305, 0.305, 0]]
        ),
        1.948,
    ),
    "perovskite": (
        Structure(
            Lattice.cubic(4.0),
            ["Ba", "Ti", "O", "O", "O"],
            [[0] * 3, [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        ),
        2.0,
    ),
    "ammonia": (
        Structure.from_spacegroup(
            "P2_13", Lattice.cubic(5.1305), ["N", "H"], [[0.2107] * 3, [0.3689, 0.2671, 0.1159]]
        ),
        0.989,
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_crystals_have_no_flags(name) -> None:
    structure, nearest = REAL[name]
    found = measure(structure)
    assert found.shortest_distance == pytest.approx(nearest, abs=2e-3)
    assert found.density == pytest.approx(structure.density)
    assert found.volume_per_atom == pytest.approx(structure.volume / len(structure))
    assert not is_short(found)
    assert not is_odd_density(found)


@pytest.mark.parametrize("name", REAL)
def test_squeezed_and_blown_up_crystals_have(name) -> None:
    structure, _ = REAL[name]
    found = measure(structure)
    for ratio, flag in ((0.7, is_short), (0.8, is_odd_density), (25.0, is_odd_density)):
        value = found.distance_ratio if flag is is_short else found.volume_ratio ** (1 / 3)
        limit = ratio if flag is is_short else ratio ** (1 / 3)
        for factor in (0.99, 1.01):
            scaled = structure.copy()
            scaled.scale_lattice(structure.volume * (factor * limit / value) ** 3)
            assert flag(measure(scaled)) == ((factor < 1) == (ratio < 1))


def test_ratio_is_of_the_tightest_pair() -> None:
    """The nearest two atoms (H and F) are not those that are too close for their elements."""
    structure = Structure(Lattice.cubic(9.0), ["H", "F", "Cs", "Cs"], np.zeros((4, 3)))
    for atom, point in enumerate(([0, 0, 0], [0.92, 0, 0], [4, 4, 4], [4, 4, 6.5])):
        structure.translate_sites(atom, point, frac_coords=False)
    found = measure(structure)
    assert found.shortest_distance == pytest.approx(0.92)
    assert found.distance_ratio == pytest.approx(2.5 / (2 * 2.44), abs=1e-3)
    assert is_short(found)
    assert not is_short(found, 0.9)
    assert is_short(found, 0.93)


def test_half_an_angstrom_is_short_for_any_element() -> None:
    structure = Structure(Lattice.cubic(4.0), ["H", "H"], [[0] * 3, [0.1225, 0, 0]])
    found = measure(structure)
    assert found.distance_ratio > 0.7
    assert is_short(found)


def test_images_of_one_atom_count() -> None:
    flat = Structure(Lattice.tetragonal(6.0, 1.2), ["Fe"], [[0] * 3])
    found = measure(flat)
    assert found.shortest_distance == pytest.approx(1.2)
    assert found.distance_ratio == pytest.approx(1.2 / (2 * 1.32), abs=1e-3)
    assert is_short(found)


def test_density_in_g_per_cm3() -> None:
    salt = measure(REAL["salt"][0])
    assert salt.density == pytest.approx(2.165, abs=5e-3)
    assert not is_odd_density(salt, (2.0, 3.0))
    assert is_odd_density(salt, (2.2, 3.0))
    assert is_odd_density(salt, (1.0, 2.1))


def test_elements_without_a_radius() -> None:
    heavy = measure(Structure(Lattice.cubic(3.0), ["Og", "Cf"], [[0] * 3, [0.5] * 3]))
    assert np.isfinite([heavy.distance_ratio, heavy.volume_ratio]).all()


@pytest.mark.property
@given(
    name=st.sampled_from(sorted(REAL)),
    seed=st.integers(0, 2**16),
    multiple=st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 3)]),
    noise=st.sampled_from([0.0, 0.002]),
)
def test_other_cells_of_a_crystal(name, seed, multiple, noise) -> None:
    """Rotated, with another origin, a supercell, atoms in another order, moved a little."""
    rng = np.random.default_rng(seed)
    structure, _ = REAL[name]
    other = structure * multiple
    axis, angle = rng.normal(size=3), rng.uniform(0, 360)
    other.apply_operation(SymmOp.from_axis_angle_and_translation(axis.tolist(), angle))
    other.translate_sites(range(len(other)), rng.uniform(size=3))
    other = Structure.from_sites([other[n] for n in rng.permutation(len(other))])
    if noise:
        other.perturb(noise)
    first, second = measure(structure), measure(other)
    assert first.found_group == second.found_group > 0
    assert first.orbits == second.orbits
    assert sum(share for _, share in second.orbits) == pytest.approx(1.0)
    for name in ("shortest_distance", "distance_ratio", "density", "volume_per_atom", "volume_ratio"):
        assert getattr(second, name) == pytest.approx(getattr(first, name), abs=2.1 * noise + 1e-6)


def test_orbits_do_not_depend_on_the_origin_but_letters_do() -> None:
    """Caesium chloride about either atom: Cs on a and Cl on b, or the other way."""
    one = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
    two = Structure(Lattice.cubic(4.12), ["Cl", "Cs"], [[0] * 3, [0.5] * 3])
    assert measure(one).orbits == measure(two).orbits == ((17, 0.5), (55, 0.5))
    other = Structure.from_spacegroup("Fm-3m", Lattice.cubic(8), ["Cs", "Cl"], [[0] * 3, [0.25] * 3])
    assert measure(other).orbits == ((17, pytest.approx(2 / 3)), (55, pytest.approx(1 / 3)))
