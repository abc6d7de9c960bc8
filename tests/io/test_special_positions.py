"""Sites given with few digits go onto their special position, and no two atoms are ever made one."""

import numpy as np
import pytest
import spglib

from jaxcrystal.io.operations import operations_of_hall
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.special_positions import orbit
from jaxcrystal.io.text import last_digit
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.orbits import expand_orbit
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import lattice_of, make_crystal, random_point, random_shape

pytestmark = pytest.mark.property
GROUPS = range(1, 231)


def _operations(group):
    kind = spglib.get_spacegroup_type(int(group_tables().hall_number[group]))
    return operations_of_hall(kind.hall_symbol, str(group))


def _lattice(rng, group, volume):
    lengths, angles = random_shape(rng, group)
    return lattice_of(make_crystal(group, lengths * volume ** (1 / 3), angles, [1], [[0, 0, 0]]))


def _rounded(coords, digits):
    """Returns the numbers that a file has, and the worth of their last digits."""
    texts = [f"{x:.{digits}f}" for x in coords]
    return np.array(texts, float), np.array([last_digit(text) for text in texts])


def _apart(images, lattice) -> float:
    offsets = images[:, None] - images[None]
    lengths = np.linalg.norm((offsets - np.rint(offsets)) @ lattice, axis=-1)
    return float(lengths[~np.eye(len(images), dtype=bool)].min(initial=np.inf))


@pytest.mark.parametrize("digits", [3, 4])
def test_a_rounded_special_position_is_found_again(digits):
    """All positions of groups of every family: all atoms, and none moved by more than a digit."""
    moved = 0
    for group in (*GROUPS[::9], 152, 164, 166, 176, 180, 187, 191, 194):
        rng = np.random.default_rng([group, digits])
        lattice, operations = _lattice(rng, group, 600.0), _operations(group)
        for position in wyckoff_positions(group):
            for _ in range(20):
                exact = random_point(rng, position)
                expected = expand_orbit(exact, position.site_ops, group)
                if _apart(expected, lattice) > 0.8:  # nearer, it is not clear what is meant
                    break
            else:
                continue
            given, last = _rounded(exact, digits)
            site, images = orbit(given, last, operations, lattice, "X")
            assert len(images) == position.multiplicity, (group, position.letter)
            assert (np.abs(site - given) <= last + 1e-12).all()
            offsets = images[:, None] - expected[None]
            nearest = np.linalg.norm((offsets - np.rint(offsets)) @ lattice, axis=-1).min(1)
            assert nearest.max() < 30 * 10.0**-digits
            moved += np.abs(site - given).max() > 1e-9
    assert moved > 20  # positions that rounding had left are among them


def test_atoms_of_many_digits_are_never_made_one():
    """A general site at any distance from a special position: all images stay, where they are."""
    near = 0
    for group in GROUPS[1:]:
        rng = np.random.default_rng(group)
        lattice = _lattice(rng, group, 600.0)
        operations = _operations(group)
        position = wyckoff_positions(group)[0]
        step = rng.normal(size=3)
        step *= rng.uniform(0.02, 0.4) / np.linalg.norm(step @ lattice)
        given, last = _rounded(random_point(rng, position) + step, 10)
        apart = _apart(operations.rotations @ given + operations.translations, lattice)
        if apart > 0.0101:
            site, images = orbit(given, last, operations, lattice, "X")
            assert len(images) == len(operations)
            assert np.array_equal(site, given)
            near += apart < 0.5
    assert near > 100


def test_what_few_digits_leave_open_is_refused():
    """One atom 0.13 Å off its position by two digits, or eight? The file does not say."""
    lattice = np.diag([6.0, 6.0, 6.0])
    given, last = _rounded([0.02, 0.01, 0.01], 2)
    with pytest.raises(Rejected) as refusal:
        orbit(given, last, _operations(47), lattice, "O1")
    assert refusal.value.reason == Reason.AMBIGUOUS
    # 0.49 can be rounded, but 0.4812 beside it is not: the atom is not moved to where both are equal.
    with pytest.raises(Rejected, match="two images of O1"):
        orbit(np.array([0.485, 0.4812, 0.2]), np.array([0.01, 1e-4, 0.1]), _operations(99), lattice, "O1")
    assert "two images of O1" in refusal.value.detail
