"""The likeliest of several chains: the bound that tells, and what is kept."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.diffusion.langevin import LangevinConfig, anneal
from jaxcrystal.diffusion.likelihood import anneal_best, likelihood_bound
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.errors import Status
from jaxcrystal.symmetry.lattice import free_params, lattice_matrix
from tests.crystals import make_crystal, pad, prediction, stack, to_device

OK = jnp.int32(0)
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


# Chains


def restless(crystal, sigma, cond=None, reduction=None):
    wave = jnp.sin(37.0 * crystal.frac_coords[..., ::-1] + jnp.arange(3.0)) * 3.0
    return prediction(wave, jnp.where(free_params(crystal.space_group), 0.1, 0.0))


def failing(crystal, sigma, cond=None, reduction=None):
    """Overflows at the last levels in half of the cell."""
    there = (crystal.frac_coords[0, 0] % 1.0 < 0.5) & (sigma[0] < 0.2)
    return restless(crystal, sigma)._replace(status=jnp.where(there, jnp.int32(int(Status.IMAGES)), OK))


run = jax.jit(anneal, static_argnames=("score", "config"))
run_best = jax.jit(anneal_best, static_argnames=("score", "config"))


def batch(count):
    keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.key(3), n))(jnp.arange(count))
    return keys, to_device(stack([kinds()[0]] * count))


def settings(**changes):
    return LangevinConfig(SCHEDULE, steps_per_level=3, **changes)


def test_the_likeliest_of_the_chains_is_kept(x64):
    """Three chains one by one, and the one of least bound for each structure; its path, where it is kept.

    In double precision, since the waves magnify how two programs round.
    """
    keys, templates = batch(16)
    alone, paths, bounds = [], [], []
    for number in range(3):
        chain = (
            keys
            if number == 0
            else jax.vmap(lambda k, n=number: jax.random.fold_in(k, np.uint32(2**32 - 1 - n)))(keys)
        )
        state, trajectory = run(chain, templates, restless, settings(trajectory_every=3))
        alone.append(np.asarray(state.crystal.frac_coords))
        paths.append(np.asarray(trajectory.frac_coords))
        noise = jax.vmap(lambda key: jax.random.fold_in(key, np.uint32(2**32 - 1)))(keys)
        bounds.append(np.asarray(jax.vmap(bound, (None, 0, 0))(restless, noise, state.crystal)))
    chosen = np.argmin(bounds, axis=0)
    assert set(chosen) == {0, 1, 2}
    rows = np.arange(16)
    for every in (0, 3):
        best, path = run_best(keys, templates, restless, settings(best_of=3, trajectory_every=every))
        assert np.allclose(best.crystal.frac_coords, np.stack(alone)[chosen, rows], atol=1e-9)
        assert (path is None) == (every == 0)
    kept = np.stack(paths)[chosen, :, rows].swapaxes(0, 1)
    assert np.allclose(path.frac_coords, kept, atol=1e-9)


def test_a_chain_that_was_stopped_loses():
    keys, templates = batch(64)
    one, _ = run_best(keys, templates, failing, settings())
    best, _ = run_best(keys, templates, failing, settings(best_of=8))
    assert 10 < np.count_nonzero(one.status) < 54
    assert np.count_nonzero(best.status) <= 2
    assert not np.isnan(best.crystal.frac_coords).any()
