"""Changes of axes and origin that leave the operations of a group as they are."""

import numpy as np
import pytest

from jaxcrystal.symmetry.normalizer import (
    allowed_changes,
    equivalent_origins,
    map_to_change,
    maps_to_itself,
)
from jaxcrystal.symmetry.orbits import expand_orbit
from jaxcrystal.symmetry.wyckoff import group_operations, letters_of, wyckoff_positions


def changes_of(group):
    """All changes but those of P1 and P-1, of which there are thousands: some."""
    axes, origins = allowed_changes(group)
    kept = slice(None, None, 500 if group < 3 else 1)
    for one, origin in zip(axes[kept], origins[kept], strict=True):
        for other in equivalent_origins(group):
            yield one, origin + other


@pytest.mark.parametrize("group", range(1, 231))
def test_changes_keep_the_operations(group):
    """What the operations of the tables make of a point is the same set before and after."""
    rotations, translations, primitive = group_operations(group)
    to_primitive = np.linalg.inv(primitive)
    point = np.array([0.137, 0.291, 0.453])
    for axes, origin in changes_of(group):
        assert np.linalg.det(axes) == pytest.approx(1)
        inverse = np.linalg.inv(axes)
        before = (rotations @ point + translations - origin) @ inverse
        after = rotations @ ((point - origin) @ inverse) + translations
        off = (before[:, None] - after) @ to_primitive
        assert (np.abs(off - np.round(off)).max(-1) < 1e-6).any(1).all()


# Translations of the Euclidean normaliser (International Tables A, tables 3.5.2.2 to 3.5.2.4), those along a
# free origin aside.
KNOWN = {
    1: 1,
    2: 8,
    14: 8,
    62: 8,
    33: 4,
    152: 2,
    187: 6,
    194: 2,
    166: 2,
    216: 4,
    225: 2,
    227: 2,
    229: 1,
    230: 1,
}


@pytest.mark.parametrize(("group", "translations"), KNOWN.items())
def test_numbers_of_equivalent_origins(group, translations):
    assert len(equivalent_origins(group)) == translations


@pytest.mark.parametrize(
    ("group", "origin", "swapped"),
    [
        (225, 0.5, {"a": "b", "b": "a", "c": "c", "e": "e"}),
        (216, 0.25, {"a": "d", "b": "c", "c": "a", "d": "b"}),
    ],
)
def test_an_origin_changes_letters(group, origin, swapped):
    """The origin at the centre of rock salt's cell, and at a quarter of zinc blende's."""
    letters = letters_of(group)
    axes = tuple(np.eye(3).ravel().tolist())
    for before, after in swapped.items():
        found = map_to_change(group, letters.index(before), axes, (origin,) * 3)
        assert letters[found.letter] == after


@pytest.mark.parametrize("group", range(1, 231))
def test_sites_are_mapped_to_where_the_change_takes_them(group):
    """Mapped free coordinates have the orbit in the new axes, and so have their images on the position."""
    rng = np.random.default_rng(group)
    positions = wyckoff_positions(group)
    changes = list(changes_of(group))
    axes, origin = changes[rng.integers(len(changes))]
    for letter, position in enumerate(positions):
        free = rng.uniform(size=position.num_free)
        orbit = expand_orbit(position.origin + free @ position.basis, position.site_ops, group)
        expected = (orbit - origin) @ np.linalg.inv(axes)
        found = map_to_change(group, letter, tuple(axes.ravel().tolist()), tuple(origin.tolist()))
        new = positions[found.letter]
        free = free @ found.turns[0] + found.shifts[0]
        for turn, shift in zip(*maps_to_itself(group, found.letter)[1:], strict=True):
            site = new.origin + (free @ turn + shift) @ new.basis
            off = expected[:, None] - expand_orbit(site, new.site_ops, group)
            off = np.abs(off - np.round(off)).max(-1)
            assert (off.min(1) < 1e-6).all()
