"""Computes distances between distributions of samples and of known crystals."""

import numpy as np
from jaxtyping import Float, Int

#: Structures that the distances are taken over, where there are more (evaluation convention).
DRAW = 1000


def frechet_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m width"]) -> float:
    """Returns the Fréchet distance of two sets of vectors, each taken as a Gaussian.

    ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁^½ Σ₂ Σ₁^½)^½), with the unbiased covariances (Heusel et al.,
    NeurIPS 2017). The square roots are of symmetric matrices, by eigenvalues, so that features
    that are constant or depend on each other do no harm.

    Args:
      x: [n, d] finite.
      y: [m, d] finite, of the same width.
    Returns:
      The squared distance; NaN with fewer than two vectors in a set.

    Raises:
      ValueError: the widths differ.
    """
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"vectors of {x.shape[1]} and of {y.shape[1]} numbers, expected the same")
    if min(len(x), len(y)) < 2:
        return float("nan")
    offset = x.mean(0) - y.mean(0)
    cov_x, cov_y = _covariance(x), _covariance(y)
    # Tr (Σ₁^½ Σ₂ Σ₁^½)^½ is the sum of the singular values of Σ₁^½ Σ₂^½, which takes no square
    # root of rounding errors.
    cross = np.linalg.svd(_root(cov_x) @ _root(cov_y), compute_uv=False).sum()
    distance = offset @ offset + np.trace(cov_x) + np.trace(cov_y) - 2.0 * cross
    return float(max(distance, 0.0))


def wasserstein(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " m"]) -> float:
    """Returns the earth mover's distance of two sets of numbers, in their unit; NaN if one is empty."""
    from scipy.stats import wasserstein_distance

    if not len(x) or not len(y):
        return float("nan")
    return float(wasserstein_distance(x, y))


def draw(candidates: Int[np.ndarray, " n"], seed: int, count: int = DRAW) -> Int[np.ndarray, " k"]:
    """Returns at most `count` of the candidates, at random by the seed, in their order."""
    if len(candidates) <= count:
        return candidates
    return np.sort(np.random.default_rng(seed).choice(candidates, count, replace=False))


def _covariance(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d d"]:
    offset = x - x.mean(0)
    return offset.T @ offset / (len(x) - 1)


def _root(symmetric: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
