"""Match rates and lattice errors on crystals that are known."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.evaluation.matching import lattice_errors, match_rates, rms_distances


def rocksalt(length: float, cation: str = "Na") -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [cation, "Cl"], [[0] * 3, [0.5] * 3])


def rutile(u: float) -> Structure:
    return Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [u, u, 0]]
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_distances(processes) -> None:
    targets = [rocksalt(5.6), rutile(0.305)]
    caesium_chloride = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    samples = [
        [rocksalt(6.5).get_primitive_structure(), rocksalt(5.6, "K"), caesium_chloride],
        [rutile(0.28), None, rutile(0.305)],
    ]
    distances = rms_distances(targets, samples, processes)
    assert distances.shape == (2, 3)
    # The volume is rescaled; another element, another structure or a failure is no match.
    assert distances[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(distances[0, 1:]).all()
    assert np.isnan(distances[1, 1])
    assert 0.01 < distances[1, 0] < 0.1
    assert distances[1, 2] == pytest.approx(0.0, abs=1e-6)


def test_rates() -> None:
    nan = np.nan
    distances = np.array([[0.1, 0.3], [nan, 0.2], [nan, nan], [0.4, 0.0]])
    free_coords = np.array([0, 0, 5, 12])
    one, two = (match_rates(distances, free_coords, k) for k in (1, 2))
    assert (one.k, one.rate, two.rate) == (1, 0.5, 0.75)
    assert one.rmse == pytest.approx(0.25)
    assert two.rmse == pytest.approx(0.1)
    assert one.by_free_coords == {"0": (0.5, 2), "4-8": (0.0, 1), "more": (1.0, 1)}
    assert two.by_free_coords["0"] == (1.0, 2)


def test_no_match_at_all() -> None:
    rates = match_rates(np.full((3, 2), np.nan), np.zeros(3, int), 2)
    assert rates.rate == 0.0
    assert np.isnan(rates.rmse)


def test_lattice_errors() -> None:
    target, found = np.array([[4.0, 4.0, 8.0]] * 2), np.array([[4.4, 4.0, 8.0], [4.0, 4.0, 4.0]])
    errors = lattice_errors(target, found, np.full(2, 10.0), np.array([11.0, 5.0]), np.array([True, False]))
    assert errors.lengths == pytest.approx(0.1 / 3)
    assert errors.volume == pytest.approx(0.1)
    assert errors.structures == 1
    assert lattice_errors(target, found, np.ones(2), np.ones(2), np.zeros(2, bool)).structures == 0
