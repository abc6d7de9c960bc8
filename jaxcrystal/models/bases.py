"""Computes the radial and spherical bases of DimeNet: Bessel functions, envelope, real harmonics.

Spherical Bessel functions are evaluated from Chebyshev series fitted once in float64.
The closed forms (sines and cosines over powers of x) cancel in float32 and are wrong by
more than 1 at small distances; the series is accurate everywhere and is one matrix
product.
"""

from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
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
    terms = _chebyshev(2.0 * jnp.clip(x, 0.0, 1.0) - 1.0)
    values = jnp.einsum("...t,tf->...f", terms, series, precision=jax.lax.Precision.HIGHEST)
    return values.reshape(*x.shape, num_spherical, num_radial)


def _chebyshev(y: Array) -> Array:
    """[..., terms] Chebyshev polynomials of the first kind.

    By T_{m+k} = 2 T_m T_k - T_{m-k}, k = 1..m: the number of terms doubles at each step, and
    the program is a tenth as long as that of the recurrence, which takes seconds to compile.
    """
    terms = jnp.stack([jnp.ones_like(y), y], axis=-1)
    while (count := terms.shape[-1]) < _CHEBYSHEV_TERMS:
        known, last = terms[..., 1:], terms[..., -1:]
        further = 2.0 * last * known - terms[..., count - 2 :: -1]
        terms = jnp.concatenate([terms, further[..., : _CHEBYSHEV_TERMS - count]], axis=-1)
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


def real_harmonics(direction: Float[Array, "... 3"], max_order: int) -> Float[Array, "... m"]:
    """Real solid harmonics S_lm of l = 0..max_order, [..., (max_order + 1)²], those of one l together.

    Normalised so that by the addition theorem Σ_m S_lm(u) S_lm(v) = P_l(u·v) for unit
    vectors. For a zero vector S_0 is 1 and the rest are 0.
    """
    harmonics = [jnp.ones_like(direction[..., :1])]
    for order in range(1, max_order + 1):
        # Those of one degree are linear in the products of the degree below with x, y and z.
        products = (harmonics[-1][..., None] * direction[..., None, :]).reshape(*direction.shape[:-1], -1)
        raising = jnp.asarray(_raising_matrix(order), direction.dtype)
        harmonics.append(jnp.matmul(products, raising, precision=jax.lax.Precision.HIGHEST))
    return jnp.concatenate(harmonics, axis=-1)


@lru_cache(maxsize=16)
def _raising_matrix(order: int) -> np.ndarray:
    """[3 (2l - 1), 2l + 1] from the products S_{l-1,m} (x, y, z) to S_l, solved for in float64."""
    points = np.random.default_rng(order).normal(size=(20 * order + 20, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    lower, wanted = (_harmonics_of_degree(points, degree) for degree in (order - 1, order))
    products = (lower[:, :, None] * points[:, None, :]).reshape(len(points), -1)
    # Some products depend on one another; of the solutions, the smallest rounds least.
    return np.linalg.lstsq(products, wanted, rcond=1e-10)[0]


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
