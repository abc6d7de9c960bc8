"""The search among chains: which are judged, which go on, and what it costs."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.diffusion.langevin import advance, anneal, begin, step
from jaxcrystal.diffusion.likelihood import likelihood_bound
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.diffusion.search import anneal_best
from jaxcrystal.diffusion.settings import Choice, LangevinConfig, Stage
from jaxcrystal.errors import Status
from jaxcrystal.symmetry.lattice import free_params
from tests.crystals import make_crystal, prediction, stack, to_device

OK = jnp.int32(0)
#: σ_X 1.0, 0.37, 0.14, 0.05.
SCHEDULE = NoiseSchedule(1.0, 0.05, 1.0, 0.1, levels=4)
#: Six chains go through the first level, three through the second, two to the end.
CHOICES = (Choice(0.9, keep=3), Choice(0.3, keep=2, steps_per_level=1), Choice(0.1, steps_per_level=3))
ROWS = 16


def restless(crystal, sigma, cond=None, reduction=None):
    wave = jnp.sin(37.0 * crystal.frac_coords[..., ::-1] + jnp.arange(3.0)) * 3.0
    return prediction(wave, jnp.where(free_params(crystal.space_group), 0.1, 0.0))


def failing(first, crystal, sigma, cond=None, reduction=None):
    """Overflows in half of the cell, at the first level or at the last two."""
    there = (crystal.frac_coords[0, 0] % 1.0 < 0.5) & ((sigma[0] > 0.9) if first else (sigma[0] < 0.2))
    return restless(crystal, sigma)._replace(status=jnp.where(there, jnp.int32(int(Status.IMAGES)), OK))


FAILING_FIRST, FAILING_LAST = partial(failing, True), partial(failing, False)
run = jax.jit(anneal, static_argnames=("score", "config"))
run_best = jax.jit(anneal_best, static_argnames=("score", "config", "at_once"))


def batch(count):
    keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.key(3), n))(jnp.arange(count))
    sites = [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]]
    crystal = make_crystal(62, np.full(3, 15.0), np.full(3, 90.0), [1, 2], sites)
    return keys, to_device(stack([crystal] * count))


def settings(**changes):
    return LangevinConfig(SCHEDULE, steps_per_level=2, bound_levels=3, bound_draws=1, **changes)


SEARCH = settings(best_of=6, choices=CHOICES)


@partial(jax.jit, static_argnames="config")
def chains_to(keys, annealed, config, first, last):
    """All chains [6, rows] through some steps, and the bounds of where the network sees them end."""

    def go(keys, annealed):
        return advance(keys, annealed, restless, config, None, first, last)

    def judge(key, state):
        coords = jnp.where(last > config.num_steps, state.crystal.frac_coords, state.estimate)
        crystal = state.crystal._replace(frac_coords=coords)
        draws = config.bound_draws
        return likelihood_bound(key, restless, crystal, config.bound_schedule, draws=draws)

    found = jax.vmap(go)(keys, annealed)
    noise = jax.vmap(lambda key: jax.random.fold_in(key, np.uint32(2**32 - 1)))(keys[0])
    return found, jax.vmap(jax.vmap(judge), (None, 0))(noise, found.state)


def chain_keys(keys, count):
    """The keys [rows] of each chain: of the first, those of the structures."""
    others = [
        jax.vmap(lambda k, n=number: jax.random.fold_in(k, np.uint32(2**32 - 1 - n)))(keys)
        for number in range(1, count)
    ]
    return [keys, *others]


def by_hand(keys, templates, config):
    """Takes every chain all the way, and drops those that lose on the host: number [rows], all ends."""
    own_keys = jnp.stack(chain_keys(keys, config.best_of))
    annealed = jax.vmap(lambda keys: begin(keys, templates, config))(own_keys)
    alive = np.ones((config.best_of, ROWS), bool)
    stages = config.stages
    for number, stage in enumerate(stages):
        annealed, bounds = chains_to(own_keys, annealed, config, stage.first, stage.last)
        keep = stages[number + 1].chains if number + 1 < len(stages) else 1
        rank = np.where(alive, np.asarray(bounds), np.inf).argsort(0, kind="stable").argsort(0)
        alive &= rank < keep
    assert (alive.sum(0) == 1).all()
    return alive.argmax(0), annealed


@pytest.mark.parametrize(("at_once", "every"), [(1, 0), (4, 4)])
def test_the_likeliest_go_on(x64, at_once, every):
    """Six chains, then three, then two, then one: as when all are run to the end and judged on the way.

    In double precision, since the waves magnify how two programs round.
    """
    keys, templates = batch(ROWS)
    config = replace(SEARCH, trajectory_every=every)
    winner, ends = by_hand(keys, templates, config)
    assert len(set(winner)) > 3
    found, path = run_best(keys, templates, restless, config, at_once=at_once)
    rows = np.arange(ROWS)
    wanted = np.asarray(ends.state.crystal.frac_coords)[winner, rows]
    assert np.allclose(found.crystal.frac_coords, wanted, atol=1e-9)
    assert np.allclose(found.scores, np.asarray(ends.state.scores)[winner, rows], atol=1e-9)
    if every:
        wanted = np.asarray(ends.trajectory.frac_coords)[winner, :, rows].swapaxes(0, 1)
        assert np.allclose(path.frac_coords, wanted, atol=1e-9)
    else:
        assert path is None


def test_chains_are_judged_without_their_noise():
    """On the way, by the coordinates that a last step would leave."""
    keys, templates = batch(1)
    begun = jax.tree.map(lambda leaf: leaf[0], begin(keys, templates, SEARCH).state)
    go = jax.jit(partial(step, score=restless, config=SEARCH), static_argnames="denoise")
    moved, clean = (go(keys[0], begun, sigma=jnp.array([0.3, 0.5]), denoise=d) for d in (False, True))
    assert np.allclose(moved.estimate, clean.crystal.frac_coords, atol=1e-6)
    assert not np.allclose(moved.estimate, moved.crystal.frac_coords, atol=1e-3)


def test_one_chain_is_the_plain_chain():
    keys, templates = batch(ROWS)
    alone = run(keys, templates, restless, settings(choices=CHOICES)).state
    found = run_best(keys, templates, restless, settings(choices=CHOICES)).state
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(found), strict=True):
        assert np.array_equal(one, other)


def test_a_structure_does_not_depend_on_those_beside_it():
    keys, templates = batch(ROWS)
    found = run_best(keys, templates, restless, SEARCH).state
    turned = jax.tree.map(lambda leaf: jnp.roll(leaf, 5, axis=0), templates)
    other = run_best(jnp.roll(keys, 5, axis=0), turned, restless, SEARCH).state
    assert np.array_equal(jnp.roll(found.crystal.frac_coords, 5, axis=0), other.crystal.frac_coords)


@pytest.mark.parametrize(("score", "choices"), [(FAILING_LAST, ()), (FAILING_FIRST, CHOICES)])
def test_a_chain_that_was_stopped_loses(x64, score, choices):
    """At the end, and at the first choice: what is kept was stopped only where all eight chains were."""
    keys, templates = batch(64)
    chains = jnp.concatenate(chain_keys(keys, 8))
    every = jax.tree.map(lambda leaf: jnp.tile(leaf, (8,) + (1,) * (leaf.ndim - 1)), templates)
    stopped = np.asarray(run(chains, every, score, settings(choices=choices)).state.status).reshape(8, 64) > 0
    best = run_best(keys, templates, score, settings(best_of=8, choices=choices)).state
    assert 10 < np.count_nonzero(stopped[0]) < 54
    assert np.array_equal(best.status > 0, stopped.all(0))
    assert not np.isnan(best.crystal.frac_coords).any()


def test_stages_and_evaluations():
    """Steps of every chain, the evaluations of its end and of its bound."""
    assert SEARCH.steps_of_levels == (2, 2, 1, 3)
    assert SEARCH.stages == (Stage(6, 1, 2), Stage(3, 3, 4), Stage(2, 5, 9))
    assert SEARCH.evaluations == 6 * (2 + 3) + 3 * (2 + 3) + 2 * (5 + 3)
    assert SEARCH.lattice_steps() == pytest.approx([0.1] * 4 + [0.2] + [0.1 * 2 / 3] * 3)
    assert settings().stages == (Stage(1, 1, 9),)
    assert settings().evaluations == 9
    assert settings(alternating=True).evaluations == 18
    assert settings(best_of=3).evaluations == 3 * (9 + 3)
    # Fewer chains than some choice keeps: that choice is none.
    assert settings(best_of=2, choices=CHOICES).stages == (Stage(2, 1, 9),)
    # Two choices after the same level: what is left of both.
    twice = settings(best_of=6, choices=(Choice(0.9, keep=4), Choice(0.8, keep=1)))
    assert twice.stages == (Stage(6, 1, twice.stages[0].last), Stage(1, twice.stages[0].last + 1, 9))


def test_evaluations_are_counted(x64):
    """The network itself counts: as many evaluations of every structure as the settings say."""
    counted = []

    def counting(crystal, sigma, cond=None, reduction=None):
        jax.debug.callback(lambda _: counted.append(1), sigma[0])
        return restless(crystal, sigma)

    keys, templates = batch(1)
    jax.block_until_ready(jax.jit(lambda: anneal_best(keys, templates, counting, SEARCH).state)())
    jax.effects_barrier()
    assert len(counted) == SEARCH.evaluations


def test_choices_must_descend():
    with pytest.raises(ValueError, match="must be descending"):
        settings(best_of=6, choices=CHOICES[::-1])
