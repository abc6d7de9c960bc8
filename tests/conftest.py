"""Settings and fixtures of all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from jaxcrystal.environment import double_precision

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
    with double_precision():
        yield
