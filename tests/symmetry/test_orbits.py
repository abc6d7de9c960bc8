"""Special positions and full cells: group algebra, and against spglib."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spglib
from hypothesis import given
from hypothesis import strategies as st

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.orbits import (
    centring_translations,
    expand_crystal,
    expand_orbit,
    project_on_special_position,
)
from jaxcrystal.symmetry.wyckoff import group_operations, locate, wyckoff_position, wyckoff_positions
from tests.crystals import operations_near, params_from_lengths_angles, random_angles
from tests.groups import each_group
from tests.precision import double_precision

MERGE_DISTANCE = 0.3


def _lattice_params(number, rng, shortest=5.0, longest=12.0):
    lengths, angles = rng.uniform(shortest, longest, 3), random_angles(rng, number)
    with double_precision():
        return np.asarray(params_from_lengths_angles(jnp.array(lengths), jnp.array(angles), number))


def _lattice(number, rng, shortest=5.0, longest=12.0):
    with double_precision():
        params = jnp.asarray(_lattice_params(number, rng, shortest, longest))
        return np.asarray(lattice_matrix(params, number))


def _generic_point(position, rng):
    return position.origin + rng.uniform(0.05, 0.95, position.num_free) @ position.basis


def _displacement(rng, length, lattice):
    """A fractional displacement of a given length, Å."""
    direction = rng.normal(size=3)
    return length * direction / np.linalg.norm(direction) @ np.linalg.inv(lattice)


def _residual(vectors, primitive):
    coefficients = np.asarray(vectors) @ np.linalg.inv(primitive)
    return np.abs(coefficients - np.round(coefficients)).max(-1)


def _shortest(frac_coords, lattice):
    """Shortest distance between any two atoms, or an atom and its own lattice images, Å."""
    apart = (
        frac_coords[:, None, None] - frac_coords[None, :, None] + (np.indices((5, 5, 5)) - 2).reshape(3, -1).T
    )
    lengths = np.linalg.norm((apart) @ lattice, axis=-1)
    return lengths[lengths > 1e-9].min(), (lengths < 1e-9).sum() - len(frac_coords)


@each_group
def test_an_exact_site_stays(number):
    rng = np.random.default_rng(number)
    lattice = _lattice(number, rng)
    for position in wyckoff_positions(number):
        site = _generic_point(position, rng) + rng.integers(-2, 3, 3)
        projected, site_ops = project_on_special_position(site, lattice, number, 1e-5)
        assert np.allclose(projected, site, atol=1e-12)
        assert np.array_equal(site_ops, position.site_ops)


@each_group
def test_projection_undoes_a_perturbation(number):
    """A perturbed site comes back to its subspace, at the nearest point of it."""
    rng = np.random.default_rng(number)
    lattice = _lattice(number, rng)
    for position in wyckoff_positions(number):
        exact = _generic_point(position, rng)
        # A generic point can be near a higher position by chance; 1e-3 Å makes that rare.
        if not np.array_equal(operations_near(exact, lattice, number, 0.02), position.stabilizer):
            continue
        moved = exact + _displacement(rng, 1e-3, lattice)
        site, site_ops = project_on_special_position(moved, lattice, number, 4e-3)
        assert np.array_equal(site_ops, position.site_ops)
        assert np.allclose(site - exact, position.projection @ (moved - exact), atol=1e-12)
        cartesian = (moved - site) @ lattice @ (position.basis @ lattice).T
        assert np.abs(cartesian).max(initial=0.0) < 1e-9


@pytest.mark.property
@given(number=st.integers(1, 230), seed=st.integers(0, 2**32 - 1), distance=st.floats(0.0, 0.3))
def test_projection_near_special_positions(number, seed, distance):
    """What holds for any site, however near to whatever special positions."""
    rng = np.random.default_rng(seed)
    lattice = _lattice(number, rng, 3.0, 9.0)
    rotations, translations, primitive = group_operations(number)
    positions = wyckoff_positions(number)
    start = _generic_point(positions[rng.integers(len(positions))], rng) + _displacement(
        rng, distance, lattice
    )
    site, site_ops = project_on_special_position(start, lattice, number, MERGE_DISTANCE)

    stabilizer = operations_near(site, lattice, number, 1e-6)
    members = np.flatnonzero(stabilizer)
    assert stabilizer[group_tables().product[number][np.ix_(members, members)]].all()
    assert site_ops.sum() * len(members) == len(rotations)
    assert _residual(rotations[members] @ site + translations[members] - site, primitive).max() < 1e-9
    assert np.linalg.norm((site - start) @ lattice) < 4 * MERGE_DISTANCE

    again, again_ops = project_on_special_position(site, lattice, number, MERGE_DISTANCE)
    assert np.allclose(again, site, atol=1e-9)
    assert np.array_equal(again_ops, site_ops)

    atoms = expand_orbit(site, site_ops, number)
    shortest, coinciding = _shortest(atoms, lattice)
    assert coinciding == 0
    assert shortest > MERGE_DISTANCE - 1e-9

    # Of all images of the start, the projection makes images of one and the same orbit.
    op = rng.integers(len(rotations))
    image = rotations[op] @ start + translations[op] + rng.integers(-2, 3, 3) @ primitive
    other, other_ops = project_on_special_position(image, lattice, number, MERGE_DISTANCE)
    assert other_ops.sum() == site_ops.sum()
    expected = rotations[op] @ site + translations[op]
    assert _residual(other - expected, primitive) < 1e-9


@pytest.mark.property
@given(number=st.integers(1, 230), seed=st.integers(0, 2**32 - 1))
def test_cells_smaller_than_the_distance_still_end(number, seed):
    """No group can hold all images then; what comes back is a group all the same."""
    rng = np.random.default_rng(seed)
    lattice = _lattice(number, rng, 0.8, 1.5)
    rotations, translations, primitive = group_operations(number)
    site, site_ops = project_on_special_position(rng.uniform(size=3), lattice, number, 1.2)
    assert np.isfinite(site).all()
    assert len(rotations) % site_ops.sum() == 0
    fixed = _residual(rotations @ site + translations - site, primitive) < 1e-9
    assert fixed.sum() * site_ops.sum() >= len(rotations)


def test_a_site_between_two_mirrors_goes_to_where_they_cross():
    """Two images are near enough, their product is not: it comes with them all the same."""
    lattice = np.eye(3) * 8.0
    start = np.array([0.015, 0.31, 0.0175])  # images at 0.24 and 0.28 Å, the product at 0.37 Å
    line = wyckoff_position(47, "m")
    site, site_ops = project_on_special_position(start, lattice, 47, 0.3)
    assert np.allclose(site, [0.0, 0.31, 0.0], atol=1e-15)
    assert np.array_equal(site_ops, line.site_ops)


def test_projection_keeps_the_branch():
    lattice = np.eye(3) * 5.0
    site, site_ops = project_on_special_position(np.array([2.001, -0.998, 0.999]), lattice, 225, 0.3)
    assert np.allclose(site, [2.0, -1.0, 1.0], atol=1e-12)
    assert site_ops.sum() == 1


def test_a_free_site_far_from_everything_stays():
    start = np.array([0.11, 0.23, 0.37])
    site, site_ops = project_on_special_position(start, np.eye(3) * 9.0, 221, 0.3)
    assert np.array_equal(site, start)
    assert site_ops.sum() == 48


@pytest.mark.parity
@pytest.mark.parametrize(
    "number",
    [
        *(2, 3, 5, 6, 8, *range(10, 16)),
        *(26, 47, 62, 72, 99, 129, 139, 160, 166, 186, 194, 216, 221, 225, 227, 230),
    ],
)
def test_spglib_has_nothing_to_idealise(number):
    """A projected site is exactly special to spglib, which takes the same letter for it.

    General atoms of another species fix the group.
    """
    rng = np.random.default_rng(number)
    lattice = _lattice(number, rng, 14.0, 18.0)
    positions = wyckoff_positions(number)
    heavy = expand_orbit(np.array([0.137, 0.261, 0.083]), positions[-1].site_ops, number)
    hall_number = int(group_tables().hall_number[number])
    for position in positions[:-1]:
        moved = _generic_point(position, rng) + _displacement(rng, 0.1, lattice)
        site, site_ops = project_on_special_position(moved, lattice, number, 0.3)
        light = expand_orbit(site, site_ops, number)
        kinds = np.repeat([1, 2], [len(heavy), len(light)])
        cell = (lattice, np.concatenate([heavy, light]), kinds)
        dataset = spglib.get_symmetry_dataset(cell, symprec=1e-6, hall_number=hall_number)
        assert dataset.number == number
        standard = cell[1] @ dataset.transformation_matrix.T + dataset.origin_shift
        apart = dataset.std_positions[:, None] - standard
        apart = np.abs(apart - np.round(apart)).max(-1)
        assert len(dataset.std_positions) == len(kinds)
        assert apart.min(1).max() < 1e-8
        (letter,) = set(dataset.wyckoffs[len(heavy) :])
        assert wyckoff_position(number, letter).multiplicity == len(light)
        assert locate(standard[-1], number, letter, 1e-8)


@each_group
def test_expand_orbit(number):
    rng = np.random.default_rng(number)
    rotations, translations, _ = group_operations(number)
    for position in wyckoff_positions(number):
        site = _generic_point(position, rng) + rng.integers(-2, 3, 3)
        atoms = expand_orbit(site, position.site_ops, number)
        assert atoms.shape == (position.multiplicity, 3)
        assert ((atoms >= 0) & (atoms < 1)).all()
        apart = atoms[:, None] - atoms
        same = np.abs(apart - np.round(apart)).max(-1) < 1e-9
        assert np.array_equal(same, np.eye(len(atoms), dtype=bool))
        # Any operation, with any centring, maps the set onto itself.
        op = rng.integers(len(rotations))
        images = atoms @ rotations[op].T + translations[op] + rng.choice(centring_translations(number))
        apart = images[:, None] - atoms
        assert (np.abs(apart - np.round(apart)).max(-1) < 1e-9).any(1).all()


def test_expand_orbit_wraps_rounding_errors():
    atoms = expand_orbit(np.array([-1e-18, 1 - 1e-17, 0.5]), wyckoff_position(1, "a").site_ops, 1)
    assert np.array_equal(atoms, [[0.0, 0.0, 0.5]])


def _crystal(number, letters, rng, max_nodes):
    positions = [wyckoff_position(number, letter) for letter in letters]
    size = len(positions)
    crystal = Crystal(
        species=np.zeros(max_nodes, np.int32),
        frac_coords=np.zeros((max_nodes, 3)),
        node_mask=np.arange(max_nodes) < size,
        lattice_params=_lattice_params(number, rng),
        space_group=np.int32(number),
        site_ops=np.zeros((max_nodes, MAX_OPS), bool),
        site_projection=np.zeros((max_nodes, 3, 3)),
    )
    for node, position in enumerate(positions):
        crystal.species[node] = 11 + node
        crystal.frac_coords[node] = _generic_point(position, rng)
        crystal.site_ops[node] = position.site_ops
        crystal.site_projection[node] = position.projection
    return crystal


@pytest.mark.parity
@pytest.mark.parametrize(
    ("number", "letters"),
    [
        *((1, "aaa"), (2, "abii"), (3, "abee"), (5, "abcc"), (8, "aabb"), (14, "aeee"), (15, "aeff")),
        *((62, "ccd"), (166, "bch"), (194, "bfh"), (225, "ac"), (227, "ade")),
    ],
)
def test_expand_crystal_has_the_symmetry_asked_for(number, letters):
    crystal = _crystal(number, letters, np.random.default_rng(number), len(letters))
    lattice, species, frac_coords, site_index = expand_crystal(crystal)
    assert lattice.dtype == frac_coords.dtype == np.float64
    multiplicities = [wyckoff_position(number, letter).multiplicity for letter in letters]
    assert np.array_equal(np.bincount(site_index), multiplicities)
    assert np.array_equal(species, 11 + site_index)
    dataset = spglib.get_symmetry_dataset((lattice, frac_coords, species), symprec=1e-5)
    assert dataset.number == number
    assert len(np.unique(dataset.equivalent_atoms)) == len(letters)


def test_expand_crystal_ignores_padding():
    bare = expand_crystal(_crystal(62, "ac", np.random.default_rng(0), 2))
    padded = expand_crystal(_crystal(62, "ac", np.random.default_rng(0), 6))
    for first, second in zip(bare, padded, strict=True):
        assert np.array_equal(first, second)


def test_expand_crystal_takes_device_arrays():
    crystal = _crystal(225, "ab", np.random.default_rng(0), 4)
    lattice, _, frac_coords, _ = expand_crystal(jax.tree.map(jnp.asarray, crystal))
    reference = expand_crystal(crystal)
    assert np.allclose(lattice, reference[0], rtol=1e-6)
    assert np.allclose(frac_coords, reference[2], atol=1e-6)


def test_expand_crystal_without_sites():
    crystal = _crystal(225, "", np.random.default_rng(0), 3)
    _, species, frac_coords, site_index = expand_crystal(crystal)
    assert species.shape == site_index.shape == (0,)
    assert frac_coords.shape == (0, 3)
