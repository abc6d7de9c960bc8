"""Settings and fixtures of all tests."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

# First of all, since below jaxtyping's hook Python finds no compiled files of what is imported there.
import flax.linen  # noqa: F401
import numpy as np
import optax  # noqa: F401
import orbax.checkpoint  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
from hypothesis import HealthCheck, settings
from pymatgen.core import Lattice, Structure

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import PrepareReport, prepare
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.model import Model
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.structures.finished import Samples
from tests import libraries, programs
from tests.precision import double_precision
from tests.s3 import bucket, s3_environment  # noqa: F401 (fixtures)
from tests.tiny import make_tiny_model

# Compilation makes first examples slow, and a failure must come back on the next run.
settings.register_profile(
    "jaxcrystal",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("jaxcrystal")


#: Files that take longest begin first, so that no process of the tests waits for another at the end.
LONGEST = (
    "training/test_parallel.py",
    "training/test_kills.py",
    "training/test_mirror.py",
    "benchmarks/",
    "sampling/test_devices.py",
    "sampling/test_run.py",
    "training/",
    "test_readme.py",
    "models/",
    "sampling/",
)


def pytest_configure(config: pytest.Config) -> None:
    programs.share(config)
    libraries.hasten()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves files without tests of the second run alone: to import them takes long."""
    second = config.option.markexpr == "optimised" and collection_path.name.startswith("test_")
    return True if second and "mark.optimised" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_finish() -> None:
    """What is loaded now stays: the garbage collector, which runs after each file, need not look at it.

    It need not run as often either: tracing makes many small objects, and little garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(folder).as_posix()
        return next((n for n, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def _let_programs_go() -> Iterator[None]:
    yield
    programs.let_go()


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    with double_precision():
        yield


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    return make_tiny_model()


@pytest.fixture(scope="session")
def quick(tiny_model) -> LangevinConfig:
    """One configuration for all tests; with three sites, they share two compilations."""
    return LangevinConfig(tiny_model.schedule, steps_per_level=2, trajectory_every=1)


@pytest.fixture(scope="session")
def samples(tiny_model, quick) -> Samples:
    """Two perovskites and two salts of a network too small to know anything, with every step on their way."""
    orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(225, {"Na": "a", "Cl": "b"})]
    return sample_orders(orders, 2, tiny_model, 0, quick, batch_size=4, progress=False)


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


@pytest.fixture(scope="session")
def prototypes(aflow, tmp_path_factory):
    """The embedded structures of exactly two sites in groups >= 16, so that one size is compiled."""
    chosen = np.flatnonzero((aflow.num_sites == 2) & (aflow.space_group >= 16))[:24]
    path = tmp_path_factory.mktemp("data") / "two.npz"
    aflow.select(chosen).save(path)
    return str(path)
