"""Times the parts of sampling and of a training step, with the bundled model.

python -m benchmarks.sampler [--batch 16] [--sites 4] [--model DIR] [--quick]
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.harness import matrix_product_rate, measure, peak_memory_gib, save
from jaxcrystal.crystal import Crystal
from jaxcrystal.data.batches import letter_tables
from jaxcrystal.data.symmetrize import params_of_lattice
from jaxcrystal.diffusion.langevin import LangevinConfig, LangevinState, anneal, init_state, langevin_step
from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model, load_model
from jaxcrystal.models.dimenet import DimeNet
from jaxcrystal.score import make_estimate_fn
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from jaxcrystal.training.config import OptimizerConfig, TrainConfig
from jaxcrystal.training.step import image_capacity, make_update
from jaxcrystal.training.step import init_state as init_training

#: Groups of the paper's speed table.
GROUPS = (225, 62, 194, 221, 166, 139)


def random_crystals(batch: int, sites: int, constrained: bool, seed: int = 0) -> Crystal:
    """Returns crystals with random sites at about 18 Å³ an atom, groups in turn."""
    rng = np.random.default_rng(seed)
    tables = group_tables()
    groups = np.resize(GROUPS, batch)
    site_ops = np.zeros((batch, sites, 48), bool)
    projection = np.zeros((batch, sites, 3, 3), np.float32)
    frac_coords = rng.random((batch, sites, 3), np.float32)
    params = np.zeros((batch, 6), np.float32)
    for row, group in enumerate(groups):
        site_ops[row, :, : tables.num_ops[group]] = True
        projection[row] = np.eye(3)
        atoms = sites * 4
        if constrained:
            ops, projections = letter_tables(int(group))
            # The least symmetric letters that keep the primitive cell at about 4 atoms a site.
            small = np.flatnonzero(ops.sum(1) <= 6)
            letters = rng.choice(small, sites)
            site_ops[row], projection[row] = ops[letters], projections[letters]
            origins = np.stack([p.origin for p in wyckoff_positions(int(group))])[letters]
            moved = np.einsum("nab,nb->na", projections[letters], frac_coords[row])
            frac_coords[row] = origins + moved
            atoms = int(ops[letters].sum())
        length = (18.0 * atoms * tables.num_centring[group]) ** (1 / 3)
        params[row] = params_of_lattice(length * np.eye(3), int(group))
    return Crystal(
        rng.integers(3, 84, (batch, sites)).astype(np.int32),
        frac_coords.astype(np.float32),
        np.ones((batch, sites), bool),
        params,
        groups.astype(np.int32),
        site_ops,
        projection,
    )


def main() -> None:
    """Prints the table and writes `benchmarks/results/sampler.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="structures a batch")
    parser.add_argument("--sites", type=int, default=4, help="inequivalent sites a structure")
    parser.add_argument("--model", help="model folder (default: the bundled one)")
    parser.add_argument("--quick", action="store_true", help="leave out the full sampling at T = 80")
    arguments = parser.parse_args()
    model, batch, sites = load_model(arguments.model), arguments.batch, arguments.sites
    rate = matrix_product_rate()
    print(f"matrix products: {rate / 1e9:.0f} GFLOP/s in float32")
    results: dict[str, object] = {"batch": batch, "sites": sites, "matrix_product_gflops": rate / 1e9}
    for name in ("constrained", "free"):
        crystals = random_crystals(batch, sites, name == "constrained")
        capacity = image_capacity(crystals, name == "constrained")
        results |= {f"{name}_{k}": v for k, v in time_parts(model, crystals, capacity, rate, name).items()}
        if not arguments.quick:
            results |= {f"{name}_{k}": v for k, v in time_sampling(model, crystals, capacity, name).items()}
    results["peak_memory_gib"] = peak_memory_gib()
    print(f"peak memory {peak_memory_gib():.2f} GiB; written to {save('sampler', results)}")


def time_parts(
    model: Model, crystals: Crystal, capacity: ImageCapacity, rate: float, name: str
) -> dict[str, Any]:
    """Times search, network, Langevin step and training step of one batch."""
    batch = crystals.species.shape[0]
    sigma = jnp.array([0.2, 1.0])
    config = model.network
    network = DimeNet(config.dimenet, config.graph.cutoff)
    crystals = jax.tree.map(jnp.asarray, crystals)

    def search(crystals: Crystal) -> Any:
        return jax.vmap(lambda c: build_multigraph(c, config.graph, capacity))(crystals)

    timings = {"search": measure(search, crystals)}
    graphs = jax.jit(search)(crystals)

    def apply(params: Any, graphs: Any) -> Any:
        return jax.vmap(lambda g: network.apply({"params": params}, g, jnp.log(sigma)))(graphs)

    timings["network"] = measure(apply, model.params, graphs)
    estimate = make_estimate_fn(config, capacity)
    keys = jax.random.split(jax.random.key(0), batch)
    states = jax.jit(jax.vmap(init_state))(keys, crystals)
    states = states._replace(crystal=crystals)
    langevin = LangevinConfig(model.sampling_schedule)

    def step(params: Any, keys: Array, states: LangevinState) -> LangevinState:
        return jax.vmap(lambda k, s: langevin_step(estimate, params, k, s, sigma, langevin))(keys, states)

    timings["langevin_step"] = measure(step, model.params, keys, states)
    training = TrainConfig(
        network=config, schedule=model.schedule, optimizer=OptimizerConfig(batch_size=batch)
    )
    update = make_update(training, capacity, donate=False)
    timings["training_step"] = measure(update, init_training(model.params, training.optimizer), crystals)
    print(f"\n{name} sites, {crystals.species.shape[1]} a structure, batch of {batch}")
    for part, timing in timings.items():
        print(f"  {part:14s} {timing.per(batch):32s} a structure; compiled in {timing.compile:.1f} s")
    share = timings["network"].flops / timings["network"].median / rate
    print(f"  the network reaches {100 * share:.0f} % of the matrix-product rate")
    train_share = timings["training_step"].flops / timings["training_step"].median / rate
    print(f"  a training step reaches {100 * train_share:.0f} %")
    occupied = float(np.asarray(graphs.edges.mask).mean())
    print(f"  {100 * occupied:.0f} % of the edge slots hold a neighbour")
    return timings | {"network_share": share, "training_share": train_share, "occupied_edges": occupied}


def time_sampling(model: Model, crystals: Crystal, capacity: ImageCapacity, name: str) -> dict[str, Any]:
    """Times whole samplings at T = 80."""
    batch = crystals.species.shape[0]
    config = LangevinConfig(model.sampling_schedule, steps_per_level=80)
    estimate = make_estimate_fn(model.network, capacity)
    keys = jax.random.split(jax.random.key(0), batch)
    timing = measure(
        lambda params, keys, crystals: anneal(estimate, params, keys, crystals, config)[0],
        model.params,
        keys,
        jax.tree.map(jnp.asarray, crystals),
        runs=3,
    )
    rate = batch / timing.median
    print(f"  sampling at T = 80: {rate:.2f} structures/s; compiled in {timing.compile:.1f} s")
    return {"sampling_t80": timing, "structures_per_second_t80": rate}


if __name__ == "__main__":
    main()
