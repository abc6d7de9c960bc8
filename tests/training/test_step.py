"""One update of the weights, against its definition."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.loss import denoising_loss, joint_loss
from jaxcrystal.score import NetworkConfig, init_params, make_estimate_fn
from jaxcrystal.training import step
from jaxcrystal.training.step import chunk_size, image_capacity, init_state, make_update
from tests.training.runs import small_config


@pytest.fixture(scope="module")
def batch(prototypes):
    """Eight structures, of which some have no free coordinates and one is padding."""
    dataset = Dataset.load(prototypes)
    return to_crystals(dataset, [0, 3, 6, 9, 12, 15, 18, -1], 2, constrained=True)


@pytest.mark.parametrize("joint", [True, False])
def test_the_gradient_is_that_of_the_mean_losses(batch, prototypes, joint, monkeypatch):
    """Half the sum of the two means over the structures that count, however few are taken at once."""
    config = replace(small_config("unused", prototypes), joint=joint)
    capacity = image_capacity(batch, constrained=True)
    params = init_params(
        jax.random.key(1), config.network, jax.tree.map(lambda array: jnp.asarray(array[0]), batch)
    )
    # Fresh weights put out zeros: nothing would reach the layers below.
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    estimate = make_estimate_fn(config.network, capacity)
    key_time, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 0))
    times = (jnp.arange(8) + jax.random.uniform(key_time, (8,))) / 8
    loss = joint_loss if joint else denoising_loss

    def total(params):
        found = jax.vmap(lambda k, c, s: loss(estimate, params, k, c, s))(
            jax.random.split(key_noise, 8), batch, config.schedule.at(times)
        )
        assert found.coords.shape == (8,)
        coords = found.coords.sum() / found.coords_weight.sum()
        lattice = found.lattice.sum() / found.lattice_weight.sum()
        return 0.5 * (coords + lattice), (coords, lattice, found)

    (_, (coords, lattice, found)), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    assert 0 < found.coords_weight.sum() < 7
    assert 0 < found.lattice_weight.sum() <= 7
    norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))

    for size in (1, 2, 8) if joint else (2,):
        monkeypatch.setattr(step, "chunk_size", lambda *_, size=size: size)
        update = make_update(config, capacity, donate=False)
        state, metrics = update(init_state(params, config.optimizer), batch)
        np.testing.assert_allclose(metrics, (coords, lattice, norm), rtol=1e-5)
        # Adam's first moment is a tenth of the clipped gradient.
        first = state.opt_state[1][0].mu
        clipped = jax.tree.map(lambda leaf: 0.1 * leaf / max(1.0, float(norm)), gradient)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), first, clipped)


def test_chunks_divide_the_share_of_a_device():
    network = NetworkConfig()
    assert [chunk_size(network, 32, sites) for sites in (1, 3, 4, 6, 8, 20)] == [16, 4, 4, 2, 2, 1]
    assert chunk_size(network, 3, 1) == 3
    assert chunk_size(network, 10, 2) == 5
