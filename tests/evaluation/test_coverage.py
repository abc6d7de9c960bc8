"""Coverage on points whose distances are known."""

import numpy as np
import pytest

from jaxcrystal.evaluation.coverage import coverage, nearest, standardise
from jaxcrystal.evaluation.fingerprints import Features


def features(structure, composition, valid=None, composition_valid=None) -> Features:
    """Fingerprints whose first two numbers are given; the others are 0. None: no fingerprint."""
    n = len(structure)
    rows = np.zeros((n, 61)), np.zeros((n, 132))
    for row, given in zip(rows, (structure, composition), strict=True):
        for i, value in enumerate(given):
            row[i, 0] = np.nan if value is None else value
            if value is None:
                row[i] = np.nan
    ones = np.ones(n)
    return Features(
        structure=rows[0],
        composition=rows[1],
        shortest_distance=ones,
        volume=ones,
        density=ones,
        num_elements=ones.astype(int),
        num_atoms=ones.astype(int),
        valid=np.array([True] * n if valid is None else valid),
        composition_valid=np.array([True] * n if composition_valid is None else composition_valid),
        found_groups=np.ones((n, 3), int),
        reasons=[""] * n,
    )


#: Standardised compositions are -1 and 1: the cutoff of 10 is reached at ±11.
REFERENCE = features([0.0, 1.0], [-1.0, 1.0])


def test_cutoffs_belong_to_the_covered() -> None:
    samples = features([0.4, 0.41, 1.3, 1.0], [1.0, 1.0, 11.0, 11.1])
    found = coverage(samples, REFERENCE, "cdvae")
    assert found.covers.tolist() == [True, False, True, False]
    np.testing.assert_allclose(found.structure_distances, [0.4, 0.41, 0.3, 0.0])
    np.testing.assert_allclose(found.composition_distances, [0.0, 0.0, 10.0, 10.1])
    assert (found.precision, found.samples) == (0.5, 4)
    assert found.covered.tolist() == [True, True]
    assert (found.recall, found.reference) == (1.0, 2)


def test_structure_and_composition_may_be_of_two_crystals() -> None:
    """The nearest structure is the one crystal's, the nearest composition the other's."""
    reference = features([0.0, 9.0], [-1.0, 1.0])
    near_both = features([0.1], [12.0])
    assert not coverage(near_both, reference, "cdvae").covers[0]
    assert coverage(near_both, reference, "cdvae", composition_cutoff=11.0).covers[0]
    # -1 and 12 are 13 apart: with the composition of the nearest structure it would not cover.


def test_protocols() -> None:
    """Failures stay in CDVAE's denominator; the paper's has structurally valid samples only."""
    samples = features(
        [0.0, 0.0, None, 5.0],
        [-1.0, -1.0, None, -1.0],
        valid=[True, False, False, True],
        composition_valid=[False, True, True, True],
    )
    cdvae, paper = (coverage(samples, REFERENCE, p) for p in ("cdvae", "paper"))
    assert cdvae.covers.tolist() == [True, True, False, False]
    assert (cdvae.precision, cdvae.samples, cdvae.recall) == (0.5, 4, 0.5)
    assert paper.covers.tolist() == [True, False, False, False]
    assert (paper.precision, paper.samples, paper.recall) == (0.5, 2, 0.5)
    assert np.isnan(paper.structure_distances[[1, 2]]).all()
    with pytest.raises(ValueError, match="'mine', expected 'cdvae' or 'paper'"):
        coverage(samples, REFERENCE, "mine")


def test_reference_without_fingerprint_counts() -> None:
    reference = features([0.0, 1.0, None], [-1.0, 1.0, None])
    found = coverage(features([0.0, 1.0], [-1.0, 1.0]), reference, "cdvae")
    assert found.recall == pytest.approx(2 / 3)
    assert found.covered.tolist() == [True, True, False]
    assert found.precision == 1.0


def test_nothing_usable() -> None:
    empty = coverage(features([None], [None], valid=[False]), REFERENCE, "paper")
    assert np.isnan(empty.precision)
    assert (empty.recall, empty.samples) == (0.0, 0)
    none = coverage(REFERENCE, features([None], [None]), "cdvae")
    assert (none.precision, none.recall) == (0.0, 0.0)


def test_standardise() -> None:
    reference = np.array([[1.0, 7.0, np.nan], [3.0, 7.0, 2.0], [5.0, 7.0, 4.0]])
    found = standardise(reference, reference)
    np.testing.assert_allclose(found[:, 0], [-(1.5**0.5), 0, 1.5**0.5])
    np.testing.assert_array_equal(found[:, 1], 0.0)
    np.testing.assert_allclose(found[:, 2], [0.0, -1.0, 1.0])
    # A constant feature is not divided by its rounding errors.
    tenths = np.full((7, 1), 0.1)
    np.testing.assert_allclose(standardise(tenths + 0.5, tenths), 0.5)


@pytest.mark.parametrize("size", [1, 255, 256, 600])
def test_nearest_in_blocks(size) -> None:
    rng = np.random.default_rng(size)
    x, y = rng.normal(size=(size, 5)), rng.normal(size=(40, 5))
    every = np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    of_x, of_y = nearest(x, y)
    np.testing.assert_allclose(of_x, every.min(1))
    np.testing.assert_allclose(of_y, every.min(0))
