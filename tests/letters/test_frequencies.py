"""Letters drawn are legal and as frequent as in the data."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcrystal.data.letters import count_letters
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.letters.dealing import DEALT
from jaxcrystal.letters.frequencies import LetterFrequencies, prior_weights
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.letters.legal import is_legal

EMPTY = LetterFrequencies({})
#: Nine perovskites, and one with the cations on each other's position.
PEROVSKITES = {
    221: {
        (1, 1, 1): {
            (("a",), ("b",), ("c",)): [(56, 22, 8), (38, 22, 8), (20, 22, 8)] * 3,
            (("b",), ("a",), ("c",)): [(3, 74, 8)],
        }
    }
}


@pytest.fixture(scope="module")
def frequencies(aflow):
    return count_letters(aflow)


def test_every_structure_is_counted(aflow, frequencies):
    total = sum(n for kinds in frequencies.assignments.values() for f in kinds.values() for n in f.values())
    assert total == len(aflow)
    for group, kinds in frequencies.assignments.items():
        for counts, found in kinds.items():
            for assignment in found:
                assert tuple(map(len, assignment)) == counts
                assert is_legal(group, assignment)


def test_round_trip(frequencies, tmp_path):
    frequencies.save(tmp_path / "letters.json")
    loaded = LetterFrequencies.load(tmp_path / "letters.json")
    assert loaded.assignments == frequencies.assignments
    assert loaded.elements == frequencies.elements


def test_structures_without_their_elements_are_not_lost(tmp_path):
    """The file holds structures by their elements: others would not be in what is read again."""
    counts, assignment = (1, 1), (("a",), ("b",))
    for known in ({}, {221: {counts: {assignment: ((11, 17),)}}}):
        table = LetterFrequencies({221: {counts: {assignment: 2}}}, known)
        with pytest.raises(DataError, match=r"cannot write .*letters\.json.*some lack them"):
            table.save(tmp_path / "letters.json")
    assert not list(tmp_path.iterdir())


def numbers(text, letters="a b"):
    return f'{{"format": "jaxcrystal-letters-2", "elements": {{"221": {{"1,1": {{"{letters}": {text}}}}}}}}}'


def test_what_the_wrong_files_are_changed_from(tmp_path):
    (tmp_path / "a.json").write_text(numbers("[11, 17]", "e e"))
    assert LetterFrequencies.load(tmp_path / "a.json").structures(221) == 1


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"format": "other"}'),
        *map(numbers, ("[11, 17, 3]", "[0, 17]", "[11, 1.5]", "[]")),
        numbers("[11, 17]", "a a"),
    ],
)
def test_wrong_file(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match="letter frequencies"):
        LetterFrequencies.load(tmp_path / "a.json")


def test_draws_follow_the_data():
    table = LetterFrequencies({221: {(1, 1, 1): {(("a",), ("b",), ("c",)): 3, (("a",), ("b",), ("d",)): 1}}})
    rng = np.random.default_rng(0)
    drawn = [table.draw(rng, 221, (1, 1, 1)) for _ in range(4000)]
    third = Counter("d" in {letters for (letters,) in assignment} for assignment in drawn)
    assert abs(third[True] / 4000 - 0.25) < 0.03
    assert abs(np.mean([assignment[0] == ("a",) for assignment in drawn]) - 1 / 3) < 0.03


def test_two_sites_on_one_point_are_no_structure(aflow):
    """A model with such letters could not be read."""
    row = int(np.flatnonzero((aflow.num_sites == 2) & (aflow.space_group == 225))[0])
    broken = replace(aflow.select([row, row]), letters=np.array([0, 1, 0, 0]))
    assert count_letters(broken).structures(225) == 1


def test_elements_are_those_of_the_structures(aflow, frequencies):
    """Each structure has its own, in the order of its assignment."""
    for row in range(0, len(aflow), 7):
        group, sites = int(aflow.space_group[row]), aflow.sites(row)
        names = [p.letter for p in wyckoff_positions(group)]
        pairs = Counter(
            zip(aflow.species[sites].tolist(), (names[x] for x in aflow.letters[sites]), strict=True)
        )
        kinds = frequencies.elements[group]
        assert any(
            Counter((z, letter) for z, letters in zip(of_one, a, strict=True) for letter in letters) == pairs
            for found in kinds.values()
            for a, structures in found.items()
            for of_one in structures
        )


def test_like_elements_take_like_letters():
    """Perovskites: the large cation on a, as in the data, whichever order they are asked for in."""
    counts, assignment = (1, 1, 1), (("a",), ("b",), ("c",))
    table = LetterFrequencies(
        {221: {counts: {assignment: 3}}},
        {221: {counts: {assignment: ((56, 22, 8), (20, 22, 8), (38, 40, 8))}}},
    )
    chances = table.chances(221, counts, (38, 22, 8))
    assert sum(chances.values()) == pytest.approx(1.0)
    assert chances[("a",), ("b",), ("c",)] > 0.9
    assert min(chances.values()) > 0.005  # nothing is ruled out
    turned = table.chances(221, counts, (8, 38, 22))
    assert turned[("c",), ("a",), ("b",)] == pytest.approx(chances[("a",), ("b",), ("c",)])
    drawn = [table.draw(np.random.default_rng(n), 221, counts, (38, 22, 8)) for n in range(50)]
    assert Counter(drawn)[assignment] > 40
    # Elements like none in the data: the nearest decide.
    assert max(table.chances(221, counts, (2, 10, 18)).values()) > 1 / 6


def test_letters_are_dealt_in_proportion_the_likeliest_first():
    """Rare ones wait until half of one is theirs, which in the long run makes no odds."""
    table = LetterFrequencies.of_elements(PEROVSKITES)
    for elements in ([56, 22, 8], [8, 56, 22]):
        chances = table.chances(221, [1, 1, 1], elements)
        dealt = [table.deal(number, 221, [1, 1, 1], elements) for number in range(1000)]
        assert dealt[0] == max(chances, key=chances.__getitem__)
        for number in (1, 2, 3, 7, 50, 1000):
            had = Counter(dealt[:number])
            rare = [abs(had[a] - number * chance) for a, chance in chances.items() if chance < 0.5]
            assert len(rare) == 5
            assert max(rare) < 1
        assert [table.deal(number, 221, [1, 1, 1], elements) for number in (999, 3)] == [dealt[999], dealt[3]]
    again = [table.deal(DEALT + number, 221, [1, 1, 1], [8, 56, 22]) for number in range(1000)]
    assert again == dealt
    assert table.deal(0, 221, [2, 1, 1], [56, 22, 8]) is None
    assert EMPTY.deal(5, 62, [1]) is None


def test_the_nearest_structure_has_the_most_similar_elements():
    """However rare it is; of those of the same elements, the more frequent."""
    table = LetterFrequencies.of_elements(PEROVSKITES)
    other = (("b",), ("a",), ("c",))
    assert table.nearest(221, [1, 1, 1], [56, 22, 8]) == (("a",), ("b",), ("c",))
    assert table.nearest(221, [1, 1, 1], [3, 74, 8]) == other  # one structure of Li, W and O in ten
    assert table.nearest(221, [1, 1, 1], [8, 3, 74]) == (("c",), ("b",), ("a",))
    assert table.nearest(221, [2, 1, 1], [56, 22, 8]) is None
    twice = {
        225: {(1, 1): {(("a",), ("b",)): [(11, 17)] + [(19, 35)] * 5, (("a",), ("c",)): [(11, 17), (11, 17)]}}
    }
    assert LetterFrequencies.of_elements(twice).nearest(225, [1, 1], [11, 17]) == (("a",), ("c",))


def test_too_many_elements_to_swap():
    letters = tuple((x,) for x in "abcdefgh")
    table = LetterFrequencies({16: {(1,) * 8: {letters: 3}}})
    assert table.chances(16, (1,) * 8) == {}
    assert is_legal(16, table.draw(np.random.default_rng(0), 16, (1,) * 8))


def test_counts_keep_the_order_of_the_elements():
    table = LetterFrequencies({221: {(1, 1, 2): {(("a",), ("b",), ("c", "d")): 1}}})
    drawn = table.draw(np.random.default_rng(0), 221, (1, 2, 1))
    assert drawn[1] == ("c", "d")
    assert {drawn[0], drawn[2]} == {("a",), ("b",)}


@pytest.mark.property
@given(
    space_group=st.integers(1, 230),
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
)
def test_any_request_gives_legal_letters(space_group, counts, seed):
    drawn = EMPTY.draw(np.random.default_rng(seed), space_group, counts)
    assert [len(letters) for letters in drawn] == counts
    assert is_legal(space_group, drawn)


def test_fallback_uses_the_group_and_favours_small_cells(frequencies):
    blind, informed = EMPTY.site_weights(225), frequencies.site_weights(225)
    positions = {p.letter: p for p in wyckoff_positions(225)}
    assert set(informed) == set(positions)
    assert min(informed.values()) > 0
    assert blind["a"] > blind["e"] > blind["l"]
    assert informed["a"] > blind["a"]
    assert abs(sum(informed.values()) - 1) < 1e-12


def test_without_data_general_positions_are_the_usual_choice():
    """Of groups with few special positions: in known crystals six to eight sites in ten are general."""
    for group in (2, 14, 15):
        general = wyckoff_positions(group)[-1].letter
        drawn = [EMPTY.draw(np.random.default_rng(n), group, (1, 2, 3)) for n in range(200)]
        letters = Counter(letter for a in drawn for of_element in a for letter in of_element)
        assert 0.5 < letters[general] / letters.total() < 0.9
    # Where a general position has 192 atoms it is the last choice, and special ones are the first.
    assert sum(prior_weights(225)[:4]) > 0.9
    assert prior_weights(225)[-1] < 0.01


def test_weights_of_sites_are_computed_once(monkeypatch):
    """Thousands of orders are drawn from them."""
    table = LetterFrequencies({})
    first = table.site_weights(47)
    monkeypatch.setattr("jaxcrystal.letters.frequencies.prior_weights", None)
    assert table.site_weights(47) is first
    assert table.draw(np.random.default_rng(0), 47, (1,))


def test_wrong_requests():
    for counts in ((), (0, 1), (-1,)):
        with pytest.raises(RequestError, match="1 or more"):
            EMPTY.draw(np.random.default_rng(0), 225, counts)
    with pytest.raises(RequestError):
        EMPTY.draw(np.random.default_rng(0), 231, (1,))
