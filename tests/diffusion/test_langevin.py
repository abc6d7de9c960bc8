"""Langevin dynamics: on scores that are known it recovers their distribution."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcrystal.diffusion.langevin import (
    MIN_LENGTH,
    LangevinConfig,
    LangevinState,
    anneal,
    change_lattice,
    init,
    step,
)
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.errors import Status
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import NetworkConfig
from jaxcrystal.structures.checks import audit
from jaxcrystal.symmetry.lattice import (
    MIN_UNIT_VOLUME_SQUARED,
    free_params,
    lattice_matrix,
    lengths_and_cotangents,
    lengths_angles,
    unit_volume_squared,
)
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import (
    make_crystal,
    pad,
    prediction,
    random_crystal,
    random_params,
    random_shape,
    score_of,
    stack,
    to_device,
)

RIGHT = np.full(3, 90.0)
run = jax.jit(anneal, static_argnames=("score", "config"))
# Compiled: step by step, each step is a program.
begin = jax.jit(jax.vmap(init))
lattices_of = jax.jit(jax.vmap(lattice_matrix))


@partial(jax.jit, static_argnames=("network", "config"))
def run_network(network, params, keys, templates, config):
    return anneal(keys, templates, partial(network, params), config)


def one_level(coords, lattice):
    """Two levels so near to each other that they are one."""
    return NoiseSchedule(coords * 1.0001, coords, lattice * 1.0001, lattice, levels=2)


@partial(jax.jit, static_argnums=1)
def keys_of(seed, count):
    return jax.vmap(lambda n: jax.random.fold_in(jax.random.key(seed), n))(jnp.arange(count))


def repeated(crystal, count):
    return to_device(jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], count, axis=0), crystal))


# Distributions that are known. For a normal target N(0, s²) one step is
#     x' = (1 - a) x + τ √ε z,     a = ε / 2s²,
# so that its stationary variance is τ² s² / (1 - a/2): exact, discretisation and all.

CENTRE = np.array([0.5, 0.02, 0.9])
SPREAD = 0.3  # Å
BROAD = 0.25  # of a length
MEAN, WIDTH = np.array([4.0, -3.0, 8.0, 4.0, -4.0, 2.0]), 0.5  # angles of 68, 112 and 79° where they are free


def normal_estimate(crystal, sigma, cond=None, reduction=None):
    """Coordinates normal about CENTRE, lattice parameters about MEAN; both of known width."""
    offset = crystal.frac_coords - CENTRE
    cart = (offset - jnp.round(offset)) @ lattice_matrix(crystal.lattice_params, crystal.space_group)
    free = free_params(crystal.space_group)
    lattice = jnp.where(free, sigma[1] * (crystal.lattice_params - MEAN) / WIDTH**2, 0.0)
    return prediction(sigma[0] * cart / SPREAD**2, lattice)


def wrapped_estimate(crystal, sigma, cond=None, reduction=None):
    """A wrapped normal, as broad as a quarter of the cell: its tails meet."""
    inverse = jnp.linalg.inv(lattice_matrix(crystal.lattice_params, crystal.space_group))
    images = (crystal.frac_coords - CENTRE)[..., None] + jnp.arange(-4.0, 5.0)
    weights = jax.nn.softmax(-0.5 * (images / BROAD) ** 2, axis=-1)
    slope = (weights * images).sum(-1) / BROAD**2 @ inverse.T
    return prediction(sigma[0] * slope, jnp.zeros_like(crystal.lattice_params))


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("alternating", "temperature", "coord_sigma", "lattice_sigma", "space_group"),
    [
        *((False, 1.0, 0.1, 0.5, 16), (True, 1.0, 0.3, 1.0, 16), (False, 0.15, 0.3, 1.0, 16)),
        *((True, 1.0, 0.3, 1.0, 3), (False, 0.15, 0.3, 1.0, 1)),  # one free angle, and three
    ],
)
def test_normal_distributions_are_recovered(
    alternating, temperature, coord_sigma, lattice_sigma, space_group
):
    """Mean and variance of sites on the torus and of the lattice, at the sampler's own steps."""
    config = LangevinConfig(
        schedule=one_level(coord_sigma, lattice_sigma),
        steps_per_level=75,  # the start is forgotten: the slowest pull is 0.05 a step
        alternating=alternating,
        lattice_temperature=temperature,
        denoise=False,
    )
    count = 3000
    crystal = make_crystal(space_group, np.full(3, 6.0), RIGHT, [1], [[0.0, 0.0, 0.0]])
    state, _ = run(keys_of(0, count), repeated(crystal, count), normal_estimate, config)
    assert not state.status.any()
    params = np.asarray(state.crystal.lattice_params)
    lattices = np.asarray(lattices_of(state.crystal.lattice_params, state.crystal.space_group))
    offset = np.asarray(state.crystal.frac_coords)[:, 0] - CENTRE
    cart = np.einsum("na,nab->nb", offset - np.round(offset), lattices)

    pull = config.coord_step * coord_sigma**2 / (2 * SPREAD**2)
    assert np.abs(cart.mean(0)).max() < 5 * SPREAD / np.sqrt(count)
    assert cart.var() == pytest.approx(SPREAD**2 / (1 - pull / 2), rel=5 * np.sqrt(2 / (3 * count)))

    pull = config.lattice_step * lattice_sigma**2 / (2 * WIDTH**2)
    variance = temperature**2 * WIDTH**2 / (1 - pull / 2)
    free = np.asarray(free_params(space_group))
    assert free.sum() == {16: 3, 3: 4, 1: 6}[space_group]
    assert np.abs(params[:, free].mean(0) - MEAN[free]).max() < 5 * np.sqrt(variance / count)
    assert np.allclose(params[:, free].var(0), variance, rtol=5 * np.sqrt(2 / count))
    for column in ((params - MEAN) / np.sqrt(variance))[:, free].T:
        assert stats.kstest(column, "norm").pvalue > 1e-4
    assert not params[:, ~free].any()


@pytest.mark.statistical
@pytest.mark.parametrize("space_group", [16, 1])
def test_a_wrapped_normal_is_recovered_on_the_torus(space_group):
    """Its first Fourier moment, exp(-2π² s²), and that of the start, 0."""
    config = LangevinConfig(
        schedule=one_level(0.25, 0.5), steps_per_level=150, lattice_temperature=0.0, denoise=False
    )
    count = 3000
    crystal = make_crystal(space_group, np.full(3, 6.0), RIGHT, [1], [[0.0, 0.0, 0.0]])
    templates = repeated(crystal, count)
    state, _ = run(keys_of(1, count), templates, wrapped_estimate, config)
    begun = begin(keys_of(1, count), templates)

    def moment(state):
        return np.exp(2j * np.pi * (np.asarray(state.crystal.frac_coords)[:, 0] - CENTRE)).mean(0)

    noise = 5 / np.sqrt(2 * count)
    assert np.abs(moment(begun)).max() < noise
    expected = np.exp(-2 * np.pi**2 * BROAD**2)
    # The step's own bias is of the order of its pull, ε/2s² = 0.01.
    assert np.abs(moment(state) - expected).max() < noise + 0.02 * expected
    assert (np.asarray(state.crystal.frac_coords) >= 0).all()
    assert (np.asarray(state.crystal.frac_coords) < 1).all()


def test_a_network_that_knows_leads_back(x64):
    """With the exact noise of one crystal, sampling ends at it, and the last step hits it."""
    crystal = random_crystal(np.random.default_rng(0), 62, 2)
    clean = to_device(crystal)

    def estimate(crystal, sigma, cond=None, reduction=None):
        lengths, _ = lengths_and_cotangents(crystal.lattice_params, crystal.space_group)
        offset = crystal.frac_coords - clean.frac_coords
        cart = (offset - jnp.round(offset)) * lengths
        change = crystal.lattice_params - clean.lattice_params
        return prediction(cart / sigma[0], change / sigma[1])

    for denoise, coords_tolerance in ((False, 0.1), (True, 1e-9)):
        config = LangevinConfig(steps_per_level=40, denoise=denoise)
        state, _ = run(keys_of(2, 8), repeated(crystal, 8), estimate, config)
        guess = jax.jit(jax.vmap(lambda c: estimate(c, jnp.ones(2))))(state.crystal)
        assert np.abs(guess.coords).max() < coords_tolerance
        # 40 steps of lattice_step 0.1: (1 - 0.05)^400, and noise of τ σ_L.
        assert np.abs(guess.lattice).max() < 0.3


# Subspaces


def restless_estimate(crystal, sigma, cond=None, reduction=None):
    """Pushes hard in all directions, also those that a site must not take."""
    wave = jnp.sin(37.0 * crystal.frac_coords[..., ::-1] + jnp.arange(3.0)) * 3.0
    return prediction(wave, jnp.where(free_params(crystal.space_group), 0.1, 0.0))


def test_constrained_sites_never_leave_their_subspace():
    """Every Wyckoff position of every group, at every step of a whole sampling."""
    rng = np.random.default_rng(0)
    crystals, positions = [], []
    for space_group in range(1, 231):
        _, angles = random_shape(rng, space_group)
        for position in wyckoff_positions(space_group):
            point = position.origin + rng.uniform(size=position.num_free) @ position.basis
            crystals.append(
                make_crystal(space_group, np.full(3, 6.0), angles, [1], [point], [position.letter])
            )
            positions.append(position)
    templates = to_device(stack(crystals))
    config = LangevinConfig(steps_per_level=10, trajectory_every=1)
    state, trajectory = run(keys_of(3, len(crystals)), templates, restless_estimate, config)
    assert not state.status.any()
    assert trajectory.frac_coords.shape[:2] == (100, len(crystals))
    offset = np.asarray(trajectory.frac_coords, np.float64)[:, :, 0] - np.stack([p.origin for p in positions])
    projections = np.stack([p.projection for p in positions])
    num_free = np.array([p.num_free for p in positions])
    outside = offset - np.einsum("pab,tpb->tpa", projections, offset)
    general = num_free == 3  # wrapped; nowhere is outside
    print(f"largest distance from the subspace {np.abs(outside[:, ~general]).max():.1e}")
    assert np.abs(outside[:, ~general]).max() < 1e-5
    assert not offset[:, num_free == 0].any() or np.abs(offset[:, num_free == 0]).max() < 1e-6
    moved = np.abs(np.diff(offset, axis=0)).max((0, 2))
    assert (moved[num_free > 0] > 0.01).all()
    assert np.array_equal(trajectory.frac_coords[-1], state.crystal.frac_coords)


# Failures, batches


def failing_estimate(crystal, sigma, cond=None, reduction=None):
    """Species 1 gives NaN below σ = 0.5 Å, species 2 overflows there, others are well."""
    found = restless_estimate(crystal, sigma)
    late = sigma[0] < 0.5
    bad = jnp.where(late & (crystal.species[0] == 1), jnp.nan, 0.0)
    status = jnp.where(late & (crystal.species[0] == 2), jnp.int32(int(Status.IMAGES)), jnp.int32(0))
    return found._replace(coords=found.coords + bad, status=status)


def test_a_frozen_structure_stays_and_its_neighbours_go_on():
    crystals = [make_crystal(62, np.full(3, 6.0), RIGHT, [n], [[0.1, 0.2, 0.3]]) for n in (1, 2, 3)]
    templates = to_device(stack(crystals))
    config = LangevinConfig(steps_per_level=2, trajectory_every=1, denoise=False)
    state, trajectory = run(keys_of(4, 3), templates, failing_estimate, config)
    assert state.status.tolist() == [Status.NON_FINITE, Status.IMAGES, Status.OK]
    late = int((np.asarray(config.schedule.sigmas())[:, 0] >= 0.5).sum()) * 2
    coords = np.asarray(trajectory.frac_coords)
    for leaf in (coords, np.asarray(trajectory.lattice_params)):
        assert np.isfinite(leaf).all()
        assert (leaf[late:, :2] == leaf[late - 1, :2]).all()
        assert (np.abs(np.diff(leaf[:, 2], axis=0)).max(tuple(range(1, leaf.ndim - 1))) > 0).all()
        assert (leaf[late - 1] != leaf[0]).any()
    well, _ = run(
        keys_of(4, 3), templates._replace(species=templates.species * 0 + 3), failing_estimate, config
    )
    assert not well.status.any()
    assert np.array_equal(well.crystal.frac_coords[2], state.crystal.frac_coords[2])


SMALL = NetworkConfig(
    GraphConfig(cutoff=4.0, max_neighbors=8),
    DimeNetConfig(
        hidden=8, interaction=6, basis=4, output=8, blocks=1, num_spherical=3, num_radial=3, noise_features=4
    ),
)
SHORT = LangevinConfig(schedule=NoiseSchedule(levels=2), steps_per_level=3)


class CountedNetwork:
    """A small network that counts how often it is traced."""

    def __init__(self, nodes):
        self.traces = 0
        self.score = score_of(SMALL, ImageCapacity.free(nodes))

    def __call__(self, params, crystal, sigma, cond=None, reduction=None):
        self.traces += 1
        return self.score(params, crystal, sigma, cond, reduction)


@pytest.fixture(scope="module")
def sampling():
    """Four templates of mixed kinds, weights, and one compiled sampling of them."""
    rng = np.random.default_rng(5)
    crystals = [
        random_crystal(rng, 62, 2),
        random_crystal(rng, 166, 2, special=True, constrained=True),
        pad(make_crystal(221, np.full(3, 4.0), RIGHT, [1], [[0.0, 0.0, 0.0]], ["a"]), 2),
        pad(make_crystal(99, [4.0, 4.0, 5.0], RIGHT, [1], [[0.0, 0.0, 0.2]], ["a"]), 2),
    ]
    params = random_params(6, SMALL, to_device(crystals[0]))
    network = CountedNetwork(2)
    state, _ = run_network(network, params, keys_of(7, 4), to_device(stack(crystals)), SHORT)
    return crystals, params, network, state


def test_a_structure_does_not_depend_on_its_place(sampling):
    """Bitwise, whatever else is drawn with it in a batch of the same shape."""
    crystals, params, network, state = sampling
    order = np.array([2, 0, 3, 1])
    shuffled = to_device(stack([crystals[n] for n in order]))
    found, _ = run_network(network, params, keys_of(7, 4)[order], shuffled, SHORT)
    for first, second in zip(jax.tree.leaves(state), jax.tree.leaves(found), strict=True):
        assert np.array_equal(np.asarray(first)[order], second)
    alone = to_device(stack([crystals[1], *[jax.tree.map(np.zeros_like, crystals[1])] * 3]))
    keys = keys_of(7, 4)[np.array([1, 0, 0, 0])]
    found, _ = run_network(network, params, keys, alone, SHORT)
    for first, second in zip(jax.tree.leaves(state), jax.tree.leaves(found), strict=True):
        assert np.array_equal(np.asarray(first)[1], np.asarray(second)[0])


@pytest.mark.compile
def test_one_compilation_serves_every_call(sampling):
    crystals, params, network, _ = sampling
    traces = network.traces
    assert traces <= 2  # a scan may trace its body twice
    other = jax.tree.map(lambda leaf: leaf * 1.1, params)
    run_network(network, other, keys_of(8, 4), to_device(stack(crystals[::-1])), SHORT)
    assert network.traces == traces


@partial(jax.jit, static_argnames=("network", "config"))
def one_step(network, params, key, state, sigma, config):
    return step(key, state, partial(network, params), sigma, config)


def assert_same_step(one, other, nodes):
    assert np.allclose(one.crystal.frac_coords[:nodes], other.crystal.frac_coords[:nodes], atol=2e-5)
    assert np.allclose(one.crystal.lattice_params, other.crystal.lattice_params, atol=2e-4)
    assert one.status == other.status


@pytest.mark.compile
def test_padding_changes_a_step_by_rounding_only(sampling):
    crystals, params, _, state = sampling
    sigma, key = jnp.array([0.3, 0.5]), jax.random.key(9)
    for index, crystal in enumerate(crystals[:2]):
        begun = jax.tree.map(lambda leaf, n=index: leaf[n], state)
        padded = LangevinState(
            to_device(pad(jax.tree.map(np.asarray, begun.crystal), 5)),
            jnp.pad(begun.anchor, [(0, 3), (0, 0)]),
            begun.status,
            begun.scores,
            begun.num_cut,
            begun.num_opened,
            begun.reduction,
            jnp.pad(begun.estimate, [(0, 3), (0, 0)]),
        )
        assert crystal.node_mask.sum() == 2
        small = one_step(_network(2), params, key, begun, sigma, SHORT)
        large = one_step(_network(5), params, key, padded, sigma, SHORT)
        assert_same_step(small, large, 2)
        assert (small.crystal.frac_coords != begun.crystal.frac_coords).any()


_NETWORKS: dict[int, CountedNetwork] = {}


def _network(nodes):
    return _NETWORKS.setdefault(nodes, CountedNetwork(nodes))


@pytest.mark.compile
def test_vmap_is_a_loop(sampling):
    """A step of the batch, and of each structure by itself."""
    _, params, _, state = sampling
    sigma, keys = jnp.array([0.3, 0.5]), keys_of(10, 4)
    estimate = _network(2)
    score = partial(estimate, params)
    batched = jax.jit(jax.vmap(lambda key, state: step(key, state, score, sigma, SHORT)))(keys, state)
    for index in range(4):
        alone = one_step(
            estimate, params, keys[index], jax.tree.map(lambda leaf, n=index: leaf[n], state), sigma, SHORT
        )
        assert_same_step(alone, jax.tree.map(lambda leaf, n=index: leaf[n], batched), 2)


@pytest.mark.compile
def test_jit_is_eager():
    crystal = to_device(random_crystal(np.random.default_rng(11), 62, 2))
    state, sigma = init(jax.random.key(0), crystal), jnp.array([0.3, 0.5])
    for alternating in (False, True):
        config = LangevinConfig(alternating=alternating)
        eager = step(jax.random.key(1), state, restless_estimate, sigma, config)
        compiled = jax.jit(step, static_argnums=(2, 4))(
            jax.random.key(1), state, restless_estimate, sigma, config
        )
        assert_same_step(eager, compiled, 2)


def test_trajectory_is_the_path_of_the_sampling():
    """Every n-th state; the end does not depend on what is kept."""
    templates = to_device(stack([random_crystal(np.random.default_rng(12), 62, 2)] * 3))
    states = {}
    for every in (0, 5):
        config = LangevinConfig(steps_per_level=2, trajectory_every=every)
        states[every], trajectory = run(keys_of(13, 3), templates, restless_estimate, config)
        if every:
            assert trajectory.frac_coords.shape == (20 // every, 3, 2, 3)
            assert np.array_equal(trajectory.frac_coords[-1], states[every].crystal.frac_coords)
        else:
            assert trajectory is None
    assert np.allclose(states[0].crystal.frac_coords, states[5].crystal.frac_coords, atol=1e-5)


@partial(jax.jit, static_argnums=0)
def guesses(network, params, crystals, sigma):
    return jax.vmap(lambda crystal: network(params, crystal, sigma))(crystals)


@pytest.mark.parametrize("alternating", [False, True])
def test_scores_are_those_of_the_final_structure(sampling, alternating):
    """Of a letter with one free coordinate and a tetragonal cell: the mean is over what is free."""
    crystals, params, _, state = sampling
    if alternating:
        config = replace(SHORT, alternating=True, trajectory_every=3)
        state, _ = run_network(_network(2), params, keys_of(5, 4), to_device(stack(crystals)), config)
    assert not state.status.any()
    sigma = SHORT.schedule.sigmas()[-1]
    guess = guesses(_network(2), params, state.crystal, sigma)
    for row, (coords, lattice) in {0: (6, 3), 2: (0, 1), 3: (1, 2)}.items():
        squares = [float((noise[row] ** 2).sum()) for noise in (guess.coords, guess.lattice)]
        sizes = np.sqrt([squares[0] / max(coords, 1), squares[1] / lattice]) / np.asarray(sigma)
        np.testing.assert_allclose(state.scores[row], sizes, rtol=1e-3, atol=1e-5)
    assert float(state.scores[2, 0]) == 0.0


def test_scores_of_a_frozen_structure_are_not_known():
    crystals = [make_crystal(62, np.full(3, 6.0), RIGHT, [n], [[0.1, 0.2, 0.3]]) for n in (1, 2, 3)]
    state, _ = run(keys_of(4, 3), to_device(stack(crystals)), failing_estimate, LangevinConfig())
    assert np.isnan(state.scores).all(1).tolist() == [True, True, False]


def finished_estimate(crystal, sigma, cond=None, reduction=None):
    """Overflows when it sees a structure without noise, as after the last step."""
    found = restless_estimate(crystal, sigma)
    status = jnp.where(jnp.abs(crystal.frac_coords).sum() == 0.0, jnp.int32(int(Status.IMAGES)), jnp.int32(0))
    return found._replace(coords=crystal.frac_coords * 0.0, status=status)


def test_a_finished_structure_does_not_fail_because_it_is_evaluated():
    crystal = to_device(make_crystal(62, np.full(3, 6.0), RIGHT, [2], [[0.0, 0.0, 0.0]]))
    state, sigma = init(jax.random.key(0), crystal)._replace(crystal=crystal), jnp.array([0.1, 0.1])
    after = step(jax.random.key(0), state, finished_estimate, sigma, LangevinConfig(), evaluate_only=True)
    assert after.status == Status.OK
    assert np.isnan(after.scores).all()
    assert np.array_equal(after.crystal.lattice_params, crystal.lattice_params)


#: A direction in which each group leaves the origin free.
FREE_ORIGINS = {1: [1.0, -2.0, 3.0], 6: [1.0, 0.0, -2.0], 4: [0.0, 2.0, 0.0], 62: [0.0, 0.0, 0.0]}


@pytest.mark.parametrize(("group", "directions"), [(1, 3), (6, 2), (4, 1), (62, 0)])
def test_a_drift_along_a_free_origin_has_no_score(group, directions):
    """What moves all sites alike says nothing of a crystal; what moves them apart does."""
    crystal = to_device(
        make_crystal(group, np.full(3, 6.0), RIGHT, [1, 2], [[0.1, 0.2, 0.3], [0.4, 0.1, 0.7]])
    )
    drift = jnp.array(FREE_ORIGINS[group])
    apart = jnp.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])

    def size(coords):
        noise = prediction(coords, jnp.zeros(6))
        state = step(
            *(jax.random.key(0), init(jax.random.key(1), crystal), lambda *_: noise),
            *(jnp.array([0.5, 0.5]), LangevinConfig()),
            evaluate_only=True,
        )
        return float(state.scores[0])

    assert size(jnp.stack([drift, drift])) == pytest.approx(0.0, abs=1e-6)
    assert size(apart) == pytest.approx(np.sqrt(28 / (6 - directions)) / 0.5, rel=1e-5)
    assert size(apart + drift) == pytest.approx(size(apart), rel=1e-5)


def test_lengths_have_a_floor():
    crystal = to_device(make_crystal(14, np.full(3, 5.0), np.array([90.0, 100.0, 90.0]), [1], [[0, 0, 0]]))
    small, was_opened = change_lattice(crystal, jnp.array([-100.0, 0.0, -100.0, 0.0, -10.0, 0.0]))
    lengths, angles = lengths_angles(small.lattice_params, 14)
    assert np.allclose(lengths, [MIN_LENGTH, 5.0, MIN_LENGTH], atol=1e-4)
    assert angles[1] > 100.0  # an angle has no floor
    assert angles[0] == angles[2] == 90.0
    assert not was_opened


def test_steps_that_flatten_a_cell_are_counted():
    """A network that pushes β ever wider: the angle stays where a cell ends, and each time is counted."""
    crystal = to_device(make_crystal(14, np.full(3, 5.0), np.array([90.0, 100.0, 90.0]), [1], [[0, 0, 0]]))

    def widening(crystal, sigma, cond, reduction):
        coords, lattice = jnp.zeros_like(crystal.frac_coords), jnp.array([0.0, 0.0, 0.0, 0.0, 1e3, 0.0])
        return prediction(coords, lattice)

    state, sigma = init(jax.random.key(0), crystal), jnp.array([0.1, 1.0])
    for number in range(1, 4):
        state = step(jax.random.key(number), state, widening, sigma, LangevinConfig())
        assert state.num_opened == number
        assert unit_volume_squared(state.crystal.lattice_params) >= MIN_UNIT_VOLUME_SQUARED
    after = step(jax.random.key(4), state, widening, sigma, LangevinConfig(), evaluate_only=True)
    assert after.num_opened == 3


def test_denoising_leaves_a_flagged_structure_alone():
    crystal = to_device(make_crystal(62, np.full(3, 6.0), RIGHT, [2], [[0.1, 0.2, 0.3]]))
    state = init(jax.random.key(0), crystal)
    after = step(
        jax.random.key(0),
        state,
        failing_estimate,
        jnp.array([0.1, 0.1]),
        LangevinConfig(),
        denoise=True,
    )
    assert after.status == Status.IMAGES
    assert np.array_equal(after.crystal.frac_coords, state.crystal.frac_coords)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps_per_level": 0}, "at least 1"),
        ({"best_of": 0}, "best_of is 0"),
        ({"trajectory_every": 7}, "divide the 200 steps"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        LangevinConfig(**settings)


def test_random_starts_with_free_angles_stay_cells():
    """Groups 1-15 and random weights: nothing is non-finite, every cell is one, and what fails is flagged."""
    rng = np.random.default_rng(5)
    groups = rng.integers(1, 16, 400)
    shape = np.full(3, 6.0), RIGHT
    crystals = [
        make_crystal(group, *shape, rng.integers(1, 90, 2), rng.uniform(size=(2, 3)))
        for group in groups.tolist()
    ]
    templates = to_device(stack(crystals))
    params = random_params(1, SMALL, jax.tree.map(lambda leaf: leaf[0], templates))
    network = score_of(SMALL, ImageCapacity.free(2))
    config = LangevinConfig(steps_per_level=2)

    def score(crystal, sigma, cond=None, reduction=None):
        found = network(params, crystal, sigma, cond, reduction)
        return found._replace(coords=5.0 * found.coords, lattice=5.0 * found.lattice)

    state, _ = run(keys_of(6, len(crystals)), templates, score, config)
    final = state.crystal
    assert np.isfinite(final.frac_coords).all()
    assert np.isfinite(final.lattice_params).all()
    assert np.asarray(unit_volume_squared(final.lattice_params)).min() >= MIN_UNIT_VOLUME_SQUARED - 1e-6
    flagged = np.asarray(state.status) != 0
    print(f"{flagged.sum()} of {len(crystals)} flagged")
    assert (np.asarray(state.status)[flagged] == Status.LATTICE_VECTORS).all()
    assert flagged.mean() < 0.5
    final = jax.tree.map(np.asarray, final)  # row by row, arrays of the device take long
    for row in range(len(crystals)):
        cell = expand_crystal(jax.tree.map(lambda leaf, row=row: leaf[row], final))
        found = audit(cell, int(groups[row]))
        assert not found.valid or found.volume_per_atom >= 1.0
