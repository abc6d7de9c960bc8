"""Times the parts of sampling and of a training step, with the bundled model.

python -m benchmarks.sampler [--batch 16] [--sites 4] [--model DIR] [--quick]
"""

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.harness import matrix_product_rate, measure, peak_memory_gib, save
from jaxcrystal.crystal import Crystal, pad_and_stack
from jaxcrystal.data.symmetrize import params_of_lattice
from jaxcrystal.diffusion.langevin import LangevinConfig, LangevinState, anneal, init, step
from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model, load_model
from jaxcrystal.score import make_score
from jaxcrystal.symmetry.crystals import build_crystal, site_constraints, site_origins
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from jaxcrystal.training.config import OptimizerConfig, TrainConfig
from jaxcrystal.training.objective import make_optimizer, make_update
from jaxcrystal.training.step import init_state

#: Groups of the paper's speed table.
GROUPS = (225, 62, 194, 221, 166, 139)


def random_crystals(batch: int, sites: int, constrained: bool, seed: int = 0) -> Crystal:
    """Returns crystals with random sites at about 18 Å³ an atom, groups in turn."""
    rng = np.random.default_rng(seed)
    crystals = []
    for group in np.resize(GROUPS, batch):
        space_group, letters, atoms = int(group), None, sites * 4
        frac_coords = rng.random((sites, 3))
        if constrained:
            sizes = np.array([position.site_ops.sum() for position in wyckoff_positions(space_group)])
            # The least symmetric letters that keep the primitive cell at about 4 atoms a site.
            letters = rng.choice(np.flatnonzero(sizes <= 6), sites)
            _, projection = site_constraints(space_group, letters, sites)
            origins = site_origins(space_group, letters)
            frac_coords = origins + np.einsum("nab,nb->na", projection, frac_coords)
            atoms = int(sizes[letters].sum())
        length = (18.0 * atoms * group_tables().num_centring[space_group]) ** (1 / 3)
        lattice_params = params_of_lattice(length * np.eye(3), space_group)
        species = rng.integers(3, 84, sites)
        crystals.append(build_crystal(space_group, species, letters, frac_coords, lattice_params))
    return pad_and_stack(crystals, sites)


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
        capacity = ImageCapacity.fitting(crystals, name == "constrained")
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
    crystals = jax.tree.map(jnp.asarray, crystals)

    def search(crystals: Crystal) -> Any:
        return jax.vmap(lambda c: build_multigraph(c, config.graph, capacity))(crystals)

    timings = {"search": measure(search, crystals)}
    graphs = jax.jit(search)(crystals)

    def apply(params: Any, graphs: Any) -> Any:
        return jax.vmap(lambda g: model.module.apply({"params": params}, g, jnp.log(sigma)))(graphs)

    timings["network"] = measure(apply, model.params, graphs)
    score = make_score(model.module, model.graph, capacity)
    keys = jax.random.split(jax.random.key(0), batch)
    states = jax.jit(jax.vmap(init))(keys, crystals)
    states = states._replace(crystal=crystals)
    langevin = LangevinConfig(model.sampling_schedule)

    def one_step(params: Any, keys: Array, states: LangevinState) -> LangevinState:
        return jax.vmap(lambda k, s: step(k, s, partial(score, params), sigma, langevin))(keys, states)

    timings["langevin_step"] = measure(one_step, model.params, keys, states)
    training = TrainConfig(
        network=config, schedule=model.schedule, optimizer=OptimizerConfig(batch_size=batch)
    )
    update = make_update(training, capacity, donate=False)
    state = init_state(model.params, make_optimizer(training.optimizer))
    timings["training_step"] = measure(update, state, crystals)
    print(f"\n{name} sites, {crystals.species.shape[1]} a structure, batch of {batch}")
    for part, timing in timings.items():
        print(f"  {part:14s} {timing.per(batch):32s} a structure; compiled in {timing.compile:.1f} s")
    share = timings["network"].flops / timings["network"].median / rate
    print(f"  the network reaches {100 * share:.0f} % of the matrix-product rate")
    step_share = timings["network"].flops / timings["langevin_step"].median / rate
    print(f"  a Langevin step, with the network's operations alone, {100 * step_share:.0f} %")
    occupied = float(np.asarray(graphs.edges.mask).mean())
    print(f"  {100 * occupied:.0f} % of the edge slots hold a neighbour")
    sites = crystals.node_mask.sum()
    cut_share = float(np.asarray(graphs.globals.num_cut).sum() / sites)
    print(f"  the cut at K neighbours acts at {100 * cut_share:.1f} % of the sites")
    shares = {"network_share": share, "step_share": step_share, "occupied_edges": occupied}
    return timings | shares | {"cut_share": cut_share}


def time_sampling(model: Model, crystals: Crystal, capacity: ImageCapacity, name: str) -> dict[str, Any]:
    """Times whole samplings at T = 80."""
    batch = crystals.species.shape[0]
    config = LangevinConfig(model.sampling_schedule, steps_per_level=80)
    score = make_score(model.module, model.graph, capacity)
    keys = jax.random.split(jax.random.key(0), batch)
    timing = measure(
        lambda params, keys, crystals: anneal(keys, crystals, partial(score, params), config).state,
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
