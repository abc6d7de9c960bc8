"""Computes the radial and spherical bases of DimeNet: Bessel functions, envelope, real harmonics.

Spherical Bessel functions are evaluated from series of polynomials fitted once in float64.
The closed forms (sines and cosines over powers of x) cancel in float32 and are wrong by
more than 1 at small distances; the series is accurate everywhere and is one matrix
product.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from scipy import optimize, special

_TERMS = 48


def envelope(x: Float[Array, "..."], exponent: int) -> Float[Array, "..."]:
    """DimeNet's polynomial envelope (eq. 8, without its 1/x): 1 at 0, 0 from x = 1 on.

    Args:
      x: distance over cutoff, dimensionless.
      exponent: p; the polynomial and its first two derivatives vanish at 1.
    """
    p = exponent + 1
    inside = jnp.minimum(x, 1.0)
    polynomial = (
        1.0
        - 0.5 * (p + 1) * (p + 2) * inside**p
        + p * (p + 2) * inside ** (p + 1)
        - 0.5 * p * (p + 1) * inside ** (p + 2)
    )
    return jnp.where(x < 1.0, polynomial, 0.0)


def edge_weight(graph: jraph.GraphsTuple, exponent: int) -> Float[Array, " edges"]:
    """Envelope of each edge, 0 on padding: what a sum over edges is weighted with."""
    mask: Bool[Array, " edges"] = graph.edges.mask
    return envelope(graph.edges.distance / graph.edges.reach, exponent) * mask


def radial_basis(x: Float[Array, "..."], frequencies: Float[Array, " n"]) -> Float[Array, "... n"]:
    """sin(frequency x) / x for each frequency; without the envelope."""
    x = x[..., None]
    return jnp.sin(frequencies * x) / x


def spherical_bessel_basis(x: Float[Array, "..."], num_spherical: int, num_radial: int) -> Array:
    """Normalised j_l(z_ln x) for l < num_spherical, n < num_radial; without the envelope.

    z_ln is the n-th positive zero of j_l; on [0, 1] each function has unit norm under
    the weight x² (DimeNet, eq. 7, in units of the cutoff).

    Args:
      x: [...] distance over cutoff, clipped to [0, 1].
    Returns:
      [..., num_spherical, num_radial].
    """
    series = jnp.asarray(_bessel_series(num_spherical, num_radial), x.dtype)
    terms = _polynomials(jnp, 2.0 * jnp.clip(x, 0.0, 1.0) - 1.0)
    values = jnp.einsum("...t,tf->...f", terms, series, precision=jax.lax.Precision.HIGHEST)
    return values.reshape(*x.shape, num_spherical, num_radial)


def _polynomials(xp: Any, y: Any) -> Any:
    """[..., terms] products of the Chebyshev polynomials T_1, T_2, T_4, ..., for numpy or jax.numpy.

    Term n, of degree n, is the product of those in whose sum n is written in binary. They span
    what T_0, T_1, T_2, ... span, as well in float32 (the condition of the change is 42), and are
    one operation on arrays instead of a recurrence.
    """
    numbers = np.arange(_TERMS)
    y = y[..., None]
    terms = xp.where(numbers & 1, y, 1.0)
    for bit in 2 ** np.arange(1, int(_TERMS).bit_length()):
        y = 2.0 * y * y - 1.0
        terms = xp.where(numbers & bit, terms * y, terms)
    return terms


@lru_cache(maxsize=8)
def bessel_zeros(num_spherical: int, num_radial: int) -> np.ndarray:
    """[num_spherical, num_radial] positive zeros of the spherical Bessel functions."""
    # The zeros of j_{l+1} lie between those of j_l.
    brackets = np.arange(1, num_radial + num_spherical + 1) * np.pi
    zeros = [brackets[:num_radial]]
    for order in range(1, num_spherical):
        brackets = np.array(
            [
                optimize.brentq(lambda z, order=order: special.spherical_jn(order, z), low, high, xtol=1e-14)
                for low, high in pairwise(brackets)
            ]
        )
        zeros.append(brackets[:num_radial])
    return np.stack(zeros)


@lru_cache(maxsize=8)
def _bessel_series(num_spherical: int, num_radial: int) -> np.ndarray:
    """[terms, num_spherical * num_radial] coefficients of `_polynomials` on x in [0, 1]."""
    nodes = np.polynomial.chebyshev.chebpts1(_TERMS)
    columns = []
    for order, zeros in enumerate(bessel_zeros(num_spherical, num_radial)):
        for zero in zeros:
            norm = np.sqrt(2.0) / abs(special.spherical_jn(order + 1, zero))
            columns.append(norm * special.spherical_jn(order, zero * (nodes + 1) / 2))
    return np.linalg.solve(_polynomials(np, nodes), np.stack(columns, axis=1))


def real_harmonics(direction: Float[Array, "... 3"], max_order: int) -> Float[Array, "... m"]:
    """Real solid harmonics S_lm of l = 0..max_order, [..., (max_order + 1)²], those of one l together.

    Normalised so that by the addition theorem Σ_m S_lm(u) S_lm(v) = P_l(u·v) for unit
    vectors. For a zero vector S_0 is 1 and the rest are 0.
    """
    exponents, matrix = _monomials(max_order)
    terms = jnp.ones((*direction.shape[:-1], len(exponents)), direction.dtype)
    for axis in range(3):
        for bit in 2 ** np.arange(max_order.bit_length()):
            power = direction[..., axis, None] ** int(bit)
            terms = jnp.where(exponents[:, axis] & bit, terms * power, terms)
    return jnp.matmul(terms, jnp.asarray(matrix, direction.dtype), precision=jax.lax.Precision.HIGHEST)


@lru_cache(maxsize=16)
def _monomials(max_order: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns exponents [monomials, 3] of x, y and z, and the harmonics in them, [monomials, harmonics].

    On the sphere x² + y² + z² is 1, so that those of the highest degree span the harmonics of all degrees
    that are odd or even as it is, and those of one degree less the others. With no terms of different
    degrees to cancel, that is as accurate in float32 as a recurrence, and one product.
    """
    numbers = np.indices((max_order + 1,) * 3).reshape(3, -1).T
    degree = numbers.sum(1)
    exponents = numbers[(degree == 0) | (degree == max_order) | (degree == max_order - 1)]
    points = np.random.default_rng(0).normal(size=(4 * len(exponents), 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    matrix = np.zeros((len(exponents), (max_order + 1) ** 2))
    matrix[0, 0] = 1.0
    for order in range(1, max_order + 1):
        used = np.flatnonzero(exponents.sum(1) == max_order - (max_order - order) % 2)
        # Of multinomial weight, the monomials are nearly orthogonal.
        weights = np.sqrt(special.factorial(max_order) / special.factorial(exponents[used]).prod(1))
        terms = weights * (points[:, None] ** exponents[used]).prod(2)
        solution = np.linalg.lstsq(terms, _harmonics_of_degree(points, order), rcond=None)[0]
        matrix[used, order**2 : (order + 1) ** 2] = weights[:, None] * solution
    return exponents, np.where(np.abs(matrix) < 1e-12, 0.0, matrix)


def _harmonics_of_degree(points: np.ndarray, order: int) -> np.ndarray:
    """[points, 2l + 1] S_lm of unit vectors, m = -l..l, from associated Legendre polynomials."""
    x, y, z = points.T
    columns = []
    for m in range(-order, order + 1):
        k = abs(m)
        scale = np.sqrt((2.0 if m else 1.0) * special.factorial(order - k) / special.factorial(order + k))
        # (sin θ)^k e^{ikφ} = (x + iy)^k; what is left of P_l^k is its derivative in z.
        legendre = np.polynomial.legendre.Legendre.basis(order).deriv(k)(z)
        power = (x + 1j * y) ** k
        columns.append(scale * legendre * (power.imag if m < 0 else power.real))
    return np.stack(columns, axis=1)
