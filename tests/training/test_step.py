"""One update of the weights, against its definition."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.loss import denoising_loss, joint_loss
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.score import init_params, make_score
from jaxcrystal.training import objective
from jaxcrystal.training.objective import make_optimizer, make_update
from jaxcrystal.training.step import Losses, init_state, make_train_step
from tests.training.runs import small_config


@pytest.fixture(scope="module")
def batch(prototypes):
    """Eight structures, of which some have no free coordinates and one is padding."""
    dataset = Dataset.load(prototypes)
    return to_crystals(dataset, [0, 3, 6, 9, 12, 15, 18, -1], 2, constrained=True)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("joint", [True, False])
def test_the_gradient_is_that_of_the_mean_losses(batch, prototypes, joint, monkeypatch):
    """Half the sum of the two means over the structures that count, however few are taken at once."""
    batch = jax.tree.map(lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, batch)
    config = replace(small_config("unused", prototypes), joint=joint)
    capacity = ImageCapacity.fitting(batch, constrained=True)
    module, one = make_module(config.network), jax.tree.map(lambda array: jnp.asarray(array[0]), batch)
    params = init_params(jax.random.key(1), module, config.network.graph, one)
    # Fresh weights put out zeros: nothing would reach the layers below. Noise, since one number on all of
    # them gives sums that cancel, whose rounding grows.
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    params = jax.tree.unflatten(structure, noisy)
    score = make_score(module, config.network.graph, capacity)
    key_time, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 0))
    times = (jnp.arange(8) + jax.random.uniform(key_time, (8,))) / 8
    loss = joint_loss if joint else denoising_loss

    def total(params):
        found = jax.vmap(lambda k, c, s: loss(k, partial(score, params), c, s))(
            jax.random.split(key_noise, 8), batch, config.schedule.at(times)
        )
        assert found.coords.shape == (8,)
        coords = found.coords.sum() / found.coords_weight.sum()
        lattice = found.lattice.sum() / found.lattice_weight.sum()
        return 0.5 * (coords + lattice), (coords, lattice, found)

    (_, (coords, lattice, found)), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    assert 0 < found.coords_weight.sum() < 7
    assert 0 < found.lattice_weight.sum() <= 7
    cut_share = found.num_cut.sum() / batch.node_mask.sum()
    norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))

    # Two at once; other numbers are tried with a cheaper loss below.
    monkeypatch.setattr(objective, "_fitting_cache", lambda *_: 2)
    update = make_update(config, capacity, donate=False)
    state, metrics = update(init_state(params, make_optimizer(config.optimizer)), batch)
    found_terms = (metrics.losses["coords"], metrics.losses["lattice"], metrics.gradient_norm)
    np.testing.assert_allclose(found_terms, (coords, lattice, norm), rtol=1e-9)
    np.testing.assert_allclose(metrics.reported["cut_share"], cut_share, rtol=1e-9)
    # Adam's first moment is a tenth of the clipped gradient.
    first = state.opt_state[1][0].mu
    clipped = jax.tree.map(lambda leaf: 0.1 * leaf / max(1.0, float(norm)), gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10), first, clipped)


def test_what_fits_the_cache() -> None:
    """Of a network of the default size, 16 sites; of one twice as wide, 8."""
    module, graph = make_module(NetworkConfig()), GraphConfig()
    fitting = [objective._fitting_cache(module, {}, graph, sites) for sites in (1, 3, 4, 6, 8, 20)]
    assert fitting == [16, 5, 4, 2, 2, 1]
    wide = NetworkConfig(dimenet=replace(NetworkConfig().dimenet, hidden=128))
    assert objective._fitting_cache(make_module(wide), {}, graph, 1) == 8


@pytest.mark.parametrize("at_once", [None, 1, 4, 5])
def test_any_loss_and_optimiser(at_once) -> None:
    """A line is fitted: two terms, one of which leaves some examples out, against its definition."""
    x = np.linspace(-1, 1, 12)
    batch = {"x": x, "y": 3.0 * x + 1.0, "counts": np.arange(12) % 3 > 0}
    small = 0.01  # weights need not add up to a whole structure

    def loss(key, params, example):
        noise = 0.0 * jax.random.normal(key)
        error = params["slope"] * example["x"] + params["offset"] - example["y"] + noise
        weight = example["counts"].astype(error.dtype)
        terms = {"square": (error**2 * small, small), "size": (jnp.abs(error) * weight, weight)}
        return Losses(terms, {"largest": (jnp.abs(error), jnp.ones_like(error))})

    params = {"slope": jnp.float32(0.0), "offset": jnp.float32(0.0)}

    def total(params):
        error = params["slope"] * x + params["offset"] - batch["y"]
        return 0.5 * ((error**2).mean() + jnp.abs(error)[batch["counts"]].mean())

    value, gradient = jax.value_and_grad(total)(params)
    train_step = make_train_step(loss, optax.sgd(0.1), at_once=at_once)
    state, metrics = train_step(jax.random.key(0), init_state(params, optax.sgd(0.1)), batch)
    assert float(sum(metrics.losses.values())) == pytest.approx(2 * float(value), rel=1e-5)
    assert float(metrics.reported["largest"]) == pytest.approx(np.abs(batch["y"]).mean(), rel=1e-5)
    for name, slope in gradient.items():
        assert float(state.params[name]) == pytest.approx(-0.1 * float(slope), rel=1e-5)
    assert int(state.step) == 1


MESH = """
import jax, jax.numpy as jnp, numpy as np, optax
from jaxcrystal import Losses, init_state, make_train_step
from jax.sharding import Mesh

def loss(key, params, example):
    error = params @ example["x"] + jax.random.normal(key) - 1.0
    return Losses({"square": (error**2, example["weight"])}, {"error": (error, 1.0)})

batch = {"x": np.arange(24.0).reshape(8, 3) / 24, "weight": np.arange(8.0)}
found = []
devices = np.array(jax.devices())
meshes = (None, Mesh(devices, "d"), Mesh(devices.reshape(2, 2), ("m", "d")), jax.make_mesh((4,), ("d",)))
for mesh in meshes:
    train_step = make_train_step(loss, optax.sgd(0.1), mesh, "d")
    state = init_state(jnp.zeros(3), optax.sgd(0.1))
    for step in range(3):
        state, metrics = train_step(jax.random.key(step), state, batch)
    found.append(jax.tree.map(np.asarray, (state.params, state.ema, metrics)))
for other in found[1:]:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found[0], other)
three = Mesh(devices[:3], "d")
for wrong, arguments in (("no axis 'x'", (meshes[1], "x")), ("8 structures; 3 devices", (three, "d"))):
    try:
        make_train_step(loss, optax.sgd(0.1), *arguments)(jax.random.key(0), state, batch)
    except ValueError as error:
        assert wrong in str(error), error
    else:
        raise AssertionError(wrong)
print("the same")
"""


def test_a_mesh_trains_what_one_device_trains() -> None:
    """A loss of one's own on four devices, on one axis of two, and with axes of either kind."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", MESH], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "the same", done.stderr
