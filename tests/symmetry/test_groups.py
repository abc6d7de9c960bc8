"""The group tables against spglib's database, and their algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spglib

from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.orbits import centring_translations
from tests.crystals import params_from_lengths_angles, random_angles
from tests.groups import GROUPS, each_group


def _operations(number):
    tables = group_tables()
    num_ops = tables.num_ops[number]
    return tables.rotations[number, :num_ops], tables.translations[number, :num_ops]


def _keys(rotations, translations):
    """Operations as a set of integers; every translation is a multiple of 1/24."""
    steps = np.rint(np.asarray(translations) * 24).astype(int)
    assert np.abs(steps / 24 - translations).max() < 1e-6
    return {(*np.rint(r).astype(int).ravel(), *(s % 24)) for r, s in zip(rotations, steps, strict=True)}


def _lattice_residual(vectors, primitive):
    coefficients = vectors @ np.linalg.inv(primitive)
    return np.abs(coefficients - np.round(coefficients)).max(initial=0.0)


@pytest.mark.parity
@each_group
def test_operations_with_centring_are_those_of_spglib(number):
    rotations, translations = _operations(number)
    centring = centring_translations(number)
    database = spglib.get_symmetry_from_database(int(group_tables().hall_number[number]))
    everything = (translations[:, None] + centring).reshape(-1, 3)
    ours = _keys(np.repeat(rotations, len(centring), axis=0), everything)
    assert ours == _keys(database["rotations"], database["translations"])
    assert len(ours) == len(rotations) * len(centring)


@pytest.mark.parity
@each_group
def test_setting_is_the_first_hall_number(number):
    hall_number = int(group_tables().hall_number[number])
    assert spglib.get_spacegroup_type(hall_number).number == number
    assert hall_number == 1 or spglib.get_spacegroup_type(hall_number - 1).number == number - 1


def test_settings_are_the_agreed_ones():
    choices = {n: spglib.get_spacegroup_type(int(group_tables().hall_number[n])).choice for n in GROUPS}
    assert {choices[n] for n in range(3, 16)} <= {"b", "b1"}
    assert {choices[n] for n in (146, 148, 155, 160, 161, 166, 167)} == {"H"}
    assert {choices[n] for n in (48, 50, 59, 68, 70, 141, 201, 227, 228)} == {"1"}


@each_group
def test_product_and_inverse_tables(number):
    tables = group_tables()
    rotations, translations = _operations(number)
    num_ops = len(rotations)
    product, inverse = tables.product[number, :num_ops, :num_ops], tables.inverse[number, :num_ops]
    assert np.array_equal(rotations[0], np.eye(3))
    assert not translations[0].any()
    assert np.allclose(rotations[product], np.einsum("gij,hjk->ghik", rotations, rotations))
    moved = np.einsum("gij,hj->ghi", rotations, translations) + translations[:, None]
    assert _lattice_residual(moved - translations[product], tables.primitive[number]) < 1e-9
    assert np.array_equal(np.sort(product, axis=1), np.broadcast_to(np.arange(num_ops), product.shape))
    assert not product[np.arange(num_ops), inverse].any()
    assert not product[inverse, np.arange(num_ops)].any()


@each_group
def test_primitive_lattice(number):
    tables = group_tables()
    rotations, _ = _operations(number)
    primitive = tables.primitive[number]
    assert np.linalg.det(primitive) == pytest.approx(1 / tables.num_centring[number])
    assert _lattice_residual(np.eye(3), primitive) < 1e-9
    assert _lattice_residual(primitive @ rotations.transpose(0, 2, 1), primitive) < 1e-9
    assert len(centring_translations(number)) == tables.num_centring[number]


@jax.jit
def _lattice(lengths, angles, number):
    return lattice_matrix(params_from_lengths_angles(lengths, angles, number), number)


@pytest.mark.usefixtures("x64")
@each_group
def test_cartesian_rotations(number):
    rng = np.random.default_rng(number)
    lengths, angles = jnp.array(rng.uniform(3, 15, 3)), jnp.array(random_angles(rng, number))
    lattice = np.asarray(_lattice(lengths, angles, number))
    rotations, translations = _operations(number)
    cart_rotations = group_tables().cart_rotations[number, : len(rotations)]
    assert np.allclose(cart_rotations @ cart_rotations.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    frac_coords = rng.uniform(size=(5, 3))
    images = frac_coords @ rotations.transpose(0, 2, 1) + translations[:, None]
    cartesian = frac_coords @ lattice @ cart_rotations.transpose(0, 2, 1) + (translations @ lattice)[:, None]
    assert np.allclose(images @ lattice, cartesian, atol=1e-9)


def test_padding_is_zero():
    tables = group_tables()
    for number in range(231):
        num_ops = tables.num_ops[number]
        for table in (tables.rotations, tables.translations, tables.cart_rotations, tables.product):
            assert not table[number, num_ops:].any()
    assert tables.num_ops.max() == 48


@pytest.mark.parametrize(
    ("number", "family"),
    [(2, 0), (3, 1), (15, 1), (16, 2), (74, 2), (75, 3), (142, 3), (143, 4), (166, 4), (194, 4), (195, 5)],
)
def test_family(number, family):
    assert group_tables().family[number] == family
    assert len(FAMILIES) == 6
