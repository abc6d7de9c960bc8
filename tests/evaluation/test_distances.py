"""Distances of distributions against independent formulas."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from jaxcrystal.evaluation.distances import draw, frechet_distance, wasserstein


def by_square_root(x, y) -> float:
    """The Fréchet distance with scipy's general matrix square root of the product."""
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(sqrtm(cov_x @ cov_y))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


@pytest.mark.parametrize("seed", range(4))
def test_frechet_distance_of_samples(seed) -> None:
    rng = np.random.default_rng(seed)
    mix_x, mix_y = rng.normal(size=(2, 8, 8))
    x, y = rng.normal(size=(300, 8)) @ mix_x, rng.normal(size=(500, 8)) @ mix_y + rng.normal(size=8)
    assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-8)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-8)
    assert frechet_distance(x, y) > 0.1


def with_moments(rng, n: int, mean, cov) -> np.ndarray:
    """Samples whose mean and (unbiased) covariance are exactly the given ones."""
    x = rng.normal(size=(n, len(mean)))
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x, rowvar=False)), (x - x.mean(0)).T).T
    return x @ np.linalg.cholesky(cov).T + mean


@pytest.mark.parity
def test_frechet_distance_by_hand() -> None:
    """Gaussians with closed forms: common axes, at an angle; and in two dimensions any covariances."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    sigma_x, sigma_y = np.array([1.0, 2.0, 3.0, 0.5, 1.5]), np.array([2.0, 2.0, 1.0, 0.1, 4.0])
    mean = np.array([0.0, 1.0, -2.0, 0.0, 3.0])
    x = with_moments(rng, 400, mean, turn @ np.diag(sigma_x**2) @ turn.T)
    y = with_moments(rng, 300, np.zeros(5), turn @ np.diag(sigma_y**2) @ turn.T)
    # ‖μ₁ − μ₂‖² = 14 and Σ (σ₁ − σ₂)² = 1 + 0 + 4 + 0.16 + 6.25.
    assert frechet_distance(x, y) == pytest.approx(14 + 11.41, rel=1e-9)

    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -1.0], [-1.0, 1.0]])
    x, y = with_moments(rng, 50, np.ones(2), a), with_moments(rng, 60, np.ones(2), b)
    # The trace of the root of a 2x2 matrix is sqrt(trace + 2 sqrt(determinant)).
    assert np.trace(a @ b) == pytest.approx(11.0)
    expected = 5 + 6 - 2 * np.sqrt(11 + 2 * np.sqrt(5 * 4))
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.statistical
def test_frechet_distance_of_known_gaussians() -> None:
    """Independent axes: Σ (μ₁ − μ₂)² + (σ₁ − σ₂)²."""
    rng = np.random.default_rng(0)
    x = rng.normal([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], size=(200_000, 3))
    y = rng.normal([0.0, 0.0, 4.0], [2.0, 2.0, 1.0], size=(200_000, 3))
    assert frechet_distance(x, y) == pytest.approx((0 + 1 + 4) + (1 + 0 + 4), rel=0.02)


def test_frechet_distance_of_the_same() -> None:
    x = np.random.default_rng(0).normal(size=(100, 6))
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-10)
    assert frechet_distance(x, x + 2.0) == pytest.approx(6 * 4.0)
    assert frechet_distance(x, 3.0 * x) == pytest.approx(
        4.0 * ((x.mean(0) ** 2).sum() + np.trace(np.cov(x, rowvar=False)))
    )


def test_frechet_distance_of_degenerate_features() -> None:
    """Constant and dependent features, and fewer vectors than features."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20, 4))
    wide = [np.hstack([a, a, np.zeros((20, 30)), np.ones((20, 3))]) for a in (x, y)]
    # The doubled columns make every squared distance twice as large, the constant ones add nothing.
    assert frechet_distance(*wide) == pytest.approx(2 * by_square_root(x, y), rel=1e-6)


def test_frechet_distance_needs_vectors() -> None:
    assert np.isnan(frechet_distance(np.zeros((1, 3)), np.zeros((5, 3))))
    assert np.isnan(frechet_distance(np.zeros((0, 3)), np.zeros((5, 3))))
    with pytest.raises(ValueError, match="3 and of 4"):
        frechet_distance(np.zeros((5, 3)), np.zeros((5, 4)))


def test_wasserstein() -> None:
    assert wasserstein(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == pytest.approx(2.0)
    assert wasserstein(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0])) == pytest.approx(1 / 3)
    assert np.isnan(wasserstein(np.array([]), np.array([1.0])))


def test_draw() -> None:
    candidates = np.arange(3, 5000, 2)
    drawn = draw(candidates, 0)
    assert len(drawn) == len(set(drawn.tolist())) == 1000
    assert set(drawn.tolist()) <= set(candidates.tolist())
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, draw(candidates, 0))
    assert (drawn != draw(candidates, 1)).any()
    np.testing.assert_array_equal(draw(candidates[:7], 0), candidates[:7])
    assert len(draw(candidates, 0, 10)) == 10
