"""Batches: shapes that depend on the structure alone, and templates on their positions."""

import numpy as np
import pytest

from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.batches import by_shape, make_batch, shape_of
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_position


def candidates(order, count, letters=None, first=0):
    return [Candidate(first + n, order, n, letters) for n in range(count)]


def test_batches_are_of_full_size() -> None:
    perovskite = make_order(221, {"Ba": "a", "Ti": "b", "O": "c"})
    free = make_order(225, {"Na": 1}, "free")
    wanted = candidates(perovskite, 5, ("c", "b", "a")) + candidates(free, 3, first=5)
    shapes = by_shape(wanted)
    assert [len(members) for members in shapes.values()] == [3, 5]
    assert sorted(c.place for members in shapes.values() for c in members) == list(range(8))
    for shape, members in shapes.items():
        batch = make_batch(shape, members, 8)
        assert batch.candidates == tuple(members)
        assert batch.templates.species.shape == (8, shape.max_nodes)
        assert batch.hashes.shape == batch.numbers.shape == (8,)
        assert (batch.templates.species[len(members) :] == batch.templates.species[0]).all()


def test_shape_holds_all_images() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        group = int(rng.integers(1, 231))
        order = make_order(group, {"O": int(rng.integers(1, 21))}, "free")
        shape = shape_of(Candidate(0, order, 0, None))
        assert shape.capacity.merge
        assert shape.capacity.max_images >= order.num_sites * group_tables().num_ops[group]
        assert shape.max_nodes >= order.num_sites


def test_template_of_constrained_sites() -> None:
    order = make_order(194, {"Mg": "a", "O": "fk"})
    letters = ("f", "k", "a")
    shape = shape_of(Candidate(0, order, 0, letters))
    assert shape.max_nodes == 3
    assert not shape.capacity.merge
    crystal = pad_and_stack([Candidate(0, order, 0, letters).template()], 4)
    assert crystal.species.tolist() == [[8, 8, 12, 0]]
    assert crystal.node_mask.tolist() == [[True, True, True, False]]
    for site, letter in enumerate(letters):
        position = wyckoff_position(194, letter)
        np.testing.assert_array_equal(crystal.site_ops[0, site], position.site_ops)
        np.testing.assert_allclose(crystal.frac_coords[0, site], position.origin, atol=1e-7)
        np.testing.assert_allclose(crystal.site_projection[0, site], position.projection, atol=1e-7)
    assert not crystal.site_ops[0, 3].any()


def test_structures_on_the_same_letters_share_a_template() -> None:
    """It is made once, and nobody can change it under the others."""
    order = make_order(221, {"Ba": "a", "Ti": "b", "O": "c"})
    letters = ("a", "b", "c")
    one, other = (Candidate(number, order, number, letters).template() for number in range(2))
    assert one is other
    with pytest.raises(ValueError, match="read-only"):
        one.frac_coords[0, 0] = 0.5
