"""Subgroups of point groups: all of them, closed, and joined as their products say."""

import numpy as np

from jaxcrystal.crystal import MAX_OPS
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.subgroups import MAX_SUBGROUPS, subgroup_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.groups import each_group


def _closed(product, ops):
    """The group that operations generate, by brute force."""
    members = np.zeros(len(product), bool)
    members[[0, *ops]] = True
    while True:
        index = np.flatnonzero(members)
        grown = members.copy()
        grown[product[np.ix_(index, index)]] = True
        if (grown == members).all():
            return members
        members = grown


def _subgroups(number):
    """Different subgroups of a space group: the rows of the table without repetitions."""
    tables = subgroup_tables()
    members = tables.members[tables.kind[number]]
    return members[: 1 + np.flatnonzero(members.sum(1) > 1).max(initial=0)]


def test_numbers_of_subgroups() -> None:
    """Of 1, -1, 2/m, mmm, 4/mmm, -3m, 6/mmm and m-3m, as the literature has them."""
    known = {1: 1, 2: 2, 10: 5, 47: 16, 123: 35, 162: 16, 191: 54, 221: MAX_SUBGROUPS}
    assert {number: len(_subgroups(number)) for number in known} == known


@each_group
def test_each_is_a_group_and_stands_once(number: int) -> None:
    order = int(group_tables().num_ops[number])
    product = group_tables().product[number, :order, :order]
    members = _subgroups(number)
    assert len(np.unique(members, axis=0)) == len(members)
    for subgroup in members:
        index = np.flatnonzero(subgroup)
        assert index[-1] < order
        assert subgroup[product[np.ix_(index, index)]].all()
    known = {row.tobytes() for row in members}
    for position in wyckoff_positions(number):
        assert position.stabilizer.tobytes() in known


@each_group
def test_join_is_what_both_generate(number: int) -> None:
    tables, rng = subgroup_tables(), np.random.default_rng(number)
    order = int(group_tables().num_ops[number])
    product = group_tables().product[number, :order, :order]
    members = _subgroups(number)
    for _ in range(12):
        subgroup, op = rng.integers(len(members)), rng.integers(order)
        joined = tables.join[tables.kind[number], subgroup, op]
        wanted = _closed(product, [*np.flatnonzero(members[subgroup]), op])
        assert np.array_equal(members[joined], np.pad(wanted, (0, MAX_OPS - order)))


@each_group
def test_orders_and_mean_rotations(number: int) -> None:
    tables = subgroup_tables()
    rotations = group_tables().cart_rotations[number]
    for subgroup, members in enumerate(_subgroups(number)):
        assert tables.order[tables.kind[number], subgroup] == members.sum()
        mean = tables.mean_rotation[number, subgroup]
        np.testing.assert_allclose(mean, rotations[members].mean(0), atol=1e-12)
        np.testing.assert_allclose(mean @ mean, mean, atol=1e-12)
