"""Noise and starting points: right in size, and in the subspaces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcrystal.diffusion.noise import collapsed, coord_noise, lattice_noise, start
from jaxcrystal.symmetry.lattice import MIN_UNIT_VOLUME_SQUARED, free_params, unit_volume_squared
from jaxcrystal.symmetry.subspaces import move_sites
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import lattice_of, make_crystal, pad, random_shape, to_device

DRAWS = 4000
#: Letters with mirrors and axes along and across the axes, and along diagonals; free angles and origins.
LETTERS = (
    (1, "aa"),
    (2, "ai"),
    (3, "ae"),
    (6, "ac"),
    (14, "ae"),
    (15, "ef"),
    (16, "iu"),
    (62, "c"),
    (99, "ad"),
    (139, "em"),
    (160, "ab"),
    (166, "ch"),
    (194, "fhk"),
    (225, "efj"),
)


def letters_crystal(space_group, letters, nodes=4):
    rng = np.random.default_rng(space_group)
    positions = {p.letter: p for p in wyckoff_positions(space_group)}
    points = [
        positions[letter].origin + rng.uniform(size=positions[letter].num_free) @ positions[letter].basis
        for letter in letters
    ]
    lengths, angles = random_shape(rng, space_group)
    crystal = make_crystal(
        space_group, 6.0 * lengths, angles, np.arange(1, len(letters) + 1), points, list(letters)
    )
    return pad(crystal, nodes), [positions[letter] for letter in letters]


@jax.jit
def many_draws(key, crystal):
    def one(key):
        return coord_noise(key, crystal), lattice_noise(key, crystal), start(key, crystal)

    return jax.vmap(one)(jax.random.split(key, DRAWS))


@pytest.fixture(scope="module", params=LETTERS, ids=lambda case: f"{case[0]}{case[1]}")
def draws(request):
    crystal, positions = letters_crystal(*request.param)
    return crystal, positions, jax.tree.map(np.asarray, many_draws(jax.random.key(1), to_device(crystal)))


@pytest.mark.statistical
def test_coordinate_noise_has_unit_variance_in_its_subspace(draws):
    crystal, positions, (noise, _, _) = draws
    lattice = lattice_of(crystal)
    for site, position in enumerate(positions):
        # Orthogonal projection on the subspace, Cartesian.
        vectors = np.linalg.qr((position.basis @ lattice).T)[0]
        covariance = np.cov(noise[:, site].T)
        assert np.allclose(covariance, vectors @ vectors.T, atol=5 * np.sqrt(2 / DRAWS))
        assert np.allclose(noise[:, site].mean(0), 0.0, atol=5 / np.sqrt(DRAWS))
        outside = noise[:, site] - noise[:, site] @ vectors @ vectors.T
        assert np.abs(outside).max() < 1e-5
    assert not noise[:, len(positions) :].any()


@pytest.mark.statistical
def test_start_is_uniform_in_the_subspace(draws):
    """Kolmogorov-Smirnov on each free coordinate, and no correlation between them."""
    crystal, positions, (_, _, begun) = draws
    for site, position in enumerate(positions):
        offset = begun.frac_coords[:, site].astype(np.float64) - crystal.frac_coords[site]
        assert np.abs(offset - offset @ position.projection.T).max() < 2e-6
        free = (offset + crystal.frac_coords[site] - position.origin) @ np.linalg.pinv(position.basis) % 1.0
        for column in free.T:
            assert stats.kstest(column, "uniform").pvalue > 1e-4
        for first in range(position.num_free):
            for second in range(first):
                waves = np.exp(2j * np.pi * (free[:, first] + np.array([1, -1])[:, None] * free[:, second]))
                assert (np.abs(waves.mean(1)) < 4.5 / np.sqrt(DRAWS)).all()


@pytest.mark.statistical
def test_lattice_starts_from_a_normal_distribution(draws):
    crystal, _, (_, noise, begun) = draws
    free = np.asarray(free_params(int(crystal.space_group)))
    assert not noise[:, ~free].any()
    assert not begun.lattice_params[:, ~free].any()
    # Angles are drawn towards 90° where they all but close the cell, in some three starts of a million.
    volumes = np.asarray(unit_volume_squared(jnp.asarray(begun.lattice_params)))
    assert volumes.min() >= MIN_UNIT_VOLUME_SQUARED
    for column in np.concatenate([noise[:, free], begun.lattice_params[:, free] / 2.0], axis=1).T:
        assert stats.kstest(column, "norm").pvalue > 1e-4
    correlation = np.corrcoef(begun.lattice_params[:, free].T) - np.eye(free.sum())
    assert np.abs(correlation).max() < 5 / np.sqrt(DRAWS)


def test_free_sites_start_in_the_cell():
    crystal = make_crystal(62, np.full(3, 6.0), np.full(3, 90.0), [1], [[3.2, -0.4, 0.1]])
    _, _, begun = many_draws(jax.random.key(2), to_device(crystal))
    coords = np.asarray(begun.frac_coords)[:, 0]
    assert (coords >= 0).all()
    assert (coords < 1).all()
    for column in coords.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4


def test_the_start_covers_whole_periods_of_every_position():
    """A projection times 6 is integer: a uniform draw over 6 cells a side is uniform in the subspace."""
    for space_group in range(1, 231):
        for position in wyckoff_positions(space_group):
            whole = 6 * position.projection
            assert np.allclose(whole, np.round(whole), atol=1e-9)


@pytest.mark.parametrize(("space_group", "letters"), [(1, "aa"), (15, "ef"), (194, "fhk")])
def test_sites_move_by_cartesian_displacements(space_group, letters, x64):
    crystal, _ = letters_crystal(space_group, letters)
    displacement = np.random.default_rng(0).normal(size=(4, 3))
    moved = move_sites(to_device(crystal), jnp.asarray(displacement))
    change = np.asarray(moved.frac_coords) - crystal.frac_coords
    assert np.allclose(change @ lattice_of(crystal), displacement, atol=1e-12)


def test_collapsed_cells():
    """A length under 1.5 Å, less than 1 Å³ an atom, or angles that all but close the cell."""
    right = np.full(3, 90.0)
    for lengths, angles, expected in (
        ([4.0, 4.0, 4.0], right, False),
        ([4.0, 1.4, 4.0], right, True),
        ([1.6, 1.6, 1.6], right, False),  # 4.1 Å³ for one site
        ([4.0, 4.0, 4.0], np.array([30.0, 90.0, 90.0]), False),
        ([4.0, 4.0, 4.0], np.array([10.0, 90.0, 90.0]), True),
    ):
        crystal = make_crystal(1, np.array(lengths), angles, [1], [[0.0, 0.0, 0.0]])
        assert bool(collapsed(to_device(crystal))) is expected
