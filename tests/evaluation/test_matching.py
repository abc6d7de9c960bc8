"""Match rates and lattice errors on crystals that are known."""

import warnings
from collections import Counter

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from jaxcrystal.evaluation.matching import (
    SPLITS,
    lattice_errors,
    match_rates,
    metre,
    ranks,
    rms_distances,
    rms_distances_to_others,
    split_by_label,
    split_by_number,
)
from jaxcrystal.io.readers import read_structures


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


@pytest.fixture(scope="module")
def prototypes() -> list[Structure]:
    """50 AFLOW prototypes of at most 8 atoms, those with polymorphs first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        small = [s for _, s in read_structures("aflow") if isinstance(s, Structure) and len(s) <= 8]
    counts = Counter(structure.reduced_formula for structure in small)
    return sorted(small, key=lambda s: (-counts[s.reduced_formula], s.reduced_formula))[:50]


@pytest.fixture(scope="module")
def perturbed(prototypes) -> list[list[Structure | None]]:
    """Three samples of each: moved a little, moved much, and the prototype after it or a failure."""
    rng, samples = np.random.default_rng(0), []
    for number, structure in enumerate(prototypes):
        near, far = structure.copy(), structure.copy()
        for copy, distance in ((near, 0.1), (far, 1.2)):
            copy.translate_sites(range(len(copy)), [0.1, 0.2, 0.3])
            steps = rng.normal(size=(len(copy), 3))
            for site, step in enumerate(distance * steps / np.linalg.norm(steps, axis=1)[:, None]):
                copy.translate_sites([site], step, frac_coords=False)
        near.scale_lattice(1.3 * near.volume)
        following = prototypes[(number + 1) % 50]
        samples.append([far, near if number % 4 else None, following if number % 3 else None])
    return samples


@pytest.fixture(scope="module")
def direct(prototypes, perturbed) -> np.ndarray:
    """[target, drawn for, k] by StructureMatcher itself, one pair after another; infinity without match."""
    matcher = StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10)
    distances = np.full((50, 50, 3), np.inf)
    places = {place: perturbed[place[0]][place[1]] for place in np.ndindex(50, 3)}
    of_samples = {p: s.composition.fractional_composition for p, s in places.items() if s is not None}
    for row, target in enumerate(prototypes):
        for place, composition in of_samples.items():
            if composition.almost_equals(target.composition.fractional_composition):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = matcher.get_rms_dist(target, places[place])
                distances[row][place] = np.inf if found is None else found[0]
    return distances


@pytest.mark.parity
def test_rates_are_those_of_a_direct_loop(prototypes, perturbed, direct) -> None:
    distances = rms_distances(prototypes, perturbed, processes=2)
    free_coords = np.arange(50) % 12
    for k in (1, 2, 3):
        best = [min(direct[row, row, :k]) for row in range(50)]
        matched = [value for value in best if value < np.inf]
        rates = match_rates(distances, free_coords, k)
        assert 10 < len(matched) < 50
        assert rates.rate == len(matched) / 50
        assert rates.rmse == pytest.approx(np.mean(matched), abs=1e-9)
        assert rates.by_free_coords["1"] == (np.mean([best[n] < np.inf for n in (1, 13, 25, 37, 49)]), 5)


@pytest.mark.parity
def test_metre_is_that_of_a_direct_loop(prototypes, perturbed, direct) -> None:
    own, others = (f(prototypes, perturbed, 1) for f in (rms_distances, rms_distances_to_others))
    for k in (1, 2, 3):
        best = [direct[row, :, :k].min() for row in range(50)]
        matched = [value for value in best if value < np.inf]
        share, crmse = metre(own, others, k)
        assert share == len(matched) / 50
        assert crmse == pytest.approx((sum(matched) + 0.5 * (50 - len(matched))) / 50, abs=1e-9)
    # Sample number 3 is the next prototype, another polymorph or compound.
    rate = match_rates(own[:, 2:], np.zeros(50, int), 1).rate
    assert metre(own[:, 2:], others[:, 2:], 1)[0] > rate


def test_metre_counts_misses_as_stol() -> None:
    nan = np.nan
    own = np.array([[0.1, 0.3], [nan, 0.2], [nan, nan], [nan, nan]])
    others = np.array([[nan, 0.05], [nan, nan], [nan, nan], [0.4, nan]])
    assert metre(own, others, 1) == pytest.approx((0.5, (0.1 + 0.5 + 0.5 + 0.4) / 4))
    assert metre(own, others, 2) == pytest.approx((0.75, (0.05 + 0.2 + 0.5 + 0.4) / 4))
    assert metre(np.full((3, 2), nan), np.full((3, 2), nan), 2) == (0.0, 0.5)


def test_a_sample_of_another_target_is_no_match_of_its_own() -> None:
    zincblende = Structure.from_spacegroup("F-43m", Lattice.cubic(5.4), ["Zn", "S"], [[0] * 3, [0.25] * 3])
    wurtzite = Structure.from_spacegroup(
        "P6_3mc", Lattice.hexagonal(3.82, 6.26), ["Zn", "S"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]]
    )
    targets, swapped = [zincblende, wurtzite], [[wurtzite], [zincblende]]
    own, others = (f(targets, swapped, 1) for f in (rms_distances, rms_distances_to_others))
    assert np.isnan(own).all()
    assert others == pytest.approx(np.zeros((2, 1)), abs=1e-6)
    assert metre(own, others, 1) == pytest.approx((1.0, 0.0), abs=1e-6)


def test_a_failed_comparison_is_no_match_and_is_told(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("cell too flat")

    monkeypatch.setattr(StructureMatcher, "get_rms_dist", fail)
    # Not pytest.warns: the libraries below warn too, of other things.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        distances = rms_distances([rocksalt(5.6)], [[rocksalt(5.6), None]], 1)
    assert np.isnan(distances).all()
    assert [str(warning.message) for warning in told if warning.category is UserWarning] == [
        "1 comparisons failed and count as no match; the first: NaCl: ValueError: cell too flat"
    ]


def test_ranks() -> None:
    assert ranks(1) == [1]
    assert ranks(4) == [1, 4]
    assert ranks(20) == [1, 20]
    assert ranks(64) == [1, 20, 50, 64]


def test_splits_hold_every_target_once() -> None:
    matched, numbers = np.arange(40) % 2 == 0, np.arange(40)
    split = split_by_number(matched, numbers, SPLITS)
    assert list(split) == list(SPLITS)
    assert sum(targets for _, targets in split.values()) == 40
    assert sum(rate * targets for rate, targets in split.values()) == pytest.approx(20)
    assert split["2-3"] == (0.5, 2)
    assert split_by_label(matched, ["x", "y"] * 20, ["y", "z"]) == {"y": (0.0, 20)}
