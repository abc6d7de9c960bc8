"""All 1,731 Wyckoff positions: their algebra, and against pyxtal and spglib."""

import json

import numpy as np
import pytest
import spglib

from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.symmetry import wyckoff
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.orbits import expand_orbit
from jaxcrystal.symmetry.wyckoff import group_operations, locate, wyckoff_position, wyckoff_positions
from tests.crystals import operations_near
from tests.groups import GROUPS, each_group

#: A cell of each family that no larger family allows, Å.
LATTICES = {
    "triclinic": np.array([[7.1, 0, 0], [1.3, 8.3, 0], [-0.9, 1.7, 9.7]]),
    "monoclinic": np.array([[7.1, 0, 0], [0, 8.3, 0], [-1.9, 0, 9.7]]),
    "orthorhombic": np.diag([7.1, 8.3, 9.7]),
    "tetragonal": np.diag([8.3, 8.3, 9.7]),
    "hexagonal": np.array([[8.3, 0, 0], [-4.15, 4.15 * np.sqrt(3), 0], [0, 0, 9.7]]),
    "cubic": np.diag([8.3, 8.3, 8.3]),
}


def _lattice(number):
    return LATTICES[FAMILIES[group_tables().family[number]]]


def _residual(vectors, primitive):
    """How far fractional vectors are from lattice vectors."""
    coefficients = np.asarray(vectors) @ np.linalg.inv(primitive)
    return np.abs(coefficients - np.round(coefficients)).max(-1)


def _generic_point(position, rng):
    return position.origin + rng.uniform(0.05, 0.95, position.num_free) @ position.basis


def _same_sets(first, second):
    apart = first[:, None] - second
    apart = np.abs(apart - np.round(apart)).max(-1) < 1e-6
    return (apart.sum(0) == 1).all() and (apart.sum(1) == 1).all()


def test_number_of_positions():
    assert sum(len(wyckoff_positions(number)) for number in GROUPS) == 1731


@each_group
def test_algebra(number):
    """Stabilisers are groups and projections project; one operation is kept for each coset."""
    tables = group_tables()
    rotations, translations, primitive = group_operations(number)
    num_ops, rng = len(rotations), np.random.default_rng(number)
    positions = wyckoff_positions(number)
    letters = "abcdefghijklmnopqrstuvwxyzA"
    assert "".join(p.letter for p in positions) == letters[: len(positions)]
    assert wyckoff.fixed_letters(number) == {p.letter for p in positions if p.num_free == 0}
    assert positions[-1].num_free == 3
    assert positions[-1].stabilizer.sum() == 1
    for position in positions:
        members = np.flatnonzero(position.stabilizer)
        assert position.stabilizer[0]
        assert position.stabilizer[tables.product[number][np.ix_(members, members)]].all()
        assert position.stabilizer[tables.inverse[number][members]].all()

        kept = np.flatnonzero(position.site_ops)
        assert position.site_ops[0]
        assert len(kept) * len(members) == num_ops
        cosets = tables.product[number][np.ix_(kept, members)]
        assert np.array_equal(np.sort(cosets.ravel()), np.arange(num_ops))
        assert np.array_equal(cosets.min(1), kept)
        assert position.multiplicity == len(kept) * tables.num_centring[number]

        projection = position.projection
        assert np.allclose(projection @ projection, projection)
        assert np.trace(projection) == pytest.approx(position.num_free)
        assert np.allclose(rotations[members] @ projection, projection)
        assert np.allclose(projection @ rotations[members], projection)
        assert np.allclose(position.basis @ projection.T, position.basis)
        # Orthogonal in the metric of the crystal, not only in fractional coordinates.
        metric = _lattice(number) @ _lattice(number).T
        assert np.allclose(metric @ projection, (metric @ projection).T)

        for _ in range(2):
            site = _generic_point(position, rng)
            fixed = _residual(rotations @ site + translations - site, primitive) < 1e-9
            assert np.array_equal(fixed, position.stabilizer[:num_ops])


@each_group
def test_basis_is_uniform(number):
    """Coprime minors: `u` in [0, 1) covers the subspace as often everywhere."""
    for position in wyckoff_positions(number):
        basis = np.rint(position.basis).astype(int)
        assert np.array_equal(basis, position.basis)
        minors = {1: basis.ravel(), 2: np.cross(*basis[:2]) if len(basis) == 2 else None}
        if position.num_free in (1, 2):
            assert np.gcd.reduce(minors[position.num_free]) == 1
        elif position.num_free == 3:
            assert np.array_equal(basis, np.eye(3))


@each_group
def test_positions_differ(number):
    """No position is an image of another: every letter is there once."""
    rng = np.random.default_rng(number)
    positions = wyckoff_positions(number)
    for position in positions:
        site = _generic_point(position, rng)
        for other in positions:
            if other.num_free == position.num_free and other.letter != position.letter:
                with pytest.raises(DataError):
                    locate(site, number, other.letter, 1e-6)


@pytest.mark.parity
@each_group
def test_orbits_are_those_of_pyxtal(number):
    """Letters, multiplicities, atoms and directions, from the tables pyxtal ships.

    Its setting is the standard one of the International Tables, with the origin at
    choice 2, so coordinates are moved to choice 1 first.
    """
    symmetry = pytest.importorskip("pyxtal.symmetry")
    halls = symmetry.Hall(number)
    first = halls.hall_numbers.index(group_tables().hall_number[number])
    change, shift = halls.P1s[first]
    assert np.array_equal(change, np.eye(3))
    rng = np.random.default_rng(number)
    theirs = {w.letter: w for w in symmetry.Group(number)}
    assert set(theirs) == {p.letter for p in wyckoff_positions(number)}
    for position in wyckoff_positions(number):
        reference = theirs[position.letter]
        assert reference.multiplicity == position.multiplicity
        assert reference.get_dof() == position.num_free
        parameters = rng.uniform(size=3)
        atoms = np.array([op.operate(parameters) for op in reference.ops]) + shift
        op_index, site = locate(atoms[0], number, position.letter, 1e-6)
        assert _same_sets(expand_orbit(site, position.site_ops, number), atoms)
        linear = group_operations(number)[0][op_index] @ reference.ops[0].rotation_matrix
        assert np.linalg.matrix_rank(linear) == position.num_free
        assert np.allclose(position.projection @ linear, linear)


@pytest.mark.parity
@pytest.mark.parametrize(
    "number",
    [1, 2, 5, 12, 15, 16, 19, 38, 43, 47, 62, 63, 68, 70, 72, 87, 88, 99, 123, 129, 136, 139, 141, 146, 152]
    + [160, 164, 166, 167, 176, 186, 189, 191, 194, 198, 205, 206, 210, 216, 217, 221, 225, 227, 229, 230],
)
def test_letters_are_those_of_spglib(number):
    """Every letter in one structure, as the preparation of data meets it.

    spglib may move the structure by an operation of the normaliser, so its letters hold
    for its own standardised coordinates.
    """
    rng = np.random.default_rng(number)
    positions = wyckoff_positions(number)
    few = len(group_operations(number)[0]) < 16
    sites = [*positions, *[positions[-1]] * (3 if few else 0)]
    orbits = [expand_orbit(_generic_point(p, rng), p.site_ops, number) for p in sites]
    assert [len(orbit) for orbit in orbits] == [p.multiplicity for p in sites]
    kinds = np.repeat(np.arange(len(sites)) + 1, [len(orbit) for orbit in orbits])
    cell = (3 * _lattice(number), np.concatenate(orbits), kinds)
    hall_number = int(group_tables().hall_number[number])
    dataset = spglib.get_symmetry_dataset(cell, symprec=1e-4, hall_number=hall_number)
    assert dataset.number == number
    for kind in np.unique(kinds):
        atom = int(np.flatnonzero(kinds == kind)[0])
        letter = dataset.wyckoffs[atom]
        position = wyckoff_position(number, letter)
        assert position.multiplicity == (kinds == kind).sum()
        standard = dataset.transformation_matrix @ cell[1][atom] + dataset.origin_shift
        _, site = locate(standard, number, letter, 1e-4)
        found = operations_near(site, _lattice(number), number, 1e-3)
        assert np.array_equal(found, position.stabilizer)


@pytest.mark.property
@each_group
def test_locate_finds_any_image(number):
    rng = np.random.default_rng(number)
    rotations, translations, primitive = group_operations(number)
    for position in wyckoff_positions(number):
        site = _generic_point(position, rng)
        op = rng.integers(len(rotations))
        image = rotations[op] @ site + translations[op] + rng.integers(-3, 4, 3) @ primitive
        op_index, found = locate(image, number, position.letter, 1e-6)
        assert _residual(rotations[op_index] @ image + translations[op_index] - found, primitive) < 1e-9
        away = np.eye(3) - position.projection
        assert np.abs(away @ (found - position.origin)).max() < 1e-9
        free = (found - position.origin) @ np.linalg.pinv(position.basis)
        assert ((free >= 0) & (free < 1 + 1e-9)).all()
        # A site that is a little off comes out exactly on the subspace.
        noise = rng.uniform(-1e-4, 1e-4, 3)
        _, moved = locate(image + noise, number, position.letter, 1e-2)
        assert np.abs(away @ (moved - position.origin)).max() < 1e-9


def test_locate_refuses_a_site_that_is_elsewhere():
    with pytest.raises(DataError, match=r"position a of group 225, more than 0\.01"):
        locate(np.array([0.1, 0.2, 0.3]), 225, "a")


def test_representatives_read_as_in_the_tables():
    texts = json.loads((wyckoff.Path(wyckoff.__file__).with_name("wyckoff.json")).read_text())
    assert texts["225"]["a"] == "0,0,0"
    assert texts["221"]["e"] == "x,0,0"
    assert texts["194"]["c"] == "1/3,2/3,1/4"
    assert texts["62"]["c"] == "x,1/4,z"
    assert texts["227"]["a"] == "0,0,0"


@pytest.mark.parametrize("number", [2, 47, 48, 88, 146, 167, 199])
def test_file_is_what_the_script_derives(number):
    pytest.importorskip("sympy")
    from tests.symmetry.derive_wyckoff import derive_group

    texts = json.loads((wyckoff.Path(wyckoff.__file__).with_name("wyckoff.json")).read_text())
    assert derive_group(number) == texts[str(number)]


def test_the_27th_letter():
    assert wyckoff_positions(47)[-1].letter == "A"
    assert wyckoff_positions(47)[-1].multiplicity == 8


def test_tables_are_shared_and_read_only():
    position = wyckoff_position(225, "a")
    assert position is wyckoff_position(225, "a")
    with pytest.raises(ValueError, match="read-only"):
        position.origin[0] = 1.0


def test_errors_say_what_exists():
    with pytest.raises(RequestError, match=r"group 221 has no Wyckoff position 'z': it has 1a, 1b, 3c"):
        wyckoff_position(221, "z")
    with pytest.raises(RequestError, match="231 does not exist"):
        wyckoff_positions(231)
