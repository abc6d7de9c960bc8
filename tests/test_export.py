"""What runs on accelerators can be lowered for GPUs and TPUs, without either at hand.

`jax.export` refuses operations that a platform lacks and calls of libraries that are not known to be
stable there (LAPACK's among them); callbacks of the host are such calls.
"""

import re
from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcrystal.crystal import empty, pad_and_stack
from jaxcrystal.diffusion.loss import joint_loss
from jaxcrystal.diffusion.settings import Choice, LangevinConfig
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.sampling.batches import Shape
from jaxcrystal.sampling.programs import sampler
from jaxcrystal.score import make_score
from jaxcrystal.training.step import Losses, init_state, make_train_step

PLATFORMS = ("cuda", "tpu")
CAPACITIES = {"constrained": ImageCapacity(24, merge=False), "free": ImageCapacity.free(2)}


def require_lowering(function, *arguments):
    """Fails if a function cannot be lowered, computes in float64, or asks for a library on the device."""
    text = jax.export.export(function, platforms=PLATFORMS)(*arguments).mlir_module()
    assert "xf64>" not in text
    assert "tensor<f64>" not in text
    calls = set(re.findall(r"custom_call @([\w.]+)", text))
    known = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "cu_threefry2x32_ffi", "mhlo.topk"}
    assert calls <= known


def rows_of(count):
    return pad_and_stack([empty(0)] * count, 2)


@pytest.mark.parametrize(("kind", "best_of"), [("constrained", 1), ("free", 3)])
def test_the_sampler(tiny_model, kind, best_of):
    choices = (Choice(0.5, keep=2),)  # between its two levels
    config = LangevinConfig(
        tiny_model.schedule, steps_per_level=1, best_of=best_of, choices=choices, trajectory_every=1
    )
    assert len(config.stages) == (1 if best_of == 1 else 2)
    shape = Shape(2, CAPACITIES[kind])
    program = sampler(tiny_model.module, tiny_model.graph, config, shape, (jax.devices()[0],), best_of)
    numbers = np.zeros(4, np.uint32)
    require_lowering(program, tiny_model.params, np.uint32(0), numbers, numbers, rows_of(4), None)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_an_update(tiny_model, precision):
    model = tiny_model.with_precision(precision)
    score = make_score(model.module, model.graph, CAPACITIES["constrained"])

    def loss(key, params, crystal):
        found = joint_loss(key, partial(score, params), crystal, jnp.array([0.3, 1.0]))
        terms = {
            "coords": (found.coords, found.coords_weight),
            "lattice": (found.lattice, found.lattice_weight),
        }
        return Losses(terms)

    optimizer = optax.adam(1e-3)
    update = make_train_step(loss, optimizer)
    state = init_state(model.params, optimizer)
    require_lowering(update, jax.random.key(0), state, jax.tree.map(jnp.asarray, rows_of(4)))


def test_a_library_on_the_device_is_seen():
    with pytest.raises(AssertionError):
        require_lowering(jax.jit(jnp.linalg.svd), jnp.eye(3))


def test_a_callback_is_seen():
    def asks(x):
        return jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct((), jnp.float32), x)

    with pytest.raises(NotImplementedError, match="callback"):
        require_lowering(jax.jit(asks), jnp.float32(0))
