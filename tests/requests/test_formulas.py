"""Formulas: what is read, how structures are spread, and that orders have exactly the composition."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import RequestError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.model import load_model
from jaxcrystal.requests.formulas import ANY_GROUP, parse_formula, plan_formula, spread
from jaxcrystal.requests.ranking import Ranking
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import group_operations, wyckoff_position
from tests.letters.legal import is_legal

EMPTY = LetterFrequencies({})
SYMBOL = st.sampled_from([s for s in SYMBOLS[1:] if s not in ("D", "T")])
PART = st.builds(lambda symbol, n: symbol + (str(n) if n > 1 else ""), SYMBOL, st.integers(1, 40))


@pytest.fixture(scope="module")
def bundled() -> LetterFrequencies:
    return load_model(None).letters


def atoms_in_primitive_cell(order):
    atoms = Counter()
    for element, letters in zip(order.elements, order.letters, strict=True):
        for letter in letters:
            multiplicity = wyckoff_position(order.space_group, letter).multiplicity
            atoms[SYMBOLS[element]] += multiplicity // int(group_tables().num_centring[order.space_group])
    return dict(atoms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cu2KSi", {"Cu": 2, "K": 1, "Si": 1}),
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        (" Mg Al2 O4 ", {"Mg": 1, "Al": 2, "O": 4}),
        ("K4[Fe(CN)6]", {"K": 4, "Fe": 1, "C": 6, "N": 6}),
        ("CO", {"C": 1, "O": 1}),
        ("Co", {"Co": 1}),
        ("CH3CH2OH", {"C": 2, "H": 6, "O": 1}),
        ("Cu4K2Si2", {"Cu": 4, "K": 2, "Si": 2}),
    ],
)
def test_parsing(text, expected) -> None:
    found = parse_formula(text)
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parity
@given(
    parts=st.lists(PART, min_size=1, max_size=4), inner=st.lists(PART, max_size=3), times=st.integers(1, 9)
)
def test_parsing_agrees_with_pymatgen(parts, inner, times) -> None:

    text = "".join(parts) + (f"({''.join(inner)}){times}" if inner else "")
    assert parse_formula(text) == {str(e): int(n) for e, n in Composition(text).items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the formula is empty"),
        ("  ", "the formula is empty"),
        ("CuXx", "unknown element 'Xx'"),
        ("nacl", r"unknown element 'nacl' \(did you mean Na\?\)"),
        ("D2O", "has D: isotopes are not told apart, write H"),
        ("Na0.5Cl", "has 0.5: amounts must be whole numbers"),
        ("NaCl1,5", "has 1,5: amounts must be whole numbers"),
        ("Na0Cl", "has Na0: amounts must be at least 1"),
        ("Ca(OH)0", r"has \)0: amounts must be at least 1"),
        ("2NaCl", "cannot read '2NaCl'"),
        ("Na+", r"cannot read '\+'"),
        ("Na-1", "cannot read '-1'"),
        ("TiO₂", "cannot read '₂'"),
        ("Ca(OH", r"has a '\(' that is not closed"),
        ("CaOH)2", r"has a '\)' that closes nothing"),
        ("Ca(OH]2", r"has a '\]' that closes nothing"),
        ("Ca()2", "brackets with nothing in them"),
        ("Na" + "9" * 5000, "an amount of 5000 digits"),
        ("(" * 800 + "Fe" + ")999999" * 800 + "O", "the number of Fe in formula .* at most 1000000"),
        ("(Na1000)1001", "the number of Na in formula .* is 1001000; it must be at most 1000000"),
        ("Na999999Na2", "is 1000001; it must be at most 1000000"),
    ],
)
def test_wrong_formulas(text, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        parse_formula(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


WEIGHTS = st.lists(st.floats(1e-12, 1e4), min_size=1, max_size=60).map(lambda x: np.sort(x)[::-1])


@pytest.mark.property
@given(weights=WEIGHTS, count=st.integers(1, 3000))
def test_structures_are_spread_in_proportion(weights, count) -> None:
    counts = spread(weights, count)
    assert counts.sum() == count
    assert counts.min() >= 0
    assert (np.diff(counts) <= 0).all()
    assert (np.abs(counts - count * weights / weights.sum()) < 1 + 1e-6).all()


@pytest.mark.property
@given(weights=WEIGHTS, share=st.floats(0, 1), at_most=st.integers(1, 50))
def test_what_is_beyond_the_most_goes_to_others(weights, share, at_most) -> None:
    count = max(1, round(share * at_most * len(weights)))
    counts = spread(weights, count, at_most)
    assert counts.sum() == count
    assert 0 <= counts.min() <= counts.max() <= at_most
    assert (np.diff(counts) <= 0).all()
    rest = counts < at_most
    left = count - at_most * (~rest).sum()
    if rest.any():  # those below the most share the rest in proportion, up to rounding at its edge
        quota = left * weights[rest] / weights[rest].sum()
        assert (np.abs(counts[rest] - quota) < 2).all()


def test_small_spreads() -> None:
    assert spread(np.array([5.0, 3.0, 2.0]), 10).tolist() == [5, 3, 2]
    assert spread(np.array([5.0, 3.0, 2.0]), 10, 4).tolist() == [4, 4, 2]
    assert spread(np.array([1.0, 1.0, 1.0]), 2).tolist() == [1, 1, 0]
    assert spread(np.array([1e9, 1e-9]), 3).tolist() == [3, 0]
    assert spread(np.array([1e9, 1e-9]), 4, 2).tolist() == [2, 2]
    with pytest.raises(RequestError, match=r"2 assignments at no more than 2 each.*allow 3 or more"):
        spread(np.array([1.0, 1.0]), 5, 2)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Cu2KSi", {"Cu": 2, "K": 1, "Si": 1}),
        ("MgAl2O4", {"Mg": 1, "Al": 2, "O": 4}),
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("Si", {"Si": 1}),
    ],
)
def test_every_order_has_exactly_the_composition(bundled, formula, expected) -> None:
    plan = plan_formula(formula, ANY_GROUP, 400, bundled, max_atoms=28)
    assert sum(plan.counts) == 400
    assert min(plan.counts) >= 1
    assert len(set(plan.orders)) == len(plan.orders)
    for row in plan.rows:
        order = row.order
        assert atoms_in_primitive_cell(order) == {s: n * row.units for s, n in expected.items()}
        assert is_legal(order.space_group, order.letters)
        assert row.atoms == row.units * sum(expected.values()) <= 28
        free = [wyckoff_position(order.space_group, x).num_free for letters in order.letters for x in letters]
        origins = np.trace(group_operations(order.space_group)[0].mean(0))  # directions no operation turns
        assert row.free == sum(free) - round(origins)
    weights = [row.weight for row in plan.rows]
    assert weights == sorted(weights, reverse=True)
    assert [row.share for row in plan.rows] == pytest.approx([w / sum(weights) for w in weights], rel=0.2)
    assert sum(row.share for row in plan.rows) <= 1 + 1e-9


def test_known_structures_stand_first(bundled) -> None:
    def first(formula, rows):
        plan = plan_formula(formula, ANY_GROUP, 100, bundled)
        return [(row.order.space_group, row.order.wyckoff) for row in plan.rows[:rows]]

    # Its three phases of low temperature are polar, and distortions of the cubic one.
    assert (221, "O:c Ti:b Ba:a") in first("BaTiO3", 6)
    assert first("NaCl", 1) == [(225, "Na:a Cl:b")]
    assert (227, "O:e Mg:a Al:d") in first("MgAl2O4", 2)
    assert (136, "O:f Ti:a") in first("TiO2", 12)
    assert (216, "S:c Zn:a") in first("ZnS", 16)


def test_a_formula_is_reduced_and_the_total_is_exact(bundled) -> None:
    plan = plan_formula("Cu4K2Si2", (62, 139, 225), 50, bundled, (1, 2, 2))
    assert plan == plan_formula("Cu2KSi", (62, 139, 225, 62), 50, bundled, (1, 2))
    assert (plan.formula, plan.units, plan.space_groups) == ("Cu2KSi", (1, 2), (62, 139, 225))
    assert plan.number == Ranking((1, 1, 2), (62, 139, 225), (1, 2), bundled).number


def test_the_order_of_elements_in_the_formula_does_not_matter(bundled) -> None:
    one = plan_formula("BaTiO3", (221, 62), 30, bundled)
    two = plan_formula("O3TiBa", (221, 62), 30, bundled)
    assert (one.formula, two.formula) == ("BaTiO3", "O3TiBa")
    assert one.rows == two.rows


def test_at_most(bundled) -> None:
    plan = plan_formula("NaCl", ANY_GROUP, 300, bundled, at_most=7)
    assert sum(plan.counts) == 300
    assert max(plan.counts) == 7
    assert len(plan.rows) > len(plan_formula("NaCl", ANY_GROUP, 300, bundled).rows)
    with pytest.raises(RequestError, match=r"2 assignments at no more than 5 each.*allow 8 or more"):
        plan_formula("NaCl", (225,), 16, bundled, (1,), at_most=5)


def test_cells_with_too_many_atoms_are_left_out(bundled) -> None:
    plan = plan_formula("MgAl2O4", (227, 62), 10, bundled)
    assert (plan.units, plan.skipped_units) == ((1, 2), (3, 4))
    assert max(row.atoms for row in plan.rows) <= 20
    assert "left out: 3, 4 formula units, more than 20 atoms" in plan.describe()
    with pytest.raises(RequestError, match=r"Al2Mg3Si3O12 has 20 atoms.*more than the 19.*allow 20 or more"):
        plan_formula("Al2Mg3Si3O12", (230,), 10, bundled, (1, 2), max_atoms=19)


def test_the_table(bundled) -> None:
    plan = plan_formula("BaTiO3", ANY_GROUP, 100, bundled)
    lines = plan.describe(3).splitlines()
    assert lines[0].split() == ["group", "letters", "units", "atoms", "free", "seen", "share", "count"]
    for line, row in zip(lines[1:4], plan.rows, strict=False):
        assert line.startswith(f"{row.order.space_group} ")
        assert row.order.wyckoff in line
        cells = line.split()
        share = f"{100 * row.share:.3g}"
        assert cells[-7:] == [
            *map(str, (row.units, row.atoms, row.free, row.seen)),
            share,
            "%",
            str(row.count),
        ]
    rest = plan.rows[3:]
    assert lines[4].startswith(f"... and {len(rest)} assignments more: ")
    assert lines[4].endswith(f", {sum(row.count for row in rest)} structures")
    assert lines[-1].startswith(f"BaTiO3: {plan.number:,} assignments in 230 space groups with 1, 2, 3, 4 ")
    assert lines[-1].endswith(f"100 structures of {len(plan.rows)} of them")
    assert "..." not in plan.describe(len(plan.rows))
    one = plan_formula("Si", (227,), 1, bundled, (2,)).describe()
    assert "in space group 227 (Fd-3m) with 2 formula units" in one
    assert "1 structure of 1 of them" in one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "NaXx"}, "unknown element 'Xx'"),
        ({"space_groups": (0,)}, "space group 0 does not exist: numbers run from 1 to 230"),
        ({"space_groups": (225, 231)}, "space group 231 does not exist"),
        ({"space_groups": ()}, "no space group given"),
        ({"count": 0}, "0 structures are asked for; the count must be at least 1"),
        ({"count": -5}, "-5 structures"),
        ({"formula_units": (0,)}, "0 formula units are asked for; there must be at least 1"),
        ({"formula_units": (2, -1)}, "-1 formula units"),
        ({"formula_units": ()}, "no number of formula units"),
        ({"max_sites": 0}, "at most 0 sites; expected 1 to 20"),
        ({"max_sites": 21}, "at most 21 sites; expected 1 to 20"),
        ({"max_sites": 1}, "NaCl has 2 elements; at most 1 sites cannot hold them"),
        ({"max_atoms": 0}, "at most 0 atoms"),
        ({"at_most": 0}, "at most 0 structures of an assignment"),
        (
            {"formula": "Cu2KSi", "space_groups": (228, 230)},
            r"gives Cu2KSi in space groups 228 \(Fd-3c\), 230 \(Ia-3d\) with 1, 2, 3, 4 formula units and "
            r"at most 20 sites: 8 formula units \(32 atoms, 20 allowed\) would do",
        ),
        (
            {"formula": "MgAl2O4", "space_groups": (227,), "formula_units": (1,)},
            r"227 \(Fd-3m\) with 1 formula unit and at most 20 sites: 2 formula units \(14 atoms\) would do",
        ),
        (
            {"formula": "Na9Cl", "space_groups": (229,), "formula_units": (1,), "max_sites": 2},
            "none was found with other numbers of formula units up to 64 atoms; try other groups",
        ),
        (
            {"formula": "C7", "space_groups": ANY_GROUP, "formula_units": (17,), "max_sites": 1},
            r"gives C in 230 space groups with 17 formula units and at most 1 sites: 1 formula unit \(1 atom",
        ),
    ],
)
def test_wrong_requests(changes, message) -> None:
    request = {"formula": "NaCl", "space_groups": (225,), "count": 10, "frequencies": EMPTY} | changes
    with pytest.raises(RequestError, match=message) as error:
        plan_formula(**request)
    assert "\n" not in str(error.value)


def test_the_nearest_structure_gives_a_plan_of_one_assignment(bundled) -> None:
    """In whichever group it is; none where the data has no structure of these proportions."""
    seen = {
        216: {(1, 1): {(("a",), ("c",)): [(30, 16)] * 2}},
        225: {(1, 1): {(("a",), ("b",)): [(11, 17), (12, 8), (20, 8)]}},
    }
    table = LetterFrequencies.of_elements(seen)
    for formula, text, number in (("CdTe", "216 Cd=a,Te=c given", 2), ("SrO", "225 O=b,Sr=a given", 3)):
        (row,) = plan_formula(formula, ANY_GROUP, 7, table, nearest=True).rows
        assert (row.order.text, row.count, row.seen, row.units) == (text, 7, number, 1)
    (other,) = plan_formula("CdTe", [225], 7, table, nearest=True).rows
    assert other.order.text in ("225 Cd=a,Te=b given", "225 Cd=b,Te=a given")
    (row,) = plan_formula("Sr2Ti2O6", ANY_GROUP, 3, bundled, nearest=True).rows
    assert atoms_in_primitive_cell(row.order) == {"Sr": row.units, "Ti": row.units, "O": 3 * row.units}
    with pytest.raises(
        RequestError,
        match=r"of the training data has the proportions of NaCl2 in .* leave out --letters nearest",
    ):
        plan_formula("NaCl2", ANY_GROUP, 7, table, nearest=True)


def test_plans_without_data() -> None:
    plan = plan_formula("NaCl", (221, 225), 20, EMPTY)
    assert sum(plan.counts) == 20
    assert all(row.seen == 0 for row in plan.rows)


def test_a_plan_is_sampled_with_its_composition(tiny_model, quick) -> None:
    plan = plan_formula("BaTiO3", (221,), 5, tiny_model.letters, (1,))
    samples = sample_orders(plan.orders, plan.counts, tiny_model, config=quick, batch_size=4)
    assert [sample.formula for sample in samples] == ["BaTiO3"] * 5
    assert Counter(sample.order for sample in samples) == dict(zip(plan.orders, plan.counts, strict=True))


def test_a_formula_in_all_groups(bundled) -> None:
    """P1 and P-1 hold little but general positions; their lists are counted and ranked as all others."""
    plan = plan_formula("MgAl2O4", ANY_GROUP, 100, bundled, max_atoms=28)
    assert plan.rows[0].order.space_group == 227
    low = plan_formula("MgAl2O4", range(1, 16), 200, bundled, max_atoms=28)
    assert low.number > 10_000
    assert max(order.num_sites for order in low.orders) <= 20
    (only,) = plan_formula("MgAl2O4", (1,), 3, bundled, (1, 2)).rows[:1]
    assert only.order.wyckoff == "O:aaaa Mg:a Al:aa"
