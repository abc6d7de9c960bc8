"""Measures what `sampler_throughput.ipynb` shows: parts of a step, samplings, compilation, memory."""

import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.harness import measure
from jaxcrystal.crystal import Crystal, pad_and_stack
from jaxcrystal.diffusion.langevin import LangevinConfig, init, step
from jaxcrystal.diffusion.search import anneal_best
from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.model import Model
from jaxcrystal.models.network import make_module
from jaxcrystal.score import make_score
from jaxcrystal.structures.finish import finish_batch
from jaxcrystal.structures.finish_tables import finish_tables
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

_SIGMA = (0.3, 1.0)


@dataclass(frozen=True)
class Case:
    """What is sampled at once.

    Attributes:
      rows: crystals of a batch.
      sites: inequivalent ones of each.
      group: space group.
      free: sites move freely; else they are on general positions.
      max_neighbors: K.
    """

    rows: int = 8
    sites: int = 4
    group: int = 62
    free: bool = False
    max_neighbors: int = 24

    def templates(self) -> Crystal:
        """Returns the templates on the device."""
        general = len(wyckoff_positions(self.group)) - 1
        crystal = build_crystal(self.group, [8] * self.sites, None if self.free else [general] * self.sites)
        return jax.tree.map(jnp.asarray, pad_and_stack([crystal] * self.rows, self.sites))

    def model(self, model: Model) -> Model:
        """Returns the model with this number of neighbours."""
        graph: GraphConfig = replace(model.graph, max_neighbors=self.max_neighbors)
        network = replace(model.network, graph=graph)
        return replace(model, network=network, module=make_module(network))


def step_parts(model: Model, case: Case, runs: int = 10) -> dict[str, float]:
    """Returns ms a crystal of the parts of one Langevin step and of finishing, and its operations."""
    model, templates = case.model(model), case.templates()
    capacity = ImageCapacity.fitting(templates, constrained=not case.free)
    keys = jax.random.split(jax.random.key(0), case.rows)
    states = jax.jit(jax.vmap(init))(keys, templates)
    score = make_score(model.module, model.graph, capacity)
    config, sigma = LangevinConfig(model.sampling_schedule), jnp.array(_SIGMA)

    def search(crystals: Crystal) -> Any:
        return jax.vmap(lambda c: build_multigraph(c, model.graph, capacity))(crystals)

    def network(params: Any, graphs: Any) -> Any:
        return jax.vmap(lambda g: model.module.apply({"params": params}, g, jnp.log(sigma)))(graphs)

    def whole(params: Any, keys: Any, states: Any) -> Any:
        return jax.vmap(lambda k, s: step(k, s, partial(score, params), sigma, config))(keys, states)

    graphs = jax.jit(search)(states.crystal)
    letters = jnp.zeros(templates.species.shape, jnp.int32)
    finishing = finish_batch(capacity, model.graph.merge_distance)
    timings = {
        "search": measure(search, states.crystal, runs=runs),
        "network": measure(network, model.params, graphs, runs=runs),
        "step": measure(whole, model.params, keys, states, runs=runs),
        "finishing": measure(
            finishing, finish_tables(), states.crystal, letters, states.status, states.scores, runs=runs
        ),
    }
    found = {name: 1e3 * timing.median / case.rows for name, timing in timings.items()}
    found["rest of the step"] = found["step"] - found["search"] - found["network"]
    return found | {"gflop": timings["network"].flops / 1e9 / case.rows}


def sampling(model: Model, case: Case, steps: int, chains: int = 1, runs: int = 3) -> dict[str, float]:
    """Returns structures a second of whole samplings, evaluations of each, and what the program holds."""
    model, templates = case.model(model), case.templates()
    capacity = ImageCapacity.fitting(templates, constrained=not case.free)
    score = make_score(model.module, model.graph, capacity)
    config = LangevinConfig(model.sampling_schedule, steps_per_level=steps, best_of=chains)
    keys = jax.random.split(jax.random.key(0), case.rows)

    def run(params: Any, keys: Any, templates: Crystal) -> Any:
        return anneal_best(keys, templates, partial(score, params), config, None, chains).state

    timing = measure(run, model.params, keys, templates, runs=runs)
    memory = jax.jit(run).lower(model.params, keys, templates).compile().memory_analysis()
    evaluations = config.schedule.levels * steps + 1
    if chains > 1:
        evaluations = chains * (evaluations + 2 * config.schedule.levels)
    return {
        "structures_per_second": case.rows / timing.median,
        "evaluations": evaluations,
        "compile_seconds": timing.compile,
        "memory_mib": getattr(memory, "temp_size_in_bytes", 0) / 2**20,
    }


def compilation(model: Model, case: Case) -> dict[str, float]:
    """Returns the seconds that a step's program takes to be traced, compiled, and read from the cache."""
    model, templates = case.model(model), case.templates()
    capacity = ImageCapacity.fitting(templates, constrained=not case.free)
    score, config = make_score(model.module, model.graph, capacity), LangevinConfig(model.sampling_schedule)
    keys = jax.random.split(jax.random.key(0), case.rows)
    states = jax.jit(jax.vmap(init))(keys, templates)

    def seconds() -> tuple[float, float]:
        def whole(params: Any, keys: Any, states: Any) -> Any:
            sigma = jnp.array(_SIGMA)
            return jax.vmap(lambda k, s: step(k, s, partial(score, params), sigma, config))(keys, states)

        jax.clear_caches()
        began = time.perf_counter()
        lowered = jax.jit(whole).lower(model.params, keys, states)
        traced = time.perf_counter()
        lowered.compile()
        return traced - began, time.perf_counter() - traced

    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir",)}
    least = jax.config.jax_persistent_cache_min_compile_time_secs  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        compilation_cache.reset_cache()
        try:
            (trace, compiled), (_, read) = seconds(), seconds()
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
            compilation_cache.reset_cache()
    return {"trace": trace, "compile": compiled, "read": read}


def random_crystals(case: Case, seed: int = 0) -> list[Crystal]:
    """Returns crystals of NumPy arrays with random coordinates in a cell of 7 Å, for searches on the host."""
    templates = jax.tree.map(np.asarray, case.templates())
    rng = np.random.default_rng(seed)
    return [
        Crystal(*(column[row] for column in templates))._replace(
            frac_coords=rng.uniform(size=(case.sites, 3))
        )
        for row in range(case.rows)
    ]
