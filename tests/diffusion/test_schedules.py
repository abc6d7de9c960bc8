"""Noise schedules."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.diffusion.schedules import SCHEDULES, NoiseSchedule


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
