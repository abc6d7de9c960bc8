"""Letters by stabiliser: any site of any position is found, by the operation that the host takes."""

import numpy as np

from jaxcrystal.symmetry.letter_tables import letter_tables
from jaxcrystal.symmetry.stabilizer_letters import stabilizer_letters
from jaxcrystal.symmetry.subgroups import subgroup_tables
from jaxcrystal.symmetry.wyckoff import group_operations, locate, wyckoff_positions
from tests.crystals import operations_near, random_point
from tests.groups import each_group


def _fitting(number, site, stabilizer):
    """The first letter and operation that fit, and the other letters that do."""
    tables, subgroups = stabilizer_letters(), subgroup_tables()
    members = subgroups.members[subgroups.kind[number]]
    subgroup = int(np.flatnonzero((members == stabilizer).all(1))[0])
    first, count = tables.first_pair[number, subgroup], tables.num_pairs[number, subgroup]
    rows = range(first, first + count)
    pairs = [(int(tables.pair_letter[row]), int(tables.pair_op[row])) for row in rows]
    across = [tables.pair_normal[row] @ site + tables.pair_offset[row] for row in rows]
    fits = [pair for pair, x in zip(pairs, across, strict=True) if np.abs(x - np.rint(x)).max() < 1e-9]
    assert pairs == sorted(pairs)
    return fits[0], {letter for letter, _ in fits[1:]}


@each_group
def test_images_of_all_positions_are_found(number: int) -> None:
    rng = np.random.default_rng(number)
    rotations, translations, primitive = group_operations(number)
    for letter, position in enumerate(wyckoff_positions(number)):
        for op in rng.integers(len(rotations), size=3):
            site = rotations[op] @ random_point(rng, position) + translations[op]
            site = site + rng.integers(-2, 3, 3) @ primitive
            stabilizer = operations_near(site, np.eye(3), number, 1e-9)
            if stabilizer.sum() > position.stabilizer.sum():  # by chance on a higher position
                continue
            (found, with_op), others = _fitting(number, site, stabilizer)
            assert found == letter
            assert not others - {letter}
            assert with_op == locate(site, number, position.letter, 1e-9)[0]


@each_group
def test_normals_tell_points_of_a_position(number: int) -> None:
    """On a position they are integers, and the steps change one of them each by 1."""
    tables, rng = letter_tables(), np.random.default_rng(number)
    for letter, position in enumerate(wyckoff_positions(number)):
        normal, step = tables.normal[number, letter], tables.step[number, letter]
        rows = 3 - position.num_free
        assert not normal[rows:].any()
        np.testing.assert_allclose(normal[:rows] @ step[:rows].T, np.eye(rows), atol=1e-9)
        across = normal @ (random_point(rng, position) - position.origin)
        np.testing.assert_allclose(across, 0.0, atol=1e-9)
