"""Radial and spherical bases of DimeNet: Bessel functions, envelope, real harmonics.

Spherical Bessel functions are evaluated from Chebyshev series fitted once in float64.
The closed forms (sines and cosines over powers of x) cancel in float32 and are wrong by
more than 1 at small distances; the series is accurate everywhere and is one matrix
product.
"""

from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy import optimize, special

_CHEBYSHEV_TERMS = 48


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
    terms = _chebyshev(2.0 * jnp.clip(x, 0.0, 1.0) - 1.0)
    values = jnp.einsum("...t,tf->...f", terms, series, precision=jax.lax.Precision.HIGHEST)
    return values.reshape(*x.shape, num_spherical, num_radial)


def _chebyshev(y: Array) -> Array:
    """[..., terms] Chebyshev polynomials of the first kind."""
    terms = [jnp.ones_like(y), y]
    while len(terms) < _CHEBYSHEV_TERMS:
        terms.append(2.0 * y * terms[-1] - terms[-2])
    return jnp.stack(terms, axis=-1)


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
    """[terms, num_spherical * num_radial] Chebyshev coefficients on x in [0, 1]."""
    columns = []
    for order, zeros in enumerate(bessel_zeros(num_spherical, num_radial)):
        for zero in zeros:
            norm = np.sqrt(2.0) / abs(special.spherical_jn(order + 1, zero))

            def function(y: np.ndarray, order: int = order, zero: float = zero) -> np.ndarray:
                return special.spherical_jn(order, zero * (y + 1) / 2)

            series = np.polynomial.chebyshev.chebinterpolate(function, _CHEBYSHEV_TERMS - 1)  # type: ignore[type-var]
            columns.append(norm * series)
    return np.stack(columns, axis=1)


def real_harmonics(direction: Float[Array, "... 3"], max_order: int) -> list[Float[Array, "... m"]]:
    """Real solid harmonics, one array [..., 2l + 1] for each l = 0..max_order.

    Normalised so that by the addition theorem Σ_m S_lm(u) S_lm(v) = P_l(u·v) for unit
    vectors. For a zero vector S_0 is 1 and the rest are 0.
    """
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    squared = x * x + y * y + z * z
    cosines, sines = [jnp.ones_like(x)], [jnp.zeros_like(x)]  # real and imaginary (x + iy)^m
    for _ in range(max_order):
        cosines.append(x * cosines[-1] - y * sines[-1])
        sines.append(x * sines[-1] + y * cosines[-2])
    legendre: dict[tuple[int, int], Array] = {}  # associated Legendre over (sin θ)^m, times r^(l - m)
    for m in range(max_order + 1):
        double_factorial = float(np.prod(np.arange(2 * m - 1, 0, -2))) if m else 1.0
        legendre[m, m] = jnp.full_like(x, double_factorial)
        if m < max_order:
            legendre[m + 1, m] = (2 * m + 1) * z * legendre[m, m]
        for order in range(m + 2, max_order + 1):
            legendre[order, m] = (
                (2 * order - 1) * z * legendre[order - 1, m]
                - (order + m - 1) * squared * legendre[order - 2, m]
            ) / (order - m)
    harmonics = []
    for order in range(max_order + 1):
        row = []
        for m in range(-order, order + 1):
            k = abs(m)
            scale = np.sqrt((2.0 if m else 1.0) * special.factorial(order - k) / special.factorial(order + k))
            row.append(float(scale) * legendre[order, k] * (sines[k] if m < 0 else cosines[k]))
        harmonics.append(jnp.stack(row, axis=-1))
    return harmonics
