"""Lattice parameters: families, round trips, gradients, and against pymatgen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcrystal.symmetry import lattice
from jaxcrystal.symmetry.families import FIXED, TIE
from jaxcrystal.symmetry.groups import FAMILIES
from tests import crystals

#: Compiled once, for every group: step by step, each step is a program.
free_params, lattice_matrix, lengths_angles, metric, metric_gradient, params_from_lengths_angles = (
    jax.jit(function)
    for function in (
        lattice.free_params,
        lattice.lattice_matrix,
        lattice.lengths_angles,
        lattice.metric,
        lattice.metric_gradient,
        crystals.params_from_lengths_angles,
    )
)
host_lattice = lattice.host_lattice

#: One group of each family, rhombohedral axes apart, and the parameters it leaves free.
FAMILY_GROUPS = {
    "triclinic": (2, [True] * 6),
    "monoclinic": (14, [True, True, True, False, True, False]),
    "orthorhombic": (62, [True, True, True, False, False, False]),
    "tetragonal": (139, [True, False, True, False, False, False]),
    "hexagonal": (166, [True, False, True, False, False, False]),
    "cubic": (225, [True, False, False, False, False, False]),
}
each_family = pytest.mark.parametrize("family", FAMILIES)


def _random_cell(family, rng):
    """Lengths and angles that the family allows, free angles from 40° to 140°."""
    lengths, angles = rng.uniform(2.0, 30.0, 3), crystals.random_angles(rng, FAMILY_GROUPS[family][0])
    if family in ("tetragonal", "hexagonal", "cubic"):
        lengths[1] = lengths[0]
    if family == "cubic":
        lengths[2] = lengths[0]
    return jnp.array(lengths), jnp.array(angles)


@each_family
def test_roundtrip(family, x64):
    number, free = FAMILY_GROUPS[family]
    rng = np.random.default_rng(0)
    for _ in range(10):
        lengths, angles = _random_cell(family, rng)
        params = params_from_lengths_angles(lengths, angles, number)
        assert not np.asarray(params)[~np.array(free)].any()
        back_lengths, back_angles = lengths_angles(params, number)
        assert np.allclose(back_lengths, lengths, rtol=1e-12)
        assert np.allclose(back_angles, angles, rtol=1e-12)


@each_family
def test_free_params(family):
    number, free = FAMILY_GROUPS[family]
    assert free_params(number).tolist() == free
    assert lattice.free_params(number).tolist() == free


@pytest.mark.property
@given(
    family=st.sampled_from(FAMILIES),
    params=st.lists(st.floats(-20.0, 60.0), min_size=3, max_size=3),
    cotangents=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3),
)
def test_any_numbers_give_a_cell_of_the_family(family, params, cotangents):
    """Slots that are not free do not matter, and every length is positive."""
    number, free = FAMILY_GROUPS[family]
    everything = jnp.array(params + cotangents)
    lengths, angles = lengths_angles(everything, number)
    assert (lengths > 0).all()
    ignored = jnp.where(jnp.array(free), everything, 7.7)
    for first, second in zip((lengths, angles), lengths_angles(ignored, number), strict=True):
        assert np.array_equal(first, second)
    if family in ("tetragonal", "hexagonal", "cubic"):
        assert lengths[0] == lengths[1]
    if family == "cubic":
        assert lengths[0] == lengths[2]
    expected = {"hexagonal": [90, 90, 120], "monoclinic": [90, angles[1], 90], "triclinic": angles}
    assert np.allclose(angles, np.array(expected.get(family, [90, 90, 90])), atol=1e-4)


@each_family
@pytest.mark.parity
def test_matrix_is_that_of_pymatgen(family, x64):
    """pymatgen's `vesta` orientation: a along x, b in the xy plane."""
    core = pytest.importorskip("pymatgen.core")
    number, _ = FAMILY_GROUPS[family]
    rng = np.random.default_rng(1)
    for _ in range(10):
        lengths, angles = _random_cell(family, rng)
        ours = lattice_matrix(params_from_lengths_angles(lengths, angles, number), number)
        theirs = core.Lattice.from_parameters(*map(float, (*lengths, *angles)), vesta=True)
        assert np.allclose(ours, theirs.matrix, atol=1e-9)
        assert np.linalg.det(ours) == pytest.approx(theirs.volume)


@each_family
def test_on_the_host_as_on_the_device(family, x64):
    number, _ = FAMILY_GROUPS[family]
    for params in np.random.default_rng(5).normal(0.0, 15.0, (50, 6)):
        lattice = host_lattice(params, number)
        assert isinstance(lattice, np.ndarray)
        assert lattice.dtype == np.float64
        assert np.allclose(lattice, lattice_matrix(jnp.asarray(params), number), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_failed_sample_has_a_lattice_without_warnings(value):
    """In float32 too, as samples come; warnings are errors here."""
    for dtype in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            params = np.full(6, value).astype(dtype)
        assert host_lattice(params, 2).shape == (3, 3)


@each_family
def test_metric_is_that_of_the_matrix(family, x64):
    number, _ = FAMILY_GROUPS[family]
    lengths, angles = _random_cell(family, np.random.default_rng(2))
    params = params_from_lengths_angles(lengths, angles, number)
    vectors = np.asarray(lattice_matrix(params, number))
    assert np.allclose(metric(params, number), vectors @ vectors.T, rtol=1e-12, atol=1e-10)
    assert vectors[0, 1] == vectors[0, 2] == vectors[1, 2] == 0.0


@each_family
@pytest.mark.grad
def test_metric_gradient_against_finite_differences(family, x64):
    number, free = FAMILY_GROUPS[family]
    lengths, angles = _random_cell(family, np.random.default_rng(3))
    params = params_from_lengths_angles(lengths, angles, number)
    gradient = np.asarray(metric_gradient(params, number))
    step = 1e-5
    for slot in range(6):
        shift = jnp.zeros(6).at[slot].set(step)
        change = (metric(params + shift, number) - metric(params - shift, number)) / (2 * step)
        assert np.allclose(gradient[slot], change, atol=1e-6)
        assert free[slot] or not gradient[slot].any()
        if free[slot]:
            assert np.abs(gradient[slot]).max() > 0.1


@each_family
@pytest.mark.grad
def test_metric_gradient_is_that_of_automatic_differentiation(family, x64):
    number, _ = FAMILY_GROUPS[family]
    slope = jax.jit(jax.jacfwd(lattice.metric))
    for params in np.random.default_rng(7).normal(0.0, 10.0, (50, 6)):
        expected = np.moveaxis(slope(jnp.asarray(params), number), -1, 0)
        assert np.allclose(metric_gradient(params, number), expected, rtol=1e-12, atol=1e-12)


@each_family
def test_parameters_are_spread_as_the_tables_say(family, x64):
    """full = params @ TIE + FIXED: that lengths which are not free follow the first holds in every family."""
    number, _ = FAMILY_GROUPS[family]
    row = FAMILIES.index(family)
    for params in np.random.default_rng(8).normal(0.0, 10.0, (20, 6)):
        full = params @ TIE[row] + FIXED[row]
        lengths, cotangents = lattice.lengths_and_cotangents(jnp.asarray(params), number)
        assert np.allclose(lengths, 10.0 * np.log1p(np.exp(full[:3] / 10.0)), rtol=1e-12)
        assert np.allclose(cotangents, full[3:] / 10.0, rtol=1e-12, atol=0)


@pytest.mark.grad
def test_matrix_gradient_is_finite_where_no_cell_exists():
    """Angles such as (150, 20, 90) close no cell; sampling can come by them."""
    params = jnp.array([5.0, 5.0, 5.0, -17.3, 27.5, 0.0])
    assert np.isfinite(lattice_matrix(params, 2)).all()
    assert np.isfinite(jax.jit(jax.jacfwd(lattice_matrix))(params, 2)).all()
    assert np.isfinite(jax.jit(jax.jacrev(lattice_matrix))(params, 2)).all()


@pytest.mark.grad
@pytest.mark.parametrize("value", [-200.0, 0.0, 500.0])
def test_extreme_lengths_stay_finite(value):
    params = jnp.full(6, value).at[3:].set(0.0)
    assert np.isfinite(metric(params, 16)).all()
    assert np.isfinite(metric_gradient(params, 16)).all()


def test_tied_lengths_are_averaged(x64):
    lengths, angles = jnp.array([4.0, 4.2, 6.0]), jnp.array([90.0, 90.0, 90.0])
    back, _ = lengths_angles(params_from_lengths_angles(lengths, angles, 139), 139)
    assert np.allclose(back, [4.1, 4.1, 6.0])
    back, _ = lengths_angles(params_from_lengths_angles(lengths, angles, 225), 225)
    assert np.allclose(back, jnp.full(3, 14.2 / 3))


def test_length_formula(x64):
    """length = 10 log(1 + exp(param / 10)); param = 10 cot(angle)."""
    params = jnp.array([1.0, 2.0, 3.0, 4.0, -5.0, 6.0])
    lengths, angles = lengths_angles(params, 1)
    assert np.allclose(lengths, 10 * np.log1p(np.exp(np.array([0.1, 0.2, 0.3]))))
    assert np.allclose(10 / np.tan(np.radians(angles)), [4.0, -5.0, 6.0])


@pytest.mark.compile
def test_jit_and_vmap_over_groups(x64):
    """The group is data: one compilation serves a batch of mixed families."""
    rng = np.random.default_rng(4)
    numbers = jnp.array([FAMILY_GROUPS[family][0] for family in FAMILIES])
    cells = [_random_cell(family, rng) for family in FAMILIES]
    lengths, angles = (jnp.stack(values) for values in zip(*cells, strict=True))
    params = jax.vmap(params_from_lengths_angles)(lengths, angles, numbers)
    for function in (lattice.lattice_matrix, lattice.metric, lattice.metric_gradient):
        traces = 0

        def counted(params, number, function=function):
            nonlocal traces
            traces += 1
            return function(params, number)

        batched = jax.jit(jax.vmap(counted))
        result = batched(params, numbers)
        batched(params + 1.0, numbers[::-1])
        assert traces == 1
        for row, number in enumerate(numbers.tolist()):
            assert np.allclose(result[row], function(params[row], number), atol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_precision_of_the_input_is_kept(dtype, x64):
    params = jnp.arange(1.0, 7.0, dtype=dtype)
    assert lattice_matrix(params, 2).dtype == dtype
    assert metric(params, 2).dtype == dtype
    assert metric_gradient(params, 2).dtype == dtype
    assert lengths_angles(params, 2)[0].dtype == dtype


@pytest.mark.property
def test_opened_parameters_make_a_cell(x64):
    """However far off the angles are; a cell that is open enough stays as it is, and so do lengths."""
    rng = np.random.default_rng(6)
    params = jnp.asarray(rng.normal(0.0, 1.0, (2000, 6)) * rng.choice([2.0, 10.0, 100.0], (2000, 1)))
    found = jax.jit(jax.vmap(lattice.opened))(params)
    units = np.asarray(lattice.unit_volume_squared(found))
    assert units.min() >= lattice.MIN_UNIT_VOLUME_SQUARED
    enough = np.asarray(lattice.unit_volume_squared(params)) >= lattice.MIN_UNIT_VOLUME_SQUARED
    assert 0.2 < enough.mean() < 0.8
    assert np.array_equal(found[enough], params[enough])
    assert np.array_equal(found[:, :3], params[:, :3])
    for row in found[:50]:
        vectors = host_lattice(np.asarray(row), 2)
        lengths = np.linalg.norm(vectors, axis=1)
        squared = (np.linalg.det(vectors) / lengths.prod()) ** 2
        assert squared == pytest.approx(float(lattice.unit_volume_squared(row)))


def test_opened_parameters_that_are_no_numbers_stay_so():
    assert np.isnan(lattice.opened(jnp.array([1.0, 2.0, 3.0, jnp.nan, 1.0, 1.0]))).any()
