"""The noise of a free site that has left a special position."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity, find_neighbors
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import NetworkConfig
from jaxcrystal.score import MAX_SIGMA, with_known_noise
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.subspaces import move_sites
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import (
    lattice_of,
    make_crystal,
    operations_near,
    pad,
    random_crystal,
    random_params,
    score_of,
    stack,
    to_device,
)

#: All groups with special positions.
GROUPS = [group for group in range(1, 231) if len(wyckoff_positions(group)) > 1]
NODES = 3
GRAPH = GraphConfig(cutoff=4.5, max_neighbors=12)
SMALL = DimeNetConfig(hidden=8, interaction=6, basis=4, output=8, blocks=1, num_spherical=3, num_radial=3)


@cache
def special_crystals():
    """The first site on a special position, the second on a general one, the third padding."""
    rng = np.random.default_rng(0)
    how = {"special": True, "clearance": 1.6, "volume": (40.0, 60.0)}  # else few draws are that clear
    return [pad(random_crystal(rng, group, 2, **how), NODES) for group in GROUPS]


def along(crystal):
    """[3, 3] projects Cartesian columns on the subspace of the first site's position."""
    group = int(crystal.space_group)
    stabilizer = operations_near(crystal.frac_coords[0], lattice_of(crystal), group, 0.1)
    assert stabilizer.sum() > 1
    return group_tables().cart_rotations[group][stabilizer].mean(0)


@jax.jit
def replaced(coords, crystals, noise, sigma):
    """`with_known_noise` of crystals whose sites were moved by `sigma * noise`."""

    def one(coords, crystal, noise):
        moved = move_sites(crystal, sigma * noise)
        own_images = find_neighbors(moved, GRAPH, ImageCapacity.free(NODES)).own_images
        return with_known_noise(coords, moved, own_images, sigma)

    return jax.vmap(one)(coords, crystals, noise)


def random_noise(rng):
    noise, guess = rng.normal(size=(2, len(GROUPS), NODES, 3)) * np.array([1.0, 1.0, 0.0])[:, None]
    return noise, guess


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_noise_across_a_special_position_is_known_exactly(sigma, x64):
    """Along the position, and on general positions, the guess stays."""
    crystals = special_crystals()
    noise, guess = random_noise(np.random.default_rng(1))
    found = np.asarray(replaced(guess, to_device(stack(crystals)), noise, sigma))
    for crystal, found_one, noise_one, guess_one in zip(crystals, found, noise, guess, strict=True):
        keep = along(crystal)
        expected = keep @ guess_one[0] + (np.eye(3) - keep) @ noise_one[0]
        np.testing.assert_allclose(found_one[0], expected, atol=1e-9)
        np.testing.assert_array_equal(found_one[1:], guess_one[1:])


def test_what_cannot_be_noise_is_left_alone(x64):
    """Images ten σ from one another are atoms; and large noise hides where they belong."""
    crystals = to_device(stack(special_crystals()))
    noise, guess = random_noise(np.random.default_rng(2))
    far = np.zeros_like(noise)
    for number, crystal in enumerate(special_crystals()):
        across = (np.eye(3) - along(crystal)) @ noise[number, 0]
        far[number, 0] = 10.0 * across / np.linalg.norm(across)
    np.testing.assert_array_equal(replaced(guess, crystals, far, 0.04), guess)
    np.testing.assert_array_equal(replaced(guess, crystals, noise, 1.01 * MAX_SIGMA), guess)


@pytest.mark.parametrize("constrained", [False, True])
def test_sites_without_freedom_leave_nothing_to_estimate(constrained):
    """A perovskite with random weights: all of the noise is known, none where sites are held."""
    letters = ["a", "b", "c"] if constrained else None
    crystal = make_crystal(
        221, [4.0] * 3, [90.0] * 3, [56, 22, 8], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]], letters
    )
    capacity = ImageCapacity(5, merge=False) if constrained else ImageCapacity.free(3)
    config, crystal = NetworkConfig(GRAPH, SMALL), to_device(crystal)
    estimate = jax.jit(score_of(config, capacity))
    noise = np.random.default_rng(3).normal(size=(3, 3)) * (not constrained)
    moved = move_sites(crystal, jnp.asarray(0.05 * noise, crystal.frac_coords.dtype))
    guess = estimate(random_params(0, config, crystal), moved, jnp.asarray([0.05, 0.5]))
    np.testing.assert_allclose(guess.coords, noise, atol=1e-3)
    assert np.abs(guess.lattice[0]) > 0.0
