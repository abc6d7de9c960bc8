"""Subgroup relations of all 230 x 230 pairs of types, against pymatgen and their derivation."""

import json
from pathlib import Path

import pytest

from jaxcrystal.symmetry import supergroups
from jaxcrystal.symmetry.supergroups import is_supergroup
from tests.symmetry.derive_supergroups import maximal_subgroups

GROUPS = range(1, 231)
FILE = Path(supergroups.__file__).with_name("subgroups.json")


def _below(maximal: dict[int, list[int]], group: int) -> set[int]:
    found, waiting = set(), [group]
    while waiting:
        fresh = set(maximal[waiting.pop()]) - found
        found |= fresh
        waiting += fresh
    return found


@pytest.mark.parity
def test_all_pairs_against_pymatgen() -> None:
    """pymatgen's table of maximal subgroups, typed in from the International Tables, has all but two.

    It leaves out that P4_332 (212) has subgroups of type P4_132 (213) and the other way round:
    with a' = 3a, index 27, a screw axis 4_3 becomes 4_1.
    """
    groups = pytest.importorskip("pymatgen.symmetry.groups")
    maximal = {int(group): below for group, below in groups.SYMM_DATA["maximal_subgroups"].items()}
    theirs = {(group, of) for group in GROUPS for of in _below(maximal, group) if of != group}
    ours = {(group, of) for group in GROUPS for of in GROUPS if is_supergroup(group, of)}
    assert ours - theirs == {(212, 213), (213, 212)}
    assert theirs <= ours
    assert len(ours) == 8594


def test_file_is_what_the_script_derives() -> None:
    """From the operations alone. No prime after 5 adds a type, see the test below."""
    derived = {str(number): maximal_subgroups(number, primes=(2, 3, 5)) for number in GROUPS}
    assert derived == json.loads(FILE.read_text())


@pytest.mark.parametrize(
    "number", [4, 9, 19, 43, 76, 78, 91, 95, 144, 151, 169, 171, 178, 180, 198, 212, 213, 220]
)
def test_larger_primes_add_no_type(number: int) -> None:
    """Groups with screw axes and glide planes, whose translations such an index changes."""
    listed = json.loads(FILE.read_text())[str(number)]
    assert set(maximal_subgroups(number, primes=(7, 11))) <= set(listed)


@pytest.mark.parametrize(
    ("group", "of", "expected"),
    [
        (221, 99, True),  # the tetragonal ferroelectrics
        (221, 62, True),  # tilted octahedra
        (225, 221, True),  # ordered alloys: fewer translations
        (187, 42, True),  # by way of Amm2 with a longer axis
        (16, 22, True),
        (22, 16, True),
        (169, 170, True),  # index 5: a screw axis 6_1 becomes 6_5
        (2, 1, True),
        (194, 63, True),
        (62, 194, False),
        (62, 221, False),
        (47, 16, True),
        (16, 47, False),
        (216, 225, False),
        (225, 225, False),
    ],
)
def test_known_pairs(group: int, of: int, expected: bool) -> None:
    assert is_supergroup(group, of) is expected
