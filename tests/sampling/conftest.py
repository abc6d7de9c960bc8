"""A network too small to know anything: enough to test everything around it."""

import jax
import pytest

from jaxcrystal.data.frequencies import LetterFrequencies
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.graph.neighbors import GraphConfig
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.scores import NetworkConfig, init_params
from jaxcrystal.sampling.orders import make_order
from jaxcrystal.sampling.plan import Candidate, make_templates
from jaxcrystal.training.model import Model

#: Assignments seen in training: two for one site each of three elements in group 221.
LETTERS = {221: {(1, 1, 1): {(("a",), ("b",), ("c",)): 3, (("a",), ("b",), ("d",)): 1}}}


def make_tiny_model() -> Model:
    network = NetworkConfig(
        GraphConfig(cutoff=4.0, max_neighbors=8),
        DimeNetConfig(
            hidden=16,
            interaction=8,
            basis=4,
            output=16,
            blocks=1,
            num_spherical=3,
            num_radial=3,
            after_skip=1,
        ),
    )
    order = make_order(221, {"Ba": "a", "O": "c"})
    template = make_templates([Candidate(0, order, 0, ("a", "c"))], 2)
    params = init_params(jax.random.key(0), network, jax.tree.map(lambda array: array[0], template))
    info = {"elements": [3, 8, 11, 17, 22, 56], "data": "none", "structures": 4}
    return Model(network, NoiseSchedule(levels=2), params, LetterFrequencies(LETTERS), info)


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    return make_tiny_model()


@pytest.fixture(scope="session")
def quick(tiny_model) -> LangevinConfig:
    """One configuration for all tests; with three sites, they share two compilations."""
    return LangevinConfig(tiny_model.schedule, steps_per_level=2, trajectory_every=1)
