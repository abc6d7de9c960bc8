"""Noise estimates: gradients of distances, and what must not change them."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.bases import edge_weight
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.score import count_params, init_params, reduce_edges
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import metric
from jaxcrystal.symmetry.subspaces import num_free_coords, project_displacement
from jaxcrystal.symmetry.wyckoff import coset_representatives, group_operations, wyckoff_positions
from tests.crystals import (
    lattice_of,
    make_crystal,
    pad,
    random_crystal,
    random_params,
    random_shape,
    score_of,
    stack,
    to_device,
)
from tests.groups import GROUPS, each_group
from tests.precision import double_precision

CONFIG = NetworkConfig(
    GraphConfig(cutoff=4.5, max_neighbors=20),
    DimeNetConfig(
        hidden=8, interaction=6, basis=4, output=8, blocks=1, num_spherical=4, num_radial=3, noise_features=4
    ),
)
NODES = 3
SIGMA = (0.4, 0.7)


@cache
def double_parameters():
    with double_precision():
        crystal = to_device(random_crystal(np.random.default_rng(0), 16, NODES))
        return jax.tree.map(np.asarray, random_params(1, CONFIG, crystal))


def parameters():
    """Random weights in the precision that is on."""
    return jax.tree.map(jnp.asarray, double_parameters())


@jax.jit
def estimate_batch(params, crystals):
    estimate = score_of(CONFIG, ImageCapacity.free(crystals.species.shape[1]))
    return jax.lax.map(lambda crystal: estimate(params, crystal, jnp.asarray(SIGMA)), crystals)


def estimates(crystals):
    """Estimates of crystals padded to NODES or more, as numpy arrays [batch, ...]."""
    found = estimate_batch(parameters(), to_device(stack(crystals)))
    assert not found.status.any()
    return jax.tree.map(np.asarray, found)


@cache
def padded_crystals(special=False, constrained=False):
    rng = np.random.default_rng([int(special), int(constrained)])
    crystals = [random_crystal(rng, group, 2, special=special, constrained=constrained) for group in GROUPS]
    return [pad(crystal, NODES) for crystal in crystals]


def assert_close(found, expected):
    """Each crystal's estimates [batch, ...], relative to the largest of its own."""
    found, expected = (array.reshape(len(GROUPS), -1) for array in (found, expected))
    assert (np.abs(found - expected).max(1) < 1e-9 * np.abs(expected).max(1)).all()


def rotated_site(crystal, site, op):
    """The crystal with one of its sites replaced by an image of it."""
    space_group = int(crystal.space_group)
    rotations, translations, _ = group_operations(space_group)
    tables = group_tables()
    coords, projection = crystal.frac_coords.copy(), crystal.site_projection.copy()
    site_ops = crystal.site_ops.copy()
    coords[site] = rotations[op] @ coords[site] + translations[op]
    projection[site] = rotations[op] @ projection[site] @ np.linalg.inv(rotations[op])
    if site_ops[site].sum() < len(rotations):  # the stabiliser of the image is its conjugate
        letter = next(
            p
            for p in wyckoff_positions(space_group)
            if np.array_equal(p.site_ops, crystal.site_ops[site])
            and np.allclose(p.projection, crystal.site_projection[site])
        )
        product, inverse = tables.product[space_group], tables.inverse[space_group]
        conjugate = np.zeros_like(letter.stabilizer)
        conjugate[product[product[op, np.flatnonzero(letter.stabilizer)], inverse[op]]] = True
        site_ops[site] = coset_representatives(conjugate, space_group)
    return crystal._replace(frac_coords=coords, site_projection=projection, site_ops=site_ops)


@pytest.mark.property
@pytest.mark.parametrize("constrained", [False, True])
def test_an_image_of_a_site_will_do(constrained, x64):
    """Its noise turns with it, the other site's and the lattice's do not change."""
    crystals = padded_crystals(special=constrained, constrained=constrained)
    rng = np.random.default_rng(2)
    expected = estimates(crystals)
    ops = [1 + int(rng.integers(group_tables().num_ops[group] - 1)) if group > 1 else 0 for group in GROUPS]
    moved = estimates([rotated_site(c, 0, op) for c, op in zip(crystals, ops, strict=True)])
    turn = np.stack([group_tables().cart_rotations[g, op] for g, op in zip(GROUPS, ops, strict=True)])
    turned = expected.coords.copy()
    turned[:, 0] = np.einsum("bij,bj->bi", turn, expected.coords[:, 0])
    assert_close(moved.coords, turned)
    assert_close(moved.lattice, expected.lattice)


@pytest.mark.property
def test_an_operation_on_all_sites_turns_the_noise(x64):
    crystals = padded_crystals()
    expected = estimates(crystals)
    moved = [rotated_site(rotated_site(c, 0, -1 % n), 1, -1 % n) for c, n in _with_order(crystals)]
    found = estimates(moved)
    turn = np.stack(
        [group_tables().cart_rotations[int(c.space_group), n - 1] for c, n in _with_order(crystals)]
    )
    assert_close(found.coords, np.einsum("bij,bnj->bni", turn, expected.coords))
    assert_close(found.lattice, expected.lattice)


def _with_order(crystals):
    return [(c, int(group_tables().num_ops[int(c.space_group)])) for c in crystals]


@pytest.mark.property
def test_permutation_of_the_sites(x64):
    """Padding may stand anywhere."""
    crystals = padded_crystals()
    order = [2, 1, 0]
    shuffled = [
        crystal._replace(
            species=crystal.species[order],
            frac_coords=crystal.frac_coords[order],
            node_mask=crystal.node_mask[order],
            site_ops=crystal.site_ops[order],
            site_projection=crystal.site_projection[order],
        )
        for crystal in crystals
    ]
    expected, found = estimates(crystals), estimates(shuffled)
    assert_close(found.coords, expected.coords[:, order])
    assert_close(found.lattice, expected.lattice)


def allowed_shift(rng, space_group):
    """An origin shift that maps the operations to themselves, or None but for lattice vectors."""
    rotations, _, primitive = group_operations(space_group)
    steps = np.array([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4])
    shifts = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    polar = np.linalg.svd((rotations - np.eye(3)).reshape(-1, 3))
    free = polar.Vh[np.pad(polar.S, (0, 3 - len(polar.S))) < 1e-9]
    if len(free):
        shifts = shifts + rng.uniform(size=(len(shifts), len(free))) @ free
    inverse = np.linalg.inv(primitive)
    moved = np.einsum("gab,sb->sga", rotations - np.eye(3), shifts) @ inverse
    allowed = (np.abs(moved - np.round(moved)) < 1e-9).all((1, 2))
    coefficients = shifts @ inverse
    allowed &= (np.abs(coefficients - np.round(coefficients)) > 1e-6).any(1)
    return shifts[rng.choice(np.flatnonzero(allowed))] if allowed.any() else None


@pytest.mark.property
def test_origin_shifts_that_the_group_allows(x64):
    rng = np.random.default_rng(3)
    crystals = padded_crystals(special=True)
    shifts = [allowed_shift(rng, group) for group in GROUPS]
    assert sum(shift is not None for shift in shifts) >= 200
    moved = [
        c._replace(frac_coords=c.frac_coords + (rng.integers(-2, 3, 3) if shift is None else shift))
        for c, shift in zip(crystals, shifts, strict=True)
    ]
    expected, found = estimates(crystals), estimates(moved)
    assert_close(found.coords, expected.coords)
    assert_close(found.lattice, expected.lattice)


def test_scores_are_minus_the_noise_over_sigma():
    """And DimeNet++ does not look at conditions."""
    crystal = to_device(random_crystal(np.random.default_rng(5), 62, 2))
    score = score_of(CONFIG, ImageCapacity.free(2))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), double_parameters())
    found, told = (
        jax.jit(partial(score, cond=cond))(params, crystal, jnp.asarray(SIGMA))
        for cond in (None, {"gap": jnp.float32(1.5)})
    )
    assert np.abs(found.coords).max() > 1e-3
    assert np.allclose(found.coord_score, -found.coords / SIGMA[0], rtol=1e-6)
    assert np.allclose(found.lattice_score, -found.lattice / SIGMA[1], rtol=1e-6)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(told), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.property
def test_more_padding_changes_nothing(x64):
    crystals = padded_crystals()
    expected, found = estimates(crystals), estimates([pad(crystal, 5) for crystal in crystals])
    assert_close(found.coords[:, :NODES], expected.coords)
    assert_close(found.lattice, expected.lattice)
    assert not found.coords[:, 2:].any()


def test_estimates_lie_where_noise_does(x64):
    """In the subspace of each site, and on the free lattice parameters."""
    crystals = padded_crystals(special=True, constrained=True)
    found = estimates(crystals)
    for index, crystal in enumerate(crystals):
        frac = found.coords[index] @ np.linalg.inv(lattice_of(crystal))
        inside = np.einsum("nab,nb->na", crystal.site_projection, frac)
        assert np.allclose(frac, inside, atol=1e-12)
        assert not found.coords[index][~crystal.node_mask].any()
        free = crystal.lattice_params != 0
        assert not found.lattice[index][~free].any()
        assert found.lattice[index][free].all()


def test_a_fresh_network_says_nothing(x64):
    """Output layers start at zero: the first loss is 1."""
    crystals = to_device(stack(padded_crystals()))
    params = init_params(
        jax.random.key(0), make_module(CONFIG), CONFIG.graph, jax.tree.map(lambda leaf: leaf[0], crystals)
    )
    found = estimate_batch(params, crystals)
    assert not found.coords.any()
    assert not found.lattice.any()
    assert count_params(params) == sum(leaf.size for leaf in jax.tree.leaves(params)) > 1000


# Compiled, once for all groups: step by step, each step is a program.
graph_of = jax.jit(build_multigraph, static_argnums=(1, 2))
metric_of = jax.jit(metric)
weight_of = jax.jit(edge_weight, static_argnums=1)
reduced = jax.jit(reduce_edges, static_argnums=3)


@pytest.mark.grad
@pytest.mark.usefixtures("x64")
@each_group
def test_lattice_estimate_by_finite_differences(space_group):
    """G = ∂d/∂params at fixed fractional displacement."""
    rng = np.random.default_rng(space_group)
    crystal = to_device(pad(random_crystal(rng, space_group, 2), NODES))
    graph = graph_of(crystal, CONFIG.graph, ImageCapacity.free(NODES))
    outputs = jnp.asarray(rng.normal(size=(graph.edges.mask.size, 2)))
    frac = np.asarray(graph.edges.frac_displacement)

    def distances(params):
        return np.sqrt(np.einsum("ea,ab,eb->e", frac, np.asarray(metric_of(params, space_group)), frac))

    step, slopes = 1e-5, []
    for slot in range(6):
        shift = jnp.zeros(6).at[slot].set(step if crystal.lattice_params[slot] != 0 else 0.0)
        difference = distances(crystal.lattice_params + shift) - distances(crystal.lattice_params - shift)
        slopes.append(difference / (2 * step))
    slopes = np.stack(slopes, axis=1)
    weight = np.asarray(weight_of(graph, 5))
    terms = (weight * outputs[:, 1])[:, None] * slopes / ((slopes**2).sum(1, keepdims=True) + 1e-3)
    expected = terms.sum(0) / weight.sum()
    found = reduced(outputs, graph, crystal, 5)[1]
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-8)


def coinciding_crystals():
    """Atoms on one another, on special positions, alone, in oblique cells, and no atom at all."""
    cube = (np.full(3, 4.0), np.full(3, 90.0))
    together = make_crystal(225, *cube, [1, 2, 3], [[0, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5]])
    near = make_crystal(221, *cube, [1, 2, 3], [[1e-4, 0, 0], [0.5, 0.5, 1e-9], [0.25, 0.25, 0.25]])
    general = make_crystal(16, *cube, [1, 2, 3], np.tile([0.1, 0.2, 0.3], (3, 1)))
    alone = pad(make_crystal(1, np.full(3, 30.0), np.full(3, 90.0), [8], [[0.0, 0.0, 0.0]]), 3)
    oblique = np.array([75.0, 128.0, 52.0])
    triclinic = make_crystal(1, [4.0, 5.0, 6.0], oblique, [1, 2, 3], np.tile([0.1, 0.2, 0.3], (3, 1)))
    centres = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 1e-9, 0.5 + 1e-4]]
    monoclinic = make_crystal(14, [4.0, 5.0, 6.0], [90.0, 135.0, 90.0], [1, 2, 3], centres)
    nothing = jax.tree.map(np.zeros_like, alone)
    return stack([together, near, general, alone, triclinic, monoclinic, nothing])


@pytest.mark.grad
def test_gradients_are_finite_everywhere():
    """In every group, with free sites on special positions, and where distances vanish."""
    batch = [coinciding_crystals(), stack(padded_crystals(special=True))]
    batch = to_device(jax.tree.map(lambda *leaves: np.concatenate(leaves), *batch))
    params = parameters()
    estimate = score_of(CONFIG, ImageCapacity.free(NODES))

    def loss(params, frac_coords, lattice_params):
        crystals = batch._replace(frac_coords=frac_coords, lattice_params=lattice_params)
        found = jax.vmap(lambda crystal: estimate(params, crystal, jnp.asarray(SIGMA)))(crystals)
        return ((found.coords - 0.3) ** 2).sum() + ((found.lattice - 0.3) ** 2).sum(), found

    gradients, found = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(
        params, batch.frac_coords, batch.lattice_params
    )
    for leaf in jax.tree.leaves((gradients, found)):
        assert np.isfinite(leaf).all()
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradients[0]))
    assert np.asarray(gradients[2])[-len(GROUPS) :].any(1).all()


@jax.jit
def projected(displacement, crystals):
    """Displacements projected once and twice, and the numbers of free coordinates of a batch."""
    once = jax.vmap(project_displacement)(displacement, crystals)
    return once, jax.vmap(project_displacement)(once, crystals), jax.vmap(num_free_coords)(crystals)


def test_projection_and_free_coordinates(x64):
    """Of a site on each Wyckoff position of every group."""
    rng = np.random.default_rng(0)
    positions = [wyckoff_positions(space_group) for space_group in GROUPS]
    largest = max(map(len, positions))
    crystals = []
    for space_group, letters in zip(GROUPS, positions, strict=True):
        lengths, angles = random_shape(rng, space_group)
        points, names = [p.origin for p in letters], [p.letter for p in letters]
        species = np.arange(1, len(letters) + 1)
        crystals.append(
            pad(make_crystal(space_group, 5.0 * lengths, angles, species, points, names), largest)
        )
    displacement = rng.normal(size=(len(crystals), largest, 3))
    once, twice, num_free = map(np.asarray, projected(displacement, to_device(stack(crystals))))
    assert np.allclose(twice, once, atol=1e-12)
    assert np.array_equal(num_free, [sum(p.num_free for p in letters) for letters in positions])
    for moved, by, crystal, letters in zip(once, displacement, crystals, positions, strict=True):
        assert not moved[len(letters) :].any()
        # Orthogonal: what is taken away is normal to all that is kept.
        for place, position in enumerate(letters):
            axes = position.basis @ lattice_of(crystal)
            assert np.allclose(axes @ (by[place] - moved[place]), 0.0, atol=1e-10)
            assert np.linalg.matrix_rank(np.vstack([axes, moved[place]]), tol=1e-9) == position.num_free


def test_layers_in_bfloat16_change_the_estimates_little() -> None:
    """Weights, gradients and outputs stay float32, and so do the sums of every product."""
    low = replace(CONFIG, dimenet=replace(CONFIG.dimenet, precision="bfloat16"))
    crystal = to_device(pad(random_crystal(np.random.default_rng(0), 62, NODES), NODES + 1))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), double_parameters())
    fresh = init_params(jax.random.key(0), make_module(low), low.graph, crystal)
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype(jnp.float32)}

    def loss_and_gradient(config):
        estimate = score_of(config, ImageCapacity.free(NODES + 1))

        def loss(params):
            guess = estimate(params, crystal, jnp.asarray(SIGMA, jnp.float32))
            return (guess.coords**2).sum() + (guess.lattice**2).sum(), guess

        return jax.grad(loss, has_aux=True)

    (gradient, guess), (low_gradient, low_guess) = (
        jax.jit(loss_and_gradient(config))(params) for config in (CONFIG, low)
    )
    for exact, rounded in ((guess.coords, low_guess.coords), (guess.lattice, low_guess.lattice)):
        assert rounded.dtype == jnp.float32
        assert 1e-5 < np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 0.05
    assert {leaf.dtype for leaf in jax.tree.leaves(low_gradient)} == {jnp.dtype(jnp.float32)}
    flat, low_flat = (
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(g)]) for g in (gradient, low_gradient)
    )
    assert low_flat @ flat / (np.linalg.norm(low_flat) * np.linalg.norm(flat)) > 0.99

    low_products = [
        equation.outvars[0].aval.dtype
        for equation in equations(jax.make_jaxpr(loss_and_gradient(low))(params).jaxpr)
        if equation.primitive.name == "dot_general"
        and {x.aval.dtype for x in equation.invars} == {jnp.dtype(jnp.bfloat16)}
    ]
    assert len(low_products) > 30
    assert set(low_products) == {jnp.dtype(jnp.float32)}


def equations(jaxpr):
    """All equations, those of inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_a_wrong_precision_is_named() -> None:
    with pytest.raises(ValueError, match="expected one of float32, tf32, bfloat16"):
        DimeNetConfig(precision="float16")
