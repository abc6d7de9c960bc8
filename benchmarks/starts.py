"""Samples from thousands of random starts in groups 1-15 with random weights: what comes out, and how.

python -m benchmarks.starts [--count 10000] [--name starts]

A network that knows nothing pushes cells and sites anywhere. Whatever it does, nothing may be non-finite
that is not flagged, and no crystal that the sampler calls valid may be squeezed together.
Half of the chains have free sites, half one site on the general and one on the first Wyckoff position.
"""

import argparse
from collections import Counter
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jaxtyping import Int

from benchmarks.harness import save
from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.langevin import LangevinConfig, anneal
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.errors import Status
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.model import Model
from jaxcrystal.models.dimenet import DimeNetConfig
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.requests.candidates import templates
from jaxcrystal.requests.orders import Order, make_order
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.score import init_params, make_score
from jaxcrystal.symmetry.wyckoff import letters_of

GROUPS = range(1, 16)
ELEMENTS = ("O", "Ti")


def main() -> None:
    """Prints the counts; writes `results/NAME.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="starts in all")
    parser.add_argument("--name", default="starts", help="of the file in results/")
    arguments = parser.parse_args()
    free = [make_order(group, dict.fromkeys(ELEMENTS, 1), "free") for group in GROUPS]
    ends = [(letters_of(group)[-1], letters_of(group)[0]) for group in GROUPS]
    constrained = [
        make_order(group, dict(zip(ELEMENTS, letters, strict=True)))
        for group, letters in zip(GROUPS, ends, strict=True)
    ]
    model = random_model()
    results = {
        "free sites": outcome(free, arguments.count // 2, model),
        "constrained sites": outcome(constrained, arguments.count - arguments.count // 2, model),
    }
    for kind, found in results.items():
        print(kind, *(f"  {name}: {value}" for name, value in found.items()), sep="\n")
    save(arguments.name, {"arguments": vars(arguments)} | results)


def outcome(orders: list[Order], total: int, model: Model) -> dict[str, Any]:
    """Returns the counts of chains of some orders."""
    counts = np.full(len(orders), total // len(orders))
    counts[: total - counts.sum()] += 1
    config = LangevinConfig(model.schedule, steps_per_level=2)
    samples = sample_orders(
        orders, counts.tolist(), model, config=config, batch_size=250, progress=True, arrays=True
    )
    found = jax.tree.map(np.asarray, samples)
    finite = np.isfinite(found.frac_coords).all((1, 2)) & np.isfinite(found.lattice_params).all(1)
    squeezed = ~(found.volume_per_atom >= 1.0)
    flags = Counter(Status(int(status)).describe() for status in found.status)
    opened = times_opened(orders, counts.tolist(), model, config)
    return {
        "starts": len(found),
        "non-finite": int((~finite).sum()),
        "under 1 Å³ an atom": int(squeezed.sum()),
        "under 1 Å³ an atom and valid": int((squeezed & found.valid).sum()),
        "flagged": int((found.status != 0).sum()),
        "flagged and valid": int(((found.status != 0) & found.valid).sum()),
        "valid": int(found.valid.sum()),
        "status": dict(flags.most_common()),
        "chains whose angles were drawn back": int((opened > 0).sum()),
        "steps whose angles were drawn back": float(opened.sum() / (len(opened) * config.num_steps)),
    }


def times_opened(
    orders: list[Order], counts: list[int], model: Model, config: LangevinConfig
) -> Int[np.ndarray, " starts"]:
    """Returns in how many of its steps each of other chains, of the same orders, made too flat a cell."""
    starts = [templates([order], [max(counts)], max_nodes=len(ELEMENTS)) for order in orders]
    every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *starts)
    score = make_score(model.module, model.graph, ImageCapacity.fitting(every, orders[0].mode != "free"))

    @jax.jit
    def run(keys: Array, start: Crystal) -> Array:
        return anneal(keys, start, partial(score, model.params), config).state.num_opened

    keys = jax.random.split(jax.random.key(0), max(counts))
    found = [np.asarray(run(keys, start))[:count] for start, count in zip(starts, counts, strict=True)]
    return np.concatenate(found)


def random_model() -> Model:
    """Returns a small model none of whose weights is zero: it predicts noise of many times its true size."""
    network = NetworkConfig(
        GraphConfig(cutoff=4.5, max_neighbors=16),
        DimeNetConfig(hidden=16, interaction=8, basis=4, output=16, blocks=1, num_spherical=3, num_radial=3),
    )
    template = jax.tree.map(
        lambda leaf: leaf[0], templates([make_order(1, dict.fromkeys(ELEMENTS, 1), "free")], [1])
    )
    params = init_params(jax.random.key(0), make_module(network), network.graph, template)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.5 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return Model(network, NoiseSchedule(), jax.tree.unflatten(tree, noisy), LetterFrequencies({}))


if __name__ == "__main__":
    main()
