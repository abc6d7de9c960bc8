"""Assignments: complete, each once, in order, exactly counted, and lazy where there are too many."""

import math
from collections import Counter
from itertools import combinations_with_replacement, islice, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.assignments import AssignmentSpace
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.letters.legal import is_legal

#: All crystal systems and centrings; 47 has 27 letters, 61 has two fixed and one general one.
GROUPS = (
    [1, 2, 4, 5, 8, 12, 14, 15]  # triclinic and monoclinic
    + [16, 19, 22, 25, 31, 38, 42, 47, 52, 61, 62, 63, 65, 70, 74]  # orthorhombic
    + [75, 81, 88, 99, 113, 123, 129, 136, 139, 141, 142]  # tetragonal
    + [143, 146, 148, 155, 160, 161, 166, 167]  # trigonal, rhombohedral ones among them
    + [168, 176, 183, 187, 191, 194]  # hexagonal
    + [195, 198, 205, 214, 216, 221, 225, 227, 229, 230]  # cubic
)
BLIND = LetterFrequencies({})


def multiplicities(group):
    """Atoms in the primitive cell, from those in the conventional one."""
    centring = int(group_tables().num_centring[group])
    return {p.letter: p.multiplicity // centring for p in wyckoff_positions(group)}


def brute_force(group, atoms, max_sites=20):
    """Every assignment, by trying all sets of letters for each element."""
    sizes = multiplicities(group)
    options = [
        [
            letters
            for number in range(1, min(n, max_sites) + 1)
            for letters in combinations_with_replacement(sorted(x for x in sizes if sizes[x] <= n), number)
            if sum(sizes[x] for x in letters) == n
        ]
        for n in atoms
    ]
    return [a for a in product(*options) if sum(map(len, a)) <= max_sites and is_legal(group, a)]


def polynomial_count(group, atoms, max_sites):
    """The number of assignments as a coefficient of a product of series, in whole numbers."""
    ways = Counter({(*(0 for _ in atoms), 0): 1})
    for position in wyckoff_positions(group):
        size = multiplicities(group)[position.letter]
        if position.num_free == 0:
            choices = [tuple(int(e == chosen) for e in range(len(atoms))) for chosen in range(len(atoms))]
            choices.append((0,) * len(atoms))
        else:
            choices = list(product(*(range(n // size + 1) for n in atoms)))
        following: Counter = Counter()
        for (*placed, sites), number in ways.items():
            for choice in choices:
                key = tuple(p + size * c for p, c in zip(placed, choice, strict=True))
                if all(k <= n for k, n in zip(key, atoms, strict=True)) and sites + sum(choice) <= max_sites:
                    following[(*key, sites + sum(choice))] += number
        ways = following
    return sum(number for key, number in ways.items() if key[:-1] == tuple(atoms))


def assert_complete(space, units, expected):
    found = list(space.ranked(units))
    assert {assignment for _, assignment in found} == set(expected)
    assert len(found) == len(expected) == space.number(units)
    logs = [log for log, _ in found]
    assert logs == sorted(logs, reverse=True)  # exactly: log weights are rounded so that sums are exact
    assert logs == [space.log_weight(assignment) for _, assignment in found]
    if found:
        assert space.log_best(units) == logs[0]
        assert space.log_total(units) == pytest.approx(math.log(np.exp(logs).sum()), abs=1e-9)
    else:
        assert space.log_best(units) == space.log_total(units) == -math.inf


@pytest.mark.parity
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("formula", "max_units"), [((1,), 4), ((1, 1), 2), ((1, 2), 2), ((1, 1, 3), 1)])
def test_complete_and_free_of_duplicates(group, formula, max_units) -> None:
    space = AssignmentSpace(group, formula, BLIND.site_weights(group), max_units)
    for units in range(1, max_units + 1):
        assert_complete(space, units, brute_force(group, [n * units for n in formula]))


@pytest.mark.parity
@pytest.mark.parametrize(
    ("group", "formula", "max_units"),
    [
        (227, (1, 2, 4), 2),
        (62, (1, 1, 3), 4),
        (225, (1, 1, 2, 6), 1),
        (166, (2, 3), 2),
        (194, (1, 2, 2), 2),
        (229, (6, 8), 2),
        (230, (2, 3, 3), 4),
        (205, (1, 2), 4),
    ],
)
def test_complete_for_larger_cells(group, formula, max_units) -> None:
    space = AssignmentSpace(group, formula, BLIND.site_weights(group), max_units)
    for units in range(1, max_units + 1):
        assert_complete(space, units, brute_force(group, [n * units for n in formula]))


@pytest.mark.property
@given(
    group=st.integers(1, 230),
    formula=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    max_sites=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_complete_for_any_group_weights_and_number_of_sites(group, formula, max_sites, seed) -> None:
    draws = np.random.default_rng(seed)
    # Few different weights: many ties.
    weights = {p.letter: float(draws.choice([0.1, 0.25, 1.0])) for p in wyckoff_positions(group)}
    space = AssignmentSpace(group, formula, weights, 1, max_sites)
    assert_complete(space, 1, brute_force(group, formula, max_sites))


@pytest.mark.parametrize("group", [47, 123, 156, 221])
def test_the_limit_of_sites_is_kept(group) -> None:
    whole = brute_force(group, (2, 3))
    for max_sites in range(1, 6):
        space = AssignmentSpace(group, (2, 3), BLIND.site_weights(group), 1, max_sites)
        assert_complete(space, 1, [a for a in whole if sum(map(len, a)) <= max_sites])


@pytest.mark.parametrize("group", [16, 47, 65, 123, 194, 216, 227])
def test_formula_units_do_not_depend_on_how_many_more_can_be_asked_for(group) -> None:
    weights = BLIND.site_weights(group)
    wide = AssignmentSpace(group, (1, 2, 4), weights, 4)
    for units in (1, 2, 3, 4):
        space = AssignmentSpace(group, (units, 2 * units, 4 * units), weights)
        assert wide.number(units) == space.number()
        assert wide.log_best(units) == space.log_best()
        assert list(islice(wide.ranked(units), 50)) == list(islice(space.ranked(), 50))


def test_numbers_beyond_64_bits_are_exact() -> None:
    """Group 25 has free positions only: elements do not hinder each other."""
    ways = [1] + [0] * 150
    for size in multiplicities(25).values():
        for n in range(size, 151):
            ways[n] += ways[n - size]
    assert ways[150] ** 2 > 2**63
    assert AssignmentSpace(25, (150, 150), max_sites=300).number() == ways[150] ** 2


@pytest.mark.parametrize("group", [16, 47, 99, 221])
def test_numbers_are_exact_where_sites_are_limited(group) -> None:
    for max_sites in (4, 9):
        assert AssignmentSpace(group, (3, 6), None, 2, max_sites).number(2) == polynomial_count(
            group, (6, 12), max_sites
        )


@pytest.mark.parametrize("weights", [None, BLIND.site_weights(47)], ids=["all tie", "by multiplicity"])
def test_the_first_of_astronomically_many_come_at_once(weights) -> None:
    space = AssignmentSpace(47, (1, 2, 4), weights, 4)
    assert space.number(4) > 10**12
    first = list(islice(space.ranked(4), 300))
    logs = [log for log, _ in first]
    assert len({assignment for _, assignment in first}) == 300
    assert logs == sorted(logs, reverse=True)
    assert logs[0] == space.log_best(4)
    sizes = multiplicities(47)
    for log, assignment in first:
        assert [sum(sizes[x] for x in letters) for letters in assignment] == [4, 8, 16]
        assert is_legal(47, assignment)
        assert sum(map(len, assignment)) <= 20
        assert log == space.log_weight(assignment)


def test_nothing_is_possible_where_multiplicities_forbid_it() -> None:
    space = AssignmentSpace(230, (1, 2), None, 3)
    for units in (1, 2, 3):
        assert space.number(units) == 0
        assert list(space.ranked(units)) == []
    # 8 atoms fit two positions without free coordinates, which cannot hold both elements twice.
    space = AssignmentSpace(230, (1, 1, 1), None, 8)
    assert space.number(8) == 0


def test_general_position_of_group_47_has_a_capital_letter() -> None:
    weights = dict.fromkeys(multiplicities(47), 0.1)  # the fewer sites the better
    found = [assignment for _, assignment in islice(AssignmentSpace(47, (8, 1), weights).ranked(), 500)]
    assert (("A",), ("a",)) in found
    assert all(letters == tuple(sorted(letters)) for assignment in found for letters in assignment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (1,)), "space group 0 does not exist"),
        ((231, (1,)), "space group 231 does not exist"),
        ((225, ()), "must be at least 1"),
        ((225, (1, 0)), "must be at least 1"),
        ((225, (1,), None, 0), "0 formula units"),
        ((225, (1,), None, 1, 0), "0 sites"),
        ((47, (2,) * 14), "14 elements with 28 atoms are too many for the 27 letters of group 47"),
    ],
)
def test_wrong_requests(arguments, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        AssignmentSpace(*arguments)
    assert "\n" not in str(error.value)


def test_units_that_the_space_was_not_made_for() -> None:
    space = AssignmentSpace(225, (1, 1), None, 2)
    for units in (0, 3, -1):
        with pytest.raises(RequestError, match="made for 1 to 2"):
            space.number(units)
