"""Geometry is computed in full precision on every device, whatever the network's layers are computed in.

Accelerators round the operands of matrix products that ask for no precision (TF32 on a GPU, bfloat16
on a TPU). `benchmarks.rounding` does so here.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.operations import products
from benchmarks.rounding import KINDS, is_exact, round_operand, rounded
from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.diffusion.langevin import LangevinConfig, init, step
from jaxcrystal.diffusion.loss import joint_loss
from jaxcrystal.diffusion.noise import start
from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.score import make_score
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import random_params
from tests.tiny import make_tiny_model

#: Groups of all families, with all centrings.
GROUPS = (2, 4, 15, 22, 46, 62, 88, 141, 166, 194, 216, 225, 230)
#: Å.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model():
    """A small network with weights, its layers in the precision that devices may round."""
    model = make_tiny_model().with_precision("tf32")
    first = jax.tree.map(lambda array: array[0], crystals(free=False)[0])
    return replace(model, params=random_params(1, model.network, first))


def crystals(free):
    """Two sites in each group, on two special positions or free ones, and a random start of each."""
    letters = {group: [0, min(2, len(wyckoff_positions(group)) - 1)] for group in GROUPS}
    built = [build_crystal(group, [11, 17], None if free else letters[group]) for group in GROUPS]
    batch = jax.tree.map(jnp.asarray, pad_and_stack(built, 2))
    return batch, jax.vmap(start)(jax.random.split(jax.random.key(3), len(built)), batch)


def capacity_of(batch, free):
    return ImageCapacity.fitting(batch, constrained=not free)


def not_exact(function, *arguments):
    return [p for p in products(jax.make_jaxpr(function)(*arguments).jaxpr) if not is_exact(p)]


def a_step(model, capacity, config, sigma=(0.3, 1.0)):
    score = partial(make_score(model.module, model.graph, capacity), model.params)
    return lambda key, state: step(key, state, score, jnp.array(sigma), config)


def test_rounding_is_that_of_accelerators():
    x = jnp.float32(1.0) + jnp.float32(2.0) ** -jnp.arange(1, 14, dtype=jnp.float32)
    assert (round_operand(x, "tf32") == x).tolist() == [n <= 10 for n in range(1, 14)]
    assert (round_operand(x, "bfloat16") == x).tolist() == [n <= 7 for n in range(1, 14)]
    special = jnp.array([jnp.inf, -jnp.inf, 0.0, -1.5e-40])
    assert (round_operand(special, "tf32")[:3] == special[:3]).all()
    assert jnp.isnan(round_operand(jnp.float32(jnp.nan), "tf32"))


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_sees_products_inside_of_loops_and_derivatives(kind):
    matrix = jax.random.normal(jax.random.key(0), (8, 8))

    def inside(x):
        def body(carry, _):
            return jnp.tanh(carry @ matrix), None

        looped = jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] @ matrix), (0, x))[1]
        chosen = jax.lax.cond(x[0, 0] > -1e9, lambda y: y @ matrix, lambda y: y, looped)
        return jax.jit(jax.checkpoint(lambda y: jax.lax.scan(body, y, None, length=2)[0]))(chosen).sum()

    def by_hand(x):
        def product(y):
            return round_operand(y, kind) @ round_operand(matrix, kind)

        return jnp.tanh(product(jnp.tanh(product(product(product(product(x))))))).sum()

    x = jax.random.normal(jax.random.key(1), (8, 8))
    assert rounded(inside, kind)(x) == pytest.approx(float(by_hand(x)), rel=1e-6)
    assert float(by_hand(x)) != pytest.approx(float(inside(x)), rel=1e-6)
    slope = rounded(jax.grad(lambda y: (y @ matrix).sum()), kind)(x)
    assert (np.asarray(slope) == np.asarray(jnp.ones((8, 8)) @ round_operand(matrix, kind).T)).all()


@pytest.mark.parametrize("free", [False, True])
def test_only_the_layers_products_may_be_rounded(model, free):
    batch, begun = crystals(free)
    capacity, config = capacity_of(batch, free), LangevinConfig(model.sampling_schedule)
    one, state = jax.tree.map(
        lambda a: a[0], (begun, jax.vmap(init)(jax.random.split(jax.random.key(0), len(GROUPS)), batch))
    )
    key, sigma = jax.random.key(1), jnp.array([0.3, 1.0])

    def graph(crystal):
        return build_multigraph(crystal, model.graph, capacity)

    assert not not_exact(graph, one)
    assert not not_exact(init, key, one)
    for precision, some in (("float32", False), ("tf32", True), ("bfloat16", False)):
        module = model.with_precision(precision).module
        score = make_score(module, model.graph, capacity)

        def update(params, score=score):
            loss = joint_loss(key, partial(score, params), one, sigma)
            return loss.coords + loss.lattice

        def move(state, score=score):
            return step(key, state, partial(score, model.params), sigma, config)

        for found in (not_exact(move, state), not_exact(jax.grad(update), model.params)):
            assert bool(found) == some


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("free", [False, True])
def test_distances_do_not_move(model, free, kind):
    batch, begun = crystals(free)
    capacity = capacity_of(batch, free)

    def search(crystal):
        edges = build_multigraph(crystal, model.graph, capacity).edges
        return edges.distance, edges.displacement, edges.sender_direction

    exact = jax.jit(jax.vmap(search))(begun)
    for one, other in zip(exact, jax.jit(jax.vmap(rounded(search, kind)))(begun), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("free", "kind"), [(True, "tf32"), (False, "bfloat16")])
def test_a_step_of_size_zero_moves_nothing(model, free, kind):
    batch, _ = crystals(free)
    config = LangevinConfig(model.sampling_schedule, coord_step=0.0, lattice_step=0.0)
    keys = jax.random.split(jax.random.key(5), len(GROUPS))
    state = jax.vmap(init)(keys, batch)
    moved = jax.jit(jax.vmap(rounded(a_step(model, capacity_of(batch, free), config), kind)))(keys, state)
    lattice = np.asarray(jax.vmap(lattice_matrix)(state.crystal.lattice_params, state.crystal.space_group))
    difference = np.asarray(moved.crystal.frac_coords) - np.asarray(state.crystal.frac_coords)
    difference -= np.round(difference)
    assert np.abs(np.einsum("nsa,nab->nsb", difference, lattice)).max() < TOLERANCE
    assert (moved.crystal.lattice_params == state.crystal.lattice_params).all()
    # The network's layers are rounded: without this, nothing would be tested.
    plain = jax.jit(jax.vmap(a_step(model, capacity_of(batch, free), config)))(keys, state)
    assert (moved.scores != plain.scores).any()


def test_sites_stay_on_their_special_positions(model):
    batch, _ = crystals(free=False)
    keys = jax.random.split(jax.random.key(6), len(GROUPS))
    state = jax.vmap(init)(keys, batch)
    config = LangevinConfig(model.sampling_schedule)
    moved = jax.jit(jax.vmap(rounded(a_step(model, capacity_of(batch, free=False), config), "bfloat16")))(
        keys, state
    )
    offset = np.asarray(moved.crystal.frac_coords, float) - np.asarray(batch.frac_coords, float)
    away = np.eye(3) - np.asarray(batch.site_projection, float)
    lattice = np.asarray(
        jax.vmap(lattice_matrix)(moved.crystal.lattice_params, moved.crystal.space_group), float
    )
    assert np.abs(np.einsum("nsij,nsj,njk->nsk", away, offset, lattice)).max() < TOLERANCE
    assert np.abs(np.asarray(moved.crystal.frac_coords - state.crystal.frac_coords)).max() > 1e-2
