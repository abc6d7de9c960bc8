"""Settings and fixtures of all tests."""

from collections.abc import Iterator

import jax
import pytest
from hypothesis import HealthCheck, settings

# Compilation makes first examples slow, and a failure must come back on the next run.
settings.register_profile(
    "jaxcrystal",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("jaxcrystal")


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)
