"""Crystals of the sampler, of a network too small to know anything."""

import pytest

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.sampling.orders import make_order
from jaxcrystal.sampling.runner import sample_orders
from jaxcrystal.sampling.samples import Samples
from tests.sampling.conftest import make_tiny_model


@pytest.fixture(scope="session")
def samples() -> Samples:
    """Two perovskites and two salts, with every step on their way."""
    model = make_tiny_model()
    config = LangevinConfig(model.schedule, steps_per_level=2, trajectory_every=1)
    orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(225, {"Na": "a", "Cl": "b"})]
    return sample_orders(orders, 2, model, 0, config, progress=False)
