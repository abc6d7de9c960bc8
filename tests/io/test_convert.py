"""Relations of space groups by type."""

import pytest

from jaxcrystal.io.convert import is_supergroup


@pytest.mark.parametrize(
    ("space_group", "other", "expected"),
    [
        (221, 221, True),
        (221, 99, True),  # the tetragonal ferroelectrics
        (221, 62, True),  # tilted octahedra
        (225, 221, True),  # ordered alloys
        (194, 63, True),
        (62, 194, False),
        (47, 16, True),
        (16, 47, False),
        (216, 225, False),
    ],
)
def test_supergroups(space_group, other, expected) -> None:
    assert is_supergroup(space_group, other) == expected
