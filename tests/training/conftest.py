"""Data of the small runs, and what their commands share."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxcrystal.data.prepare import load_or_prepare
from tests.training.runs import small_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prototypes(tmp_path_factory):
    """The embedded structures of exactly two sites in groups >= 16, so that one size is compiled."""
    dataset = load_or_prepare("aflow")
    chosen = np.flatnonzero((dataset.num_sites == 2) & dataset.supported)[:24]
    path = tmp_path_factory.mktemp("data") / "two.npz"
    dataset.select(chosen).save(path)
    return str(path)


@pytest.fixture
def config(tmp_path, prototypes):
    return small_config(tmp_path / "run", prototypes)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The environment of commands that share what they compile."""
    cache = str(tmp_path_factory.mktemp("compiled"))
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module", autouse=True)
def shared_programs(tmp_path_factory):
    """Runs in this process compile each program once; what a variable of the shell names is kept."""
    if jax.config.jax_compilation_cache_dir:
        yield
        return
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in settings]
    for name, value in zip(settings, (str(tmp_path_factory.mktemp("programs")), 0.0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in zip(settings, before, strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
