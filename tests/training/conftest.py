"""Data of the small runs, and the environment of their commands."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.training.runs import small_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prototypes(aflow, tmp_path_factory):
    """The embedded structures of exactly two sites in groups >= 16, so that one size is compiled."""
    chosen = np.flatnonzero((aflow.num_sites == 2) & aflow.supported)[:24]
    path = tmp_path_factory.mktemp("data") / "two.npz"
    aflow.select(chosen).save(path)
    return str(path)


@pytest.fixture
def config(tmp_path, prototypes):
    return small_config(tmp_path / "run", prototypes)


@pytest.fixture(scope="session")
def compiled():
    """The environment of commands; they share what they compile with all other tests."""
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
