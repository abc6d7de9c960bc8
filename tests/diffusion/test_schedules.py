"""Noise schedules."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.diffusion.schedules import SCHEDULES, NoiseSchedule, draw_levels


def test_paper_levels():
    """σ_X² from 36 to 0.001 Å², σ_L² from 36 to 0.1, ten levels."""
    variances = np.asarray(SCHEDULES["paper"].sigmas()) ** 2
    assert variances.shape == (10, 2)
    assert np.allclose(variances[0], [36.0, 36.0])
    assert np.allclose(variances[-1], [0.001, 0.1])


@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_are_evenly_spaced_in_the_logarithm(name):
    schedule = SCHEDULES[name]
    steps = np.diff(np.log(schedule.sigmas()), axis=0)
    assert np.allclose(steps, steps[0], rtol=1e-4)
    assert (steps < 0).all()


def test_times_and_levels_agree(x64):
    schedule = NoiseSchedule()
    assert np.allclose(schedule.sigmas(jnp.float64), schedule.at(jnp.linspace(0, 1, schedule.levels)))
    assert schedule.at(jnp.zeros((2, 3))).shape == (2, 3, 2)
    assert np.allclose(schedule.at(jnp.array(0.0)), [schedule.coords_max, schedule.lattice_max])
    assert np.allclose(schedule.at(jnp.array(1.0)), [schedule.coords_min, schedule.lattice_min])
    assert schedule.sigmas(jnp.float32).dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coords_max": 0.01}, "coords_max is 0.01"),
        ({"lattice_min": 0.0}, "lattice_min is 0.0"),
        ({"levels": 1}, "at least 2"),
    ],
)
def test_impossible_schedules(settings, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(**settings)


def test_a_schedule_cut_short_pairs_its_levels_as_before(x64):
    whole = NoiseSchedule()
    cut = whole.down_to(0.05)
    assert (cut.levels, cut.coords_max, cut.lattice_max) == (10, 1.5, 6.0)
    sigmas = cut.sigmas(jnp.float64)
    np.testing.assert_allclose(sigmas[-1, 0], 0.05, rtol=1e-12)
    times = jnp.log(1.5 / sigmas[:, 0]) / math.log(1.5 / 0.02)
    np.testing.assert_allclose(whole.at(times), sigmas, rtol=1e-12)
    assert cut.down_to(0.05) == cut
    assert cut.down_to(0.02) == cut
    assert cut.down_to(2.0) == cut  # nothing would be left


def test_levels_of_a_batch_cover_the_schedule_evenly():
    schedule = NoiseSchedule()
    sigmas = np.asarray(draw_levels(jax.random.key(0), schedule, 0.0, 16))
    bounds = np.asarray(schedule.at(jnp.linspace(0.0, 1.0, 17)))
    assert (sigmas <= bounds[:-1] * (1 + 1e-5)).all()
    assert (sigmas >= bounds[1:] * (1 - 1e-5)).all()


def test_a_share_of_the_levels_is_untied():
    """Those span every named schedule, one σ independent of the other; the rest stay as they are."""
    schedule = NoiseSchedule(coords_max=1.0)
    sigmas = np.asarray(draw_levels(jax.random.key(0), schedule, 0.75, 4000))
    untied, tied = np.log(sigmas[:3000]), sigmas[3000:]
    assert abs(np.corrcoef(untied.T)[0, 1]) < 0.06
    np.testing.assert_allclose(untied.max(0), np.log([6.0, 6.0]), atol=0.02)
    np.testing.assert_allclose(untied.min(0), np.log([0.02, 0.1**0.5]), atol=0.02)
    bounds = np.asarray(schedule.at(jnp.linspace(0.0, 1.0, 1001)))
    assert (tied <= bounds[:-1] * (1 + 1e-5)).all()
    assert (tied >= bounds[1:] * (1 - 1e-5)).all()
