"""Bessel functions, harmonics and envelope against scipy and their defining properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxcrystal.models.bases import (
    bessel_zeros,
    envelope,
    radial_basis,
    real_harmonics,
    spherical_bessel_basis,
)

NUM_SPHERICAL, NUM_RADIAL = 7, 6
#: Small arguments, where closed forms cancel, and the whole range.
DISTANCES = np.concatenate([np.geomspace(1e-6, 0.05, 40), np.linspace(0.0, 1.0, 161)])


#: Compiled: step by step, each step is a program.
bessel_basis = jax.jit(spherical_bessel_basis, static_argnums=(1, 2))
harmonics_of = jax.jit(real_harmonics, static_argnums=1)
basis_of = jax.jit(radial_basis)


def reference_basis(x):
    """[n, num_spherical, num_radial] sqrt(2) / |j_{l+1}(z)| j_l(z x) by scipy."""
    values = [
        [
            np.sqrt(2) / abs(special.spherical_jn(order + 1, z)) * special.spherical_jn(order, z * x)
            for z in row
        ]
        for order, row in enumerate(bessel_zeros(NUM_SPHERICAL, NUM_RADIAL))
    ]
    return np.moveaxis(np.array(values), -1, 0)


@pytest.mark.parity
def test_zeros_are_zeros_in_order():
    zeros = bessel_zeros(NUM_SPHERICAL, NUM_RADIAL)
    assert np.allclose(zeros[0], np.pi * np.arange(1, NUM_RADIAL + 1))
    for order, row in enumerate(zeros):
        assert np.abs(special.spherical_jn(order, row)).max() < 1e-13
        # No zero is missed: the function changes sign once between neighbours.
        fine = np.linspace(1e-3, row[-1] + 1e-6, 20_000)
        assert (np.diff(np.sign(special.spherical_jn(order, fine))) != 0).sum() == NUM_RADIAL


@pytest.mark.parity
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)])
def test_bessel_basis_is_that_of_scipy(dtype, tolerance, x64):
    values = bessel_basis(jnp.asarray(DISTANCES, dtype), NUM_SPHERICAL, NUM_RADIAL)
    assert values.dtype == dtype
    expected = reference_basis(np.asarray(jnp.asarray(DISTANCES, dtype), np.float64))
    deviation = np.abs(np.asarray(values) - expected).max()
    print(f"{deviation:.1e} of {np.abs(expected).max():.1f}")
    assert deviation < tolerance * np.abs(expected).max()


def test_bessel_basis_is_orthonormal(x64):
    """∫ x² f_ln f_lm dx = δ_nm on [0, 1] (DimeNet, eq. 6)."""
    points, weights = np.polynomial.legendre.leggauss(200)
    x = (points + 1) / 2
    basis = np.asarray(bessel_basis(jnp.asarray(x), NUM_SPHERICAL, NUM_RADIAL))
    gram = np.einsum("x,xln,xlm->lnm", weights / 2 * x**2, basis, basis)
    assert np.allclose(gram, np.eye(NUM_RADIAL), atol=1e-10)


def test_bessel_basis_beyond_the_cutoff_is_its_end():
    basis = bessel_basis(jnp.array([1.0, 1.5]), NUM_SPHERICAL, NUM_RADIAL)
    assert np.array_equal(basis[0], basis[1])
    assert np.abs(basis[0]).max() < 1e-4


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-13), (jnp.float32, 2e-6)])
def test_addition_theorem(dtype, tolerance, x64):
    """Σ_m S_lm(u) S_lm(v) = P_l(u·v): what replaces the list of triplets."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 300, 3))
    v[:20], v[20:40] = u[:20], -u[20:40]  # cos θ = 1 and -1
    u, v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (u, v))
    order = 8
    ours = [harmonics_of(jnp.asarray(a, dtype), order) for a in (u, v)]
    for degree in range(order + 1):
        first, second = (a[:, degree**2 : (degree + 1) ** 2] for a in ours)
        assert first.shape == (300, 2 * degree + 1)
        assert first.dtype == dtype
        expected = special.eval_legendre(degree, np.clip((u * v).sum(1), -1, 1))
        assert np.abs((first * second).sum(1) - expected).max() < tolerance


@pytest.mark.parity
def test_harmonics_are_those_of_scipy(x64):
    rng = np.random.default_rng(1)
    u = rng.normal(size=(50, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    theta, phi = np.arccos(u[:, 2]), np.arctan2(u[:, 1], u[:, 0])
    harmonics = harmonics_of(jnp.asarray(u), 6)
    for degree in range(7):
        values = harmonics[:, degree**2 : (degree + 1) ** 2]
        scale = np.sqrt(4 * np.pi / (2 * degree + 1))
        for column, m in enumerate(range(-degree, degree + 1)):
            y = special.sph_harm_y(degree, abs(m), theta, phi) * (-1) ** m * scale
            expected = y.real if m == 0 else np.sqrt(2) * (y.imag if m < 0 else y.real)
            assert np.allclose(values[:, column], expected, atol=1e-13)


def test_harmonics_of_no_direction():
    harmonics = harmonics_of(jnp.zeros((2, 3)), 3)
    assert (harmonics[:, 0] == 1).all()
    assert not harmonics[:, 1:].any()


@pytest.mark.grad
@pytest.mark.parametrize("exponent", [3, 5, 6])
def test_envelope_ends_smoothly(exponent, x64):
    """1 at 0; 0 with two derivatives at 1, and beyond; never rising."""

    @jax.jit
    def value(x):
        return envelope(x, exponent)

    first, second = jax.jit(jax.grad(value)), jax.jit(jax.grad(jax.grad(value)))
    assert value(jnp.array(0.0)) == 1.0
    for x in (1.0 - 1e-9, 1.0, 1.0 + 1e-9, 3.0):
        assert abs(value(jnp.array(x))) < 1e-14
        assert abs(first(jnp.array(x))) < 1e-12
        assert abs(second(jnp.array(x))) < 1e-5
    assert (np.diff(value(jnp.linspace(0.0, 1.2, 500))) < 1e-14).all()


@pytest.mark.grad
def test_radial_basis_and_gradient(x64):
    x, frequencies = jnp.linspace(0.06, 1.0, 30), np.pi * jnp.arange(1.0, 7.0)
    values = basis_of(x, frequencies)
    assert np.allclose(values, np.sin(np.outer(x, frequencies)) / np.asarray(x)[:, None])
    step = 1e-6
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda x: radial_basis(x, frequencies))))(x)
    change = (basis_of(x + step, frequencies) - basis_of(x - step, frequencies)) / (2 * step)
    assert np.allclose(slope, change, rtol=1e-6, atol=1e-6)
