"""Requests, files of orders, and the orders they come to."""

import pytest

from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.orders import make_order, parse_numbers
from jaxcrystal.requests.requests import Request, common_groups, make_plan, read_requests, space_groups

ORDERS = """
[[order]]
space_group = [221, "Fm-3m"]
sites = {Ba = 1, O = [1, 2]}
count = 3

[[order]]
space_group = 221
wyckoff = {Ba = "a", Ti = "b", O = "c"}
count = 5

[[order]]
space_group = "Pm-3m"
wyckoff = {Ti = "b", O = "c", Ba = "a"}
count = 2
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_file_of_orders(tmp_path, tiny_model) -> None:
    requests = read_requests(write(tmp_path / "orders.toml", ORDERS))
    plan = make_plan(requests, tiny_model.letters)
    one, two = {"Ba": 1, "O": 1}, {"Ba": 1, "O": 2}
    expected = {
        make_order(221, one): 3,
        make_order(221, two): 3,
        make_order(225, one): 3,
        make_order(225, two): 3,
        make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}): 7,  # asked for twice
    }
    assert dict(zip(plan.orders, plan.counts, strict=True)) == expected
    assert "       7  221 O=c,Ti=b,Ba=a given" in plan.describe()
    assert plan.describe(max_rows=2).splitlines()[-1].endswith("and 3 more")


def test_chemical_system(tiny_model) -> None:
    request = Request(chemical_system="Cu-Si-K", space_group="62,139", count=4)
    plan = make_plan([request], tiny_model.letters)
    assert len(plan.orders) == 2 * 2**3
    assert set(plan.counts) == {4}
    assert {order.num_sites for order in plan.orders} == {3, 4, 5, 6}
    assert all(order.elements == (14, 19, 29) for order in plan.orders)
    few = Request(chemical_system="Cu-Si-K", space_group=62, max_sites=4)
    assert len(make_plan([few], tiny_model.letters).orders) == 4


def test_formula(tiny_model) -> None:
    request = Request(formula="BaTiO3", space_group="221,99", formula_units=(1,), count=30, at_most=20)
    plan = make_plan([request], tiny_model.letters)
    assert sum(plan.counts) == 30
    assert max(plan.counts) <= 20
    assert {order.space_group for order in plan.orders} <= {221, 99}
    assert all(order.mode == "given" for order in plan.orders)
    (note,) = plan.notes
    assert "BaTiO3: " in note
    assert "assignments in space groups 221 (Pm-3m), 99 (P4mm) with 1 formula unit" in note


def test_groups(tiny_model) -> None:
    from jaxcrystal.model import load_model

    letters = load_model().letters
    assert space_groups("any", letters) == tuple(range(1, 231))
    common = space_groups("common", letters)
    assert len(common) == 32
    assert set(common) == set(common_groups(letters))
    # Those of most structures of the training data; the largest is that of the spinels and Heuslers.
    assert common[0] == 225
    assert space_groups(["Pm-3m", 62, "221,139"], letters) == (221, 62, 139)
    # A chemical system is looked for in the common groups.
    plan = make_plan([Request(chemical_system="Na-Cl", sites_per_element=(1,))], letters)
    assert [order.space_group for order in plan.orders] == list(common)
    assert space_groups("common", tiny_model.letters) == (221,)


@pytest.mark.parametrize("space_group", ["common", ()])
def test_no_group_at_all(space_group) -> None:
    request = Request(chemical_system="Na-Cl", space_group=space_group)
    with pytest.raises(RequestError, match="there is no space group in"):
        make_plan([request], LetterFrequencies({}))


def test_numbers() -> None:
    assert parse_numbers("1,2, 4", "--formula-units") == (1, 2, 4)
    with pytest.raises(RequestError, match=r"--formula-units is '1,x'; expected whole numbers"):
        parse_numbers("1,x", "--formula-units")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "give one of sites, wyckoff, formula, chemical-system, like; got none"),
        ({"formula": "NaCl", "sites": {"Na": 1}}, "got sites and formula"),
        ({"sites": {"Na": 1}}, "--space-group is missing"),
        ({"sites": {"Na": 1}, "space_group": 221, "count": 0}, "--count is 0"),
        ({"sites": {"Na": 1}, "space_group": 221, "count": -3}, "--count is -3"),
        ({"formula": "NaCl", "at_most": 0}, "--at-most is 0"),
        ({"formula": "NaCl", "letters": "free"}, "with --formula sites are on letters"),
        (
            {"sites": {"Na": 1}, "space_group": 221, "letters": "loose"},
            "expected auto, ranked, nearest, free or given",
        ),
    ],
)
def test_requests_that_make_no_sense(request_, message) -> None:
    with pytest.raises(RequestError, match=message):
        Request(**request_)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"space_group": 231, "sites": {"Na": 1}}, "space group 231 does not exist"),
        ({"space_group": "everything", "sites": {"Na": 1}}, "unknown space group 'everything'"),
        ({"space_group": 62, "sites": {"Na": []}}, "an element has no number of sites"),
        ({"space_group": 62, "sites": {"Na": [1, 0]}}, "Na has 0 sites"),
        ({"chemical_system": "Cu-Xx"}, "unknown element 'Xx'"),
        ({"chemical_system": "Cu-Cu"}, "names an element twice"),
        ({"chemical_system": "Cu-Si", "max_sites": 1}, "more than 1 sites in every combination"),
    ],
)
def test_requests_that_cannot_be_met(tiny_model, request_, message) -> None:
    with pytest.raises(RequestError, match=message):
        make_plan([Request(**request_)], tiny_model.letters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"needs \[\[order\]\] tables"),
        ("[[order", "cannot read"),
        ("seed = 3\n[[order]]\nspace_group = 221", "nothing else and has seed"),
        ("order = 3", r"needs \[\[order\]\] tables"),
        ("[[order]]\nspace_group = 221\nsites = {Na = 1}\nwurst = 1", "order 1: unknown setting 'wurst'"),
        (ORDERS + "\n[[order]]\nspace_group = 221", "order 4: give one of"),
        ("[[order]]\nspace_group = 221\nsites = 'Na'", "order 1: sites is 'Na'; expected a table"),
        ("[[order]]\nformula = 3", "order 1: formula is 3; expected a text"),
        ("[[order]]\nformula = 'NaCl'\ncount = 2.5", "order 1: count is 2.5; expected a whole number"),
        ("[[order]]\nformula = 'NaCl'\ncount = true", "order 1: count is True; expected a whole number"),
    ],
)
def test_files_that_make_no_sense(tmp_path, text, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        read_requests(write(tmp_path / "orders.toml", text))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(RequestError, match=r"cannot read .*No such file"):
        read_requests(tmp_path / "none.toml")
