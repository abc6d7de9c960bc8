"""The pool of assignments: what a request leads to, and how crystals are shared among them round by round."""

import numpy as np
import pytest

from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.requests.pool import FIRST, Pool, make_pool, next_round, steps
from jaxcrystal.requests.requests import make_request

#: Of two sites in group 221: twice both at the corners and centres, once on faces.
LETTERS = LetterFrequencies({221: {(1, 1): {(("a",), ("b",)): 2, (("a",), ("c",)): 1}}})


def pool_of(weights, crystals: int) -> Pool:
    orders = tuple(make_order(221, {"Cu": n}) for n in range(1, len(weights) + 1))
    return Pool(orders, np.array(weights, float), crystals)


def test_letters_of_the_data_by_their_chances() -> None:
    pool = make_pool(
        [
            make_request(
                {"chemical_system": "Cu-Au", "space_group": 221, "sites_per_element": [1], "count": 60}
            )
        ],
        LETTERS,
    )
    found = {order.text: weight for order, weight in zip(pool.orders, pool.weights.tolist(), strict=True)}
    # Each element may have either place; the elements are not known, so that both count the same.
    assert found == pytest.approx(
        {
            "221 Cu=a,Au=b given": 20,
            "221 Cu=b,Au=a given": 20,
            "221 Cu=a,Au=c given": 10,
            "221 Cu=c,Au=a given": 10,
        }
    )
    assert pool.crystals == 60
    assert pool.elements == {29, 79}
    assert pool.weights.tolist() == sorted(pool.weights.tolist(), reverse=True)


def test_the_nearest_letters_are_the_only_ones() -> None:
    seen = {216: {(1, 1): {(("a",), ("b",)): [(11, 17)] * 3, (("a",), ("c",)): [(30, 16)]}}}
    table = LetterFrequencies.of_elements(seen)
    for request in ({"sites": {"Cd": 1, "S": 1}, "space_group": 216}, {"formula": "CdS"}):
        pool = make_pool([make_request({**request, "letters": "nearest", "count": 12})], table)
        assert [order.text for order in pool.orders] == ["216 S=c,Cd=a given"]
        assert pool.weights.tolist() == [12.0]
    ranked = make_request({"sites": {"Cd": 1, "S": 1}, "space_group": 216, "letters": "ranked"})
    assert len(make_pool([ranked], table).orders) == 4


def test_letters_of_no_data_are_drawn() -> None:
    request = make_request({"sites": {"Cu": 1, "Au": 1}, "space_group": 225, "count": 12})
    pool = make_pool([request], LETTERS, seed=3)
    assert {order.mode for order in pool.orders} == {"given"}
    assert pool.weights.sum() == pytest.approx(12)
    assert len(pool.orders) > 3
    again = make_pool([request], LETTERS, seed=3)
    assert again.orders == pool.orders
    assert make_pool([request], LETTERS, seed=4).orders != pool.orders


def test_free_sites_and_given_letters_are_assignments_themselves() -> None:
    free = make_request({"sites": {"Cu": 2}, "space_group": 221, "letters": "free", "count": 5})
    given = make_request({"wyckoff": {"Cu": "a", "Au": "b"}, "space_group": 221, "count": 7})
    pool = make_pool([free, given], LETTERS)
    assert [order.text for order in pool.orders] == ["221 Cu=a,Au=b given", "221 Cu=2 free"]
    assert pool.weights.tolist() == [7, 5]
    assert pool.crystals == 12


def test_a_formula_has_as_many_assignments_as_crystals() -> None:
    """By weight most would get none; they are there for when the heavy ones are spent."""
    request = make_request({"formula": "Cu3Au", "count": 30, "space_group": "221,123"})
    pool = make_pool([request], LETTERS)
    assert len(pool.orders) == 30
    assert pool.weights.sum() == pytest.approx(30)
    assert pool.weights[-1] < 0.5
    few = make_request({"formula": "CuAu", "count": 30, "space_group": 221, "formula_units": [1]})
    # There are no more than these: a and b, and each with the other element.
    assert len(make_pool([few], LETTERS).orders) < 30


def test_what_rounds_cannot_keep_to_is_refused() -> None:
    request = make_request({"formula": "Cu3Au", "count": 30, "space_group": 221, "at_most": 2})
    with pytest.raises(RequestError, match="at_most does not go with rounds"):
        make_pool([request], LETTERS)


def test_rounds_share_by_weight_until_assignments_are_spent() -> None:
    pool, drawn = pool_of([60, 30, 10], 100), np.zeros(3, int)
    none = np.zeros(3, bool)
    first = next_round(pool, drawn, none, 10, 100)
    assert first.tolist() == [6, 3, 1]
    # At most so many: the others get the rest.
    assert next_round(pool, drawn, none, 10, FIRST).tolist() == [4, 4, 2]
    # What the heaviest would have had goes to the others in proportion.
    spent = np.array([True, False, False])
    assert next_round(pool, first, spent, 12, 100).tolist() == [0, 9, 3]
    assert next_round(pool, first, ~none, 12, 100).tolist() == [0, 0, 0]
    assert next_round(pool, np.array([4, 4, 4]), none, 12, FIRST).tolist() == [0, 0, 0]


def test_no_round_is_larger_than_it_may_be() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        number = int(rng.integers(1, 20))
        pool = pool_of(sorted(rng.exponential(size=number).tolist(), reverse=True), 100)
        drawn, at_most = rng.integers(0, 9, number), 9
        step = int(rng.integers(0, 40))
        spent = rng.random(number) < 0.3
        counts = next_round(pool, drawn, spent, step, at_most)
        assert counts.min() >= 0
        assert counts.sum() <= step
        assert (drawn + counts).max() <= at_most
        assert not counts[spent].any()
        room = (at_most - drawn[~spent]).sum()
        assert counts.sum() > 0 or step == 0 or room == 0


def test_steps() -> None:
    pool = pool_of([1], 100)
    assert [steps(pool, None, drawn, 0) for drawn in (0, 25, 90, 100)] == [25, 25, 10, 0]
    assert steps(pool, 40, 0, 0) == 40
    assert steps(pool, 40, 40, 20) == 40  # every second one was new
    assert steps(pool, 40, 80, 1) == 4 * 39  # not as many as that would take, lest new ones come oftener
    assert steps(pool, 40, 100, 41) == 0


def test_candidates_go_on_where_others_ended() -> None:
    """Numbers, places and letters are those of one run with all of them."""
    orders = [make_order(221, {"Cu": 1, "Au": 1}), make_order(225, {"Cu": 2}), make_order(221, {"Ni": 1})]
    every = make_candidates(orders, [5, 4, 3], LETTERS, seed=2)
    first = make_candidates(orders, [3, 4, 0], LETTERS, 2, before=[0, 0, 0])
    second = make_candidates(orders, [2, 0, 3], LETTERS, 2, before=[3, 4, 0])
    assert len(first) + len(second) == len(every)
    found = sorted((one.order.text, one.number, one.letters) for one in [*first, *second])
    assert found == sorted((one.order.text, one.number, one.letters) for one in every)
    assert [one.place for one in [*first, *second]] == list(range(12))
    assert second.drawn_orders() == [orders[0], orders[2]]
    assert [one.number for one in second[1:4]] == [4, 0, 1]
