"""Data of the small runs, and the environment of their commands."""

import os
from pathlib import Path

import pytest

from tests.training.runs import small_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_drawings(monkeypatch):
    """To draw takes as long as some runs do; the runs of fixtures draw, and test_logs.py tests it."""
    monkeypatch.setattr("jaxcrystal.training.loop.draw_losses", lambda out: out / "losses.png")


@pytest.fixture
def config(tmp_path, prototypes):
    return small_config(tmp_path / "run", prototypes)


@pytest.fixture(scope="session")
def compiled():
    """The environment of commands; they share what they compile with all other tests."""
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
