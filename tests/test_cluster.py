"""A cluster of processes gives what this one gives: fingerprints, matches, reconstructions, relaxations."""

import os
import warnings

import numpy as np
import pytest

from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work, relax_to_folder
from jaxcrystal.evaluation.fingerprints import featurize
from jaxcrystal.evaluation.matching import rms_distances, rms_distances_to_others
from jaxcrystal.evaluation.reconstruction import reconstruct
from jaxcrystal.evaluation.targets import Targets, choose
from jaxcrystal.io.readers import read_structures
from jaxcrystal.structures.entries import Entry, ordered
from jaxcrystal.workers import map_structures
from tests.discovery.crystals import some
from tests.discovery.test_run import contents
from tests.tiny import make_tiny_model

pytestmark = pytest.mark.cli


@pytest.fixture(scope="module")
def address():
    """Of the scheduler of two worker processes."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster:
            yield cluster.scheduler_address


@pytest.fixture(scope="module")
def prototypes() -> list[Entry]:
    small = [(name, s) for name, s in read_structures("aflow") if len(s) <= 4 and "Cf" not in s.formula]
    return [Entry(name, ordered(structure)) for name, structure in small[:20]]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def process_of(_: int) -> int:
    return os.getpid()


def test_the_work_is_done_elsewhere(address) -> None:
    processes = set(map_structures(process_of, list(range(12)), dask=address, chunk=1))
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_fingerprints(address, prototypes, tmp_path) -> None:
    there = featurize(prototypes, cache=tmp_path / "there", dask=address)
    here = featurize(prototypes, cache=tmp_path / "here", processes=1)
    assert here.complete.all()
    for name, value in vars(here).items():
        np.testing.assert_array_equal(getattr(there, name), value)


def test_matches(address, prototypes) -> None:
    targets = [entry.structure for entry in prototypes]
    rng, samples = np.random.default_rng(0), []
    for number, target in enumerate(targets):
        moved = target.copy()
        for site in range(len(moved)):
            moved.translate_sites([site], 0.1 * rng.normal(size=3), frac_coords=False)
        samples.append([moved, None, targets[number - 1]])
    for match in (rms_distances, rms_distances_to_others):
        here, there = match(targets, samples, processes=1), match(targets, samples, dask=address)
        np.testing.assert_array_equal(there, here)
        assert np.isfinite(here).sum() > 10


def test_a_reconstruction(address, aflow) -> None:
    targets = Targets.from_dataset(choose(aflow, 8, max_sites=2))
    here, there = (
        reconstruct(targets, "letters", 2, make_tiny_model(), random_start=True, **how)
        for how in ({"processes": 1}, {"dask": address})
    )
    np.testing.assert_array_equal(there.distances, here.distances)
    assert np.isfinite(here.distances).any()
    for figures in (here.figures(), there.figures()):
        assert figures["targets"] == 8
    assert there.figures()["match"] == here.figures()["match"]


def test_a_relaxation(address, tmp_path) -> None:
    entries, settings = some(10), RelaxSettings("emt")
    relax_to_folder(entries, settings, tmp_path / "here", Work(1, progress=False))
    relax_to_folder(entries, settings, tmp_path / "there", Work(1, address, progress=False))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert "relaxed.csv" in contents(tmp_path / "here")
