"""The bound on the likelihood that tells which of several chains is the likeliest."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.diffusion.likelihood import likelihood_bound
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.symmetry.lattice import free_params, lattice_matrix
from tests.crystals import make_crystal, pad, prediction, to_device

RIGHT = np.full(3, 90.0)
SCHEDULE = NoiseSchedule(1.0, 0.05, 1.0, 0.1, levels=4)


def silent(crystal, sigma, cond=None, reduction=None):
    return prediction(jnp.zeros_like(crystal.frac_coords), jnp.zeros_like(crystal.lattice_params))


def knowing(clean, crystal, sigma, cond=None, reduction=None):
    """The noise that a crystal would have been given if its clean form were this one."""
    lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
    coords = (crystal.frac_coords - clean.frac_coords) @ lattice / sigma[0]
    return prediction(coords, (crystal.lattice_params - clean.lattice_params) / sigma[1])


def kinds():
    """Six free coordinates, four, none; three free lengths, three, one."""
    cube = (np.full(3, 15.0), RIGHT)
    return [
        make_crystal(62, *cube, [1, 2], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]]),
        make_crystal(62, *cube, [1, 2], [[0.1, 0.25, 0.3], [0.6, 0.25, 0.8]], ["c", "c"]),
        make_crystal(225, *cube, [1, 2], [[0, 0, 0], [0.5, 0.5, 0.5]], ["a", "b"]),
    ]


@partial(jax.jit, static_argnums=0)
def bound(score, key, crystal, clean=None):
    score = score if clean is None else partial(score, clean)
    return likelihood_bound(key, score, crystal, SCHEDULE)


@pytest.mark.statistical
def test_a_silent_network_has_one_nat_for_each_free_number_and_e_fold():
    keys = jax.random.split(jax.random.key(0), 500)
    for crystal, coords, lattice in zip(kinds(), (6, 4, 0), (3, 3, 1), strict=True):
        bounds = np.asarray(jax.vmap(bound, (None, 0, None))(silent, keys, to_device(crystal)))
        expected = coords * np.log(20.0) + lattice * np.log(10.0)
        assert bounds.mean() == pytest.approx(expected, abs=5 * bounds.std() / np.sqrt(len(keys)))


def test_the_structure_that_the_network_knows_is_the_likeliest(x64):
    for crystal in map(to_device, kinds()):
        assert bound(knowing, jax.random.key(0), crystal, crystal) == pytest.approx(0.0, abs=1e-9)
        free = free_params(crystal.space_group)
        other = crystal._replace(lattice_params=crystal.lattice_params + jnp.where(free, 0.1, 0.0))
        assert bound(knowing, jax.random.key(0), other, crystal) > 0.1


def test_every_level_counts_the_same_however_few_of_its_cells_can_be_used():
    """A level at which noise closes all cells counts as one of which nothing is predicted.

    One site in P1 has no coordinate of its own, and what is predicted of its lattice is right: whatever the
    bound is, such levels make it.
    """
    crystal = to_device(make_crystal(1, np.full(3, 6.0), np.array([80.0, 75.0, 85.0]), [1], [[0, 0, 0]]))
    schedule = NoiseSchedule(1.0, 0.05, 1000.0, 0.001, levels=4)  # σ_L 1000, 10, 0.1, 0.001
    keys = jax.random.split(jax.random.key(0), 100)

    def bound_of(key):
        return likelihood_bound(key, partial(knowing, crystal), crystal, schedule)

    closed = np.asarray(jax.jit(jax.vmap(bound_of))(keys)) / (6 * np.log(1e6) / 4)
    assert np.allclose(closed, np.round(closed), atol=1e-3)
    assert set(np.round(closed)) == {1, 2}  # the first level always, the second where both draws closed


def test_padding_does_not_count(x64):
    """Shown where only the lattice has noise: that of the sites depends on the room there is."""
    cubic = kinds()[2]
    small, large = (bound(silent, jax.random.key(1), to_device(c)) for c in (cubic, pad(cubic, 5)))
    assert small == pytest.approx(large)
