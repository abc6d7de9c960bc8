"""Samples from thousands of random starts in groups 1-15 with random weights: what comes out, and how.

python -m benchmarks.starts [--count 10000] [--name starts]

A network that knows nothing pushes cells and sites anywhere. Whatever it does, nothing may be non-finite
that is not flagged, and no crystal that the sampler calls valid may be squeezed together.
"""

import argparse
from collections import Counter

import jax
import numpy as np

from benchmarks.harness import save
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.errors import Status
from jaxcrystal.graph.neighbors import GraphConfig
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.model import Model
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.requests.candidates import templates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.score import init_params

GROUPS = range(1, 16)
SITES = {"O": 1, "Ti": 1}


def main() -> None:
    """Prints the counts; writes `results/NAME.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="starts in all")
    parser.add_argument("--name", default="starts", help="of the file in results/")
    arguments = parser.parse_args()
    orders = [make_order(group, SITES, "free") for group in GROUPS]
    counts = np.full(len(orders), arguments.count // len(orders))
    counts[: arguments.count - counts.sum()] += 1
    model = random_model()
    config = LangevinConfig(model.schedule, steps_per_level=2)
    samples = sample_orders(
        orders, counts.tolist(), model, config=config, batch_size=250, progress=True, arrays=True
    )
    found = jax.tree.map(np.asarray, samples)
    finite = np.isfinite(found.frac_coords).all((1, 2)) & np.isfinite(found.lattice_params).all(1)
    squeezed = ~(found.volume_per_atom >= 1.0)
    flags = Counter(Status(int(status)).describe() for status in found.status)
    results = {
        "starts": len(found),
        "non-finite": int((~finite).sum()),
        "under 1 Å³ an atom": int(squeezed.sum()),
        "under 1 Å³ an atom and valid": int((squeezed & found.valid).sum()),
        "flagged": int((found.status != 0).sum()),
        "flagged and valid": int(((found.status != 0) & found.valid).sum()),
        "valid": int(found.valid.sum()),
        "status": dict(flags.most_common()),
    }
    for name, value in results.items():
        print(f"{name}: {value}")
    save(arguments.name, {"arguments": vars(arguments)} | results)


def random_model() -> Model:
    """Returns a small model none of whose weights is zero: it predicts noise of many times its true size."""
    network = NetworkConfig(
        GraphConfig(cutoff=4.5, max_neighbors=16),
        DimeNetConfig(hidden=16, interaction=8, basis=4, output=16, blocks=1, num_spherical=3, num_radial=3),
    )
    template = jax.tree.map(lambda leaf: leaf[0], templates([make_order(1, SITES, "free")], [1]))
    params = init_params(jax.random.key(0), make_module(network), network.graph, template)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.5 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return Model(network, NoiseSchedule(), jax.tree.unflatten(tree, noisy), LetterFrequencies({}))


if __name__ == "__main__":
    main()
