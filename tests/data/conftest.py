"""One prepared data set for all tests of data/."""

import warnings

import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import PrepareReport, prepare


@pytest.fixture(scope="session")
def aflow_report(tmp_path_factory) -> PrepareReport:
    """All of pymatgen's AFLOW prototypes, prepared in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return prepare("aflow", tmp_path_factory.mktemp("aflow") / "aflow.npz", processes=1, progress=False)


@pytest.fixture(scope="session")
def aflow(aflow_report) -> Dataset:
    return Dataset.load(aflow_report.out)


@pytest.fixture
def rutile() -> Structure:
    return Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.3053, 0.3053, 0]]
    )


@pytest.fixture
def perovskite() -> Structure:
    return Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )
