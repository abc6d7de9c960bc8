"""Runs of more structures than memory holds are made as they are needed; what no machine holds is refused."""

import weakref

import numpy as np
import pytest

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests import requests as planning
from jaxcrystal.requests.candidates import Candidate, make_candidates
from jaxcrystal.requests.formulas import spread
from jaxcrystal.requests.like import draw_orders
from jaxcrystal.requests.orders import Order, make_order
from jaxcrystal.requests.requests import Request, make_plan
from jaxcrystal.sampling import run_time
from jaxcrystal.sampling.batches import WINDOW
from jaxcrystal.sampling.run import RunSettings, counts_of
from jaxcrystal.sampling.run_folder import PART_SIZE, digest, parts_of
from tests.tiny import cut_in_parts

TITANATE = {"Ba": 1, "Ti": 1, "O": 1}
TWELVE = "Li-Na-K-Rb-Cs-Be-Mg-Ca-Sr-Ba-O-S"


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """The numbers of the structures whose letters are drawn, as they are."""
    numbers, draw = [], Order.draw_letters

    def recorded(self, frequencies, seed, number):
        numbers.append(number)
        return draw(self, frequencies, seed, number)

    monkeypatch.setattr(Order, "draw_letters", recorded)
    return numbers


def test_a_plan_of_a_hundred_million_looks_at_one_window(tiny_model, drawn, monkeypatch) -> None:
    monkeypatch.setattr(run_time, "_product_rate", lambda: 1e9)
    plan = make_plan([Request(space_group=221, sites=TITANATE, count=10**8)], tiny_model.letters)
    candidates = make_candidates(plan.orders, plan.counts, tiny_model.letters, seed=321)
    settings = RunSettings(LangevinConfig(tiny_model.schedule))
    counts = counts_of(candidates, settings)
    work = run_time.describe_work(candidates, tiny_model, settings.config, counts=counts)
    assert work.startswith("100,000,000 crystals: 1 order in 1 space group, ")
    assert digest(candidates) != digest(candidates[:-1])
    (last,) = parts_of(candidates, [10**8 // PART_SIZE - 1])
    assert sorted(candidate.place for candidate in last[1]) == list(range(10**8 - PART_SIZE, 10**8))
    assert len(drawn) < 2 * WINDOW


def test_candidates_are_the_same_one_by_one_in_slices_and_in_a_row(tiny_model) -> None:
    orders = [make_order(221, TITANATE), make_order(62, {"Na": 2}, "free"), make_order(225, {"Na": "a"})]
    candidates = make_candidates(orders, [5, 3, 4], tiny_model.letters, 7, {"gap": np.arange(12), "x": 2.0})
    every = list(candidates)
    assert every == [candidates[n] for n in range(12)] == [*candidates[:5], *candidates[5:]]
    assert [*candidates[1::4]] == every[1::4]
    assert candidates[-1] == every[-1] == Candidate(11, orders[2], 3, ("a",), (("gap", 11.0), ("x", 2.0)))
    assert [c.number for c in every] == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]
    for part in (slice(None), slice(6, 7), slice(4, None, 5), slice(1, None, 4), slice(3, 3), slice(8)):
        assert candidates[part].drawn_orders() == list(dict.fromkeys(c.order for c in every[part]))


@pytest.mark.parametrize("counts", [[5], [5, 3, 4], []])
def test_every_order_has_a_count(tiny_model, counts) -> None:
    orders = [make_order(221, TITANATE), make_order(62, {"Na": 2}, "free")]
    with pytest.raises(RequestError, match=f"{len(counts)} counts for 2 orders: give one for each"):
        make_candidates(orders, counts, tiny_model.letters)


def test_letters_are_drawn_once_and_let_go(drawn) -> None:
    frequencies = LetterFrequencies({})
    candidates = make_candidates([make_order(221, TITANATE)], [9], frequencies)
    assert list(candidates) == list(candidates) == [*candidates[:4], *candidates[4:]]
    assert sorted(drawn) == list(range(9))
    left = weakref.ref(frequencies)
    del candidates, frequencies
    assert left() is None


def test_parts_of_windows_hold_every_structure_once(tiny_model, monkeypatch) -> None:
    monkeypatch.setattr("jaxcrystal.sampling.run_folder.WINDOW", 8)
    orders = [make_order(221, TITANATE), make_order(62, {"Na": 2}, "free")]
    candidates = make_candidates(orders, [9, 14], tiny_model.letters)
    parts = cut_in_parts(candidates, 3)
    assert [len(part) for part in parts] == [3] * 7 + [2]
    assert sorted(c.place for part in parts for c in part) == list(range(23))
    for first in range(0, 8, 2):  # windows of two parts
        places = [c.place for part in parts[first : first + 2] for c in part]
        assert sorted(places) == list(range(3 * first, min(3 * first + 6, 23)))
    assert list(parts_of(candidates, [1, 4, 5, 7], 3)) == [(n, parts[n]) for n in (1, 4, 5, 7)]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"chemical_system": TWELVE}, "3,797 combinations of sites in 1 groups are a request for 3,797"),
        ({"chemical_system": TWELVE, "sites_per_element": range(1, 21)}, "125,970 combinations"),
        (
            {"sites": dict.fromkeys(TWELVE.split("-"), range(1, 61))},
            "different orders, and a run has at most",
        ),
        ({"sites": TITANATE, "count": 2**32}, r"--count is 4294967296; it must be at most 4294967295"),
    ],
)
def test_what_no_machine_holds_is_refused(tiny_model, monkeypatch, request_, message) -> None:
    monkeypatch.setattr(planning, "MOST_ORDERS", 3000)
    values = {name: tuple(v) if isinstance(v, range) else v for name, v in request_.items()}
    with pytest.raises(RequestError, match=message):
        make_plan([Request(space_group=221, **values)], tiny_model.letters)


def test_crystals_of_several_requests_are_counted_together(tiny_model) -> None:
    request = Request(space_group=221, sites=TITANATE, count=2**31)
    with pytest.raises(RequestError, match="the requests ask for 4,294,967,296 crystals"):
        make_plan([request, request], tiny_model.letters)


def test_a_request_that_comes_again_is_planned_once(tiny_model, monkeypatch) -> None:
    planned, plan_formula = [], planning.plan_formula
    monkeypatch.setattr(planning, "plan_formula", lambda *a, **n: planned.append(a) or plan_formula(*a, **n))
    request = Request(formula="NaCl", space_group=(221, 225), count=16)
    one = make_plan([request], tiny_model.letters)
    many = make_plan([request] * 300, tiny_model.letters)
    assert len(planned) == 2
    assert many.orders == one.orders
    assert many.counts == tuple(300 * count for count in one.counts)


def test_combinations_of_a_chemical_system_are_those_that_fit(tiny_model) -> None:
    request = Request(chemical_system="Na-K-O", space_group=221, sites_per_element=(2, 1, 5, 1), max_sites=8)
    plan = make_plan([request], tiny_model.letters)
    numbers = [(first, second, third) for first in (2, 1, 5) for second in (2, 1, 5) for third in (2, 1, 5)]
    fitting = [dict(zip(("Na", "K", "O"), n, strict=True)) for n in numbers if sum(n) <= 8]
    assert plan.orders == tuple(make_order(221, sites) for sites in fitting)
    assert set(plan.counts) == {16}


def test_many_structures_like_a_few(aflow) -> None:
    few = aflow.select(np.flatnonzero(aflow.num_sites == 2)[:3])
    orders, counts = draw_orders(few, 10**9 + 1, "given")
    assert sum(counts) == 10**9 + 1
    assert max(counts) - min(counts) <= 10**9 // 3 + 1  # two of the three may be alike
    assert set(orders) == set(draw_orders(few, 3, "given")[0])


def test_shares_of_many_with_a_limit_beyond_all() -> None:
    weights = np.sort(np.random.default_rng(0).random(50_000))[::-1]
    assert spread(weights, 50_000, 1).tolist() == [1] * 50_000
    assert spread(weights[:3], 10, 10**20).sum() == 10
    assert spread(np.array([8.0, 1.0, 1.0]), 6, 3).tolist() == [3, 2, 1]
