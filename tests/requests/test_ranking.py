"""The ranking over groups and formula units: weights as documented, each assignment once, in order."""

import math
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.assignments import AssignmentSpace
from jaxcrystal.requests.ranking import Ranking, seen_assignments, seen_patterns

A, B, C, D = ("a",), ("b",), ("c",), ("d",)
TABLE = LetterFrequencies(
    {
        221: {
            (1, 1): {(A, B): 10, (A, C): 4},
            (1, 1, 1): {(A, B, C): 3, (A, B, D): 1},
        },
        123: {(1, 1): {(A, D): 6, (B, C): 1}, (2, 2): {(("a", "c"), ("b", "d")): 1}},
        62: {(1, 1): {(C, C): 5}, (2, 2): {(("c", "c"), ("c", "c")): 7}},
    }
)


def seen_of(group, formula, table, **options):
    """Formula units -> what was seen of one group."""
    found = seen_assignments(*seen_patterns((group,), range(1, 100), formula, table, **options))
    return {units: shares for (_, units), shares in found.items()}


def test_a_pattern_is_shared_by_the_elements_that_it_fits() -> None:
    # One atom each of Ti and Ba on a and b, three O on c or d: both are possible for each.
    found = seen_of(221, (3, 1, 1), TABLE)
    assert found == {
        1: {(C, A, B): (1.5, 3), (C, B, A): (1.5, 3), (D, A, B): (0.5, 1), (D, B, A): (0.5, 1)},
    }


def test_elements_on_the_same_letters_are_one_assignment() -> None:
    assert seen_of(62, (1, 1), TABLE) == {4: {(C, C): (5.0, 5)}, 8: {(("c", "c"),) * 2: (7.0, 7)}}


def test_formula_units_and_wrong_compositions() -> None:
    found = seen_of(123, (1, 1), TABLE)
    assert set(found) == {1, 2}
    assert found[2] == {(("a", "c"), ("b", "d")): (0.5, 1), (("b", "d"), ("a", "c")): (0.5, 1)}
    assert seen_of(221, (1, 1), TABLE) == {1: {(A, B): (5.0, 10), (B, A): (5.0, 10)}}
    assert seen_of(221, (1, 3), TABLE) == {1: {(A, C): (4.0, 4)}}
    assert seen_of(221, (3, 1), TABLE) == {1: {(C, A): (4.0, 4)}}
    assert seen_of(16, (1, 1), TABLE) == {}


def test_patterns_beyond_the_limit_of_sites_do_not_count() -> None:
    assert set(seen_of(62, (1, 1), TABLE, max_sites=3)) == {4}


def test_a_pattern_that_fits_in_too_many_ways_is_as_good_as_unseen() -> None:
    letters = tuple((x,) for x in "abcdefgh")
    table = LetterFrequencies({16: {(1,) * 8: {letters: 3}}})
    assert seen_of(16, (1,) * 8, table) == {}
    ranking = Ranking((1,) * 8, (16,), (1,), table)
    assert (ranking.seen, ranking.alpha) == (0.0, 1.0)
    assert next(iter(ranking)).seen == 0


def expected_weights(formula, groups, units, table):
    """Weights as the module documents them, from whole enumerations."""
    sources = {}
    for group in groups:
        space = AssignmentSpace(group, formula, table.site_weights(group), max(units))
        for n in units:
            found = {a: math.exp(space.log_weight(a)) for _, a in space.ranked(n)}
            if found:
                sources[group, n] = found
    structures = {
        group: 1 + sum(n for kinds in table.assignments.get(group, {}).values() for n in kinds.values())
        for group in groups
    }
    seen = seen_assignments(*seen_patterns(groups, units, formula, table))
    alpha = 1 + sum(share for found in seen.values() for share, number in found.values() if number == 1)
    whole = sum(structures[group] for group, _ in sources)
    return {
        (group, n, a): seen.get((group, n), {}).get(a, (0, 0))[0]
        + alpha * structures[group] / whole * prior / sum(found.values())
        for (group, n), found in sources.items()
        for a, prior in found.items()
    }


@pytest.mark.parametrize(
    ("formula", "units"),
    [((1, 1), (1, 2)), ((1, 1), (2, 4)), ((1, 1, 3), (1,)), ((1, 2), (3, 1)), ((3,), (1, 2))],
)
def test_every_assignment_once_in_descending_weight(formula, units) -> None:
    groups = (62, 221, 123, 225, 194, 230)
    expected = expected_weights(formula, groups, units, TABLE)
    ranking = Ranking(formula, groups, units, TABLE)
    found = list(ranking)
    assert Counter((r.space_group, r.units, r.assignment) for r in found) == Counter(expected.keys())
    assert len(found) == ranking.number == sum(ranking.numbers.values())
    for ranked in found:
        key = ranked.space_group, ranked.units, ranked.assignment
        assert ranked.weight == pytest.approx(expected[key], rel=1e-6)
    weights = [ranked.weight for ranked in found]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(ranking.total)
    assert ranking.total == pytest.approx(ranking.seen + ranking.alpha)


@pytest.mark.property
@given(
    formula=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    groups=st.lists(st.integers(1, 230), min_size=1, max_size=4, unique=True),
    units=st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
)
def test_the_beginning_of_any_ranking_is_in_order(formula, groups, units) -> None:
    ranking = Ranking(formula, groups, units, TABLE)
    found = list(islice(ranking, 200))
    assert len(found) == min(200, ranking.number)
    assert len({(r.space_group, r.units, r.assignment) for r in found}) == len(found)
    weights = [ranked.weight for ranked in found]
    assert weights == sorted(weights, reverse=True)
    assert {ranked.space_group for ranked in found} <= set(groups)
    if len(found) == ranking.number and found:
        assert sum(weights) == pytest.approx(ranking.total)


def test_the_order_of_groups_and_units_does_not_matter() -> None:
    one = Ranking((1, 1), (62, 221, 123), (1, 2, 4), TABLE)
    two = Ranking((1, 1), (123, 62, 221), (4, 1, 2), TABLE)
    assert one.number == two.number
    weights = {(r.space_group, r.units, r.assignment): r.weight for r in one}
    assert {(r.space_group, r.units, r.assignment): r.weight for r in two} == pytest.approx(weights)


def test_like_elements_are_believed() -> None:
    """A cation goes where cations were; what weighs together stays the same."""
    table = LetterFrequencies(
        {221: {(1, 1): {(A, B): 3}}, 225: {(1, 1): {(A, B): 3}}},
        {221: {(1, 1): {(A, B): ((55, 17), (55, 35), (37, 35))}}, 225: {(1, 1): {(A, B): ((11, 17),) * 3}}},
    )
    blind = Ranking((1, 1), (221, 225), (1,), table)
    salt = Ranking((1, 1), (221, 225), (1,), table, elements=(19, 17))
    swapped = Ranking((1, 1), (221, 225), (1,), table, elements=(17, 19))
    assert blind.seen == pytest.approx(salt.seen) == pytest.approx(swapped.seen) == pytest.approx(6.0)
    assert blind.total == pytest.approx(salt.total)

    def share(ranking, group, assignment):
        return ranking.weight(group, 1, assignment)[1]

    assert share(blind, 225, (A, B)) == share(blind, 221, (B, A)) == pytest.approx(1.5)
    # K and Cl: as Na and Cl in 225 rather than as Cs and Cl in 221, and not as Cl and Na.
    assert share(salt, 225, (A, B)) > share(salt, 221, (A, B)) > 1 > share(salt, 225, (B, A)) > 0
    assert share(swapped, 225, (B, A)) == pytest.approx(share(salt, 225, (A, B)))


def test_what_was_seen_once_sets_what_the_unseen_weigh() -> None:
    assert Ranking((1, 1), (221, 123), (1,), TABLE).alpha == pytest.approx(2.0)  # b c of 123 was seen once
    assert Ranking((1, 1), (221,), (1,), TABLE).alpha == 1.0
    nothing = Ranking((1, 1), (221,), (1,), LetterFrequencies({}))
    assert (nothing.seen, nothing.alpha, nothing.total) == (0.0, 1.0, 1.0)
    assert sum(ranked.weight for ranked in nothing) == pytest.approx(1.0)
