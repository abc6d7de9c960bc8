"""A network too small to know anything: enough to test everything around it."""

import jax

from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.graph.neighbors import GraphConfig
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.model import Model
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.requests.candidates import templates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.run_folder import PART_SIZE, parts_of
from jaxcrystal.score import init_params

#: Elements of the assignments seen in training: two for one site each of three elements in group 221.
LETTERS = {
    221: {
        (1, 1, 1): {
            (("a",), ("b",), ("c",)): [(56, 22, 8), (11, 22, 8), (3, 22, 8)],
            (("a",), ("b",), ("d",)): [(11, 22, 17)],
        }
    }
}


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
    template = jax.tree.map(lambda array: array[0], templates([order], [1]))
    params = init_params(jax.random.key(0), make_module(network), network.graph, template)
    info = {"elements": [3, 8, 11, 17, 22, 56], "data": "none", "structures": 4}
    return Model(network, NoiseSchedule(levels=2), params, LetterFrequencies.of_elements(LETTERS), info)


def cut_in_parts(candidates, size=PART_SIZE):
    """The structures of each part of a run."""
    return [members for _, members in parts_of(candidates, range(-(-len(candidates) // size)), size)]
