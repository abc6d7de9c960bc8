"""Denoising losses: 1 for a network that says nothing, 0 for one that knows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.diffusion.loss import denoising_loss, joint_loss
from jaxcrystal.diffusion.noise import collapsed
from jaxcrystal.errors import Status
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.subspaces import num_internal_coords
from tests.crystals import make_crystal, pad, prediction, random_shape, stack, to_device

RIGHT = np.full(3, 90.0)


def batch_of_kinds(length=8.0):
    """Free, constrained, no free coordinate, monoclinic, and no structure at all."""
    cube = (np.full(3, length), RIGHT)
    free = make_crystal(62, *cube, [1, 2], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]])
    constrained = make_crystal(62, *cube, [1, 2], [[0.1, 0.25, 0.3], [0.6, 0.7, 0.8]], ["c", "d"])
    fixed = make_crystal(225, *cube, [1, 2], [[0, 0, 0], [0.5, 0.5, 0.5]], ["a", "b"])
    monoclinic = make_crystal(14, np.full(3, length), np.array([90.0, 100.0, 90.0]), [1], [[0.1, 0.2, 0.3]])
    crystals = [pad(c, 3) for c in (free, constrained, fixed, monoclinic)]
    return to_device(stack([*crystals, jax.tree.map(np.zeros_like, crystals[0])]))


def silent(crystal, sigma, cond=None, reduction=None):
    return prediction(jnp.zeros_like(crystal.frac_coords), jnp.zeros_like(crystal.lattice_params))


def knowing(clean, in_noisy_cell=False):
    """The exact noise of a crystal whose clean form is known; NaN where the cell has collapsed."""

    def score(crystal, sigma, cond=None, reduction=None):
        lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
        # The paper's sites move before the lattice does, the joint loss's after it.
        metric = lattice if in_noisy_cell else lattice_matrix(clean.lattice_params, clean.space_group)
        coords = (crystal.frac_coords - clean.frac_coords) @ metric / sigma[0]
        bad = jnp.where(jnp.linalg.det(lattice) < 1.0, jnp.nan, 0.0)
        change = (crystal.lattice_params - clean.lattice_params) / sigma[1]
        return prediction(coords + bad, change + bad)

    return score


def knowing_in_noisy_cells(clean):
    return knowing(clean, in_noisy_cell=True)


KNOWING = {denoising_loss: knowing, joint_loss: knowing_in_noisy_cells}
both_losses = pytest.mark.parametrize("loss", [denoising_loss, joint_loss])


@partial(jax.jit, static_argnums=(0, 1, 4))
def losses(loss, estimate, key, crystals, draws, sigma):
    """[draws, batch] losses of an estimate that needs no parameters."""

    def one(key, crystal):
        return loss(key, estimate(crystal), crystal, sigma)

    keys = jax.random.split(key, (draws, crystals.species.shape[0]))
    return jax.vmap(jax.vmap(one), in_axes=(0, None))(keys, crystals)


def always_silent(crystal):
    return silent


@both_losses
@pytest.mark.statistical
def test_a_silent_network_has_loss_one(loss):
    found = losses(loss, always_silent, jax.random.key(0), batch_of_kinds(20.0), 4000, jnp.array([0.5, 0.5]))
    coords, lattice = (np.asarray(values).mean(0) for values in (found.coords, found.lattice))
    # Variance of a mean of n squared normal numbers: 2 / n.
    assert np.allclose(coords[[0, 1, 3]], 1.0, atol=5 * np.sqrt(2 / 3 / 4000))
    assert np.allclose(lattice[:4], 1.0, atol=5 * np.sqrt(2 / 4000))


@both_losses
def test_terms_that_do_not_exist_have_no_weight(loss):
    """No coordinate term without free coordinates, and none at all for padding."""
    found = losses(loss, always_silent, jax.random.key(0), batch_of_kinds(20.0), 4000, jnp.array([0.5, 0.5]))
    assert (np.asarray(found.coords_weight) == [1, 1, 0, 1, 0]).all()
    assert (np.asarray(found.lattice_weight) == [1, 1, 1, 1, 0]).all()
    assert not np.asarray(found.coords)[:, [2, 4]].any()
    assert not np.asarray(found.lattice)[:, 4].any()


@both_losses
@pytest.mark.parametrize("sigma", [[0.02, 0.3], [1.5, 6.0]])
def test_a_network_that_knows_has_loss_zero(loss, sigma, x64):
    """The noise is (noised - clean) / σ: the sign and the unit of the estimate."""
    found = losses(loss, KNOWING[loss], jax.random.key(1), batch_of_kinds(15.0), 20, jnp.array(sigma))
    for values in found:
        assert np.isfinite(values).all()
    assert np.asarray(found.coords).max() < 1e-18
    assert np.asarray(found.lattice).max() < 1e-18


@both_losses
def test_collapsed_cells_are_left_out(loss):
    """The network never sees them: its NaN would spoil the gradient of the whole batch."""
    crystals, sigma = batch_of_kinds(2.5), jnp.array([0.5, 6.0])
    found = losses(loss, KNOWING[loss], jax.random.key(2), crystals, 500, sigma)
    for values in found:
        assert np.isfinite(values).all()
    kept = np.asarray(found.lattice_weight)[:, :4].mean(0)
    assert (kept > 0.1).all()
    assert (kept < 0.95).all()
    assert not collapsed(jax.tree.map(lambda leaf: leaf[0], crystals))


@both_losses
def test_angles_that_close_no_cell_are_left_out(loss):
    """Of a large triclinic cell, too: no length and no volume tells."""
    shape = np.full(3, 20.0), np.array([75.0, 75.0, 75.0])
    crystal = make_crystal(2, *shape, [1], [[0.1, 0.2, 0.3]])
    crystals = to_device(stack([crystal]))
    found = losses(loss, KNOWING[loss], jax.random.key(3), crystals, 500, jnp.array([0.5, 6.0]))
    for values in found:
        assert np.isfinite(values).all()
    assert 0.5 < np.asarray(found.lattice_weight).mean() < 0.95


#: Groups with a free origin, and its directions.
POLAR = {1: 3, 3: 1, 6: 2, 9: 2, 31: 1, 99: 1, 146: 1, 160: 1}


def drifting(clean):
    """Knows the noise but for a shift of all sites, as far as the group leaves the origin free."""
    exact = knowing(clean)

    def score(crystal, sigma, cond=None, reduction=None):
        found = exact(crystal, sigma)
        rotations = jnp.asarray(group_tables().cart_rotations)[clean.space_group]
        along = rotations.sum(0) / jnp.asarray(group_tables().num_ops)[clean.space_group]
        shift = along @ jnp.array([0.3, -0.8, 1.7])
        return found._replace(coords=found.coords + jnp.where(clean.node_mask[:, None], shift, 0.0))

    return score


@pytest.mark.parametrize("loss", [denoising_loss, joint_loss])
def test_cells_whose_graph_lacks_edges_are_left_out(loss):
    """What a network makes of half a graph is no loss of it."""

    def in_half_a_graph(crystal):
        def score(noised, sigma, cond=None, reduction=None):
            clean = jnp.array_equal(noised.lattice_params, crystal.lattice_params)
            status = jnp.where(clean, jnp.int32(0), jnp.int32(int(Status.LATTICE_VECTORS)))
            return silent(noised, sigma)._replace(status=status)

        return score

    sigma = jnp.array([0.5, 0.1])
    found = losses(loss, in_half_a_graph, jax.random.key(0), batch_of_kinds(), 4, sigma)
    assert not found.lattice_weight.any()
    # The paper's coordinate term has a clean lattice.
    assert found.coords_weight[:, :2].all() if loss is denoising_loss else not found.coords_weight.any()


def test_a_free_origin_does_not_matter(x64):
    """A crystal moved as a whole along the axes that the group leaves free is the same crystal."""
    crystals = [
        pad(make_crystal(group, *shape_of(group), [1, 2], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.85]]), 3)
        for group in POLAR
    ]
    found = losses(denoising_loss, drifting, jax.random.key(4), to_device(stack(crystals)), 5, jnp.ones(2))
    assert np.asarray(found.coords_weight).all()
    assert np.asarray(found.coords).max() < 1e-18


def test_the_silent_loss_counts_what_the_origin_leaves(x64):
    """One is still the loss of a network that says nothing; a site alone where all is free has none."""
    two = [
        make_crystal(group, *shape_of(group), [1, 2], [[0.1, 0.2, 0.3], [0.6, 0.7, 0.85]]) for group in POLAR
    ]
    one = make_crystal(1, *shape_of(1), [1], [[0.1, 0.2, 0.3]])
    crystals = to_device(stack([*two, pad(one, 2)]))
    found = losses(denoising_loss, always_silent, jax.random.key(5), crystals, 4000, jnp.array([0.5, 0.3]))
    assert np.allclose(np.asarray(found.coords)[:, :-1].mean(0), 1.0, atol=5 * np.sqrt(2 / 3 / 4000))
    assert not np.asarray(found.coords_weight)[:, -1].any()
    for crystal, directions in zip(two, POLAR.values(), strict=True):
        assert num_internal_coords(to_device(crystal)) == pytest.approx(6 - directions)


def shape_of(group):
    lengths, angles = random_shape(np.random.default_rng(group), group)
    return 15.0 * lengths, angles
