"""The symmetric multigraph gives what the full cell gives, for every group.

The crystal is written out in group 1, atom by atom, and the same weights run on both.
Edges are matched by displacement, never by their order; edges of zero weight may differ.
The flag for an edge between images of one site is a label of the crystal, so that the
written-out cell is given it.
"""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.bases import edge_weight
from jaxcrystal.models.dimenet import DimeNet, DimeNetConfig
from jaxcrystal.models.network import NetworkConfig
from jaxcrystal.score import reduce_edges
from jaxcrystal.symmetry.groups import group_tables
from tests.crystals import other_cell, primitive_cell, random_crystal, random_params, to_device
from tests.precision import double_precision

SITES = 2
#: Sizes the written-out cells are padded to, so that few shapes are compiled.
PADDED = (16, 48, 96)
CONFIG = NetworkConfig(
    GraphConfig(cutoff=4.5, max_neighbors=20),
    DimeNetConfig(
        hidden=8, interaction=6, basis=4, output=8, blocks=2, num_spherical=4, num_radial=3, noise_features=4
    ),
)
LOG_SIGMA = (-0.7, 0.3)


class Result(NamedTuple):
    """Of one graph: [edges] arrays, `outputs` weighted, one for each backtracking setting."""

    displacement: jax.Array
    weight: jax.Array
    outputs: jax.Array
    coords: jax.Array
    status: jax.Array
    cut: jax.Array


@partial(jax.jit, static_argnames=("capacity",))
def run_network(params, crystal, site_index, capacity) -> Result:
    graph = build_multigraph(crystal, CONFIG.graph, capacity)
    same_site = (site_index[graph.senders] == site_index[graph.receivers]) & graph.edges.mask
    # What the sites of the symmetric form are, those of the written-out form are too.
    graph = graph._replace(
        edges=graph.edges._replace(same_site=same_site),
        globals=graph.globals._replace(free_sites=jnp.asarray(True)),
    )
    exponent = CONFIG.dimenet.envelope_exponent
    weight = edge_weight(graph, exponent)
    outputs, coords = [], []
    for backtracking in (True, False):
        config = DimeNetConfig(**{**CONFIG.dimenet.__dict__, "backtracking": backtracking})
        model = DimeNet(config, CONFIG.graph.cutoff)
        log_sigma = jnp.asarray(LOG_SIGMA, crystal.frac_coords.dtype)
        values = model.apply({"params": params}, graph, log_sigma)
        outputs.append(values * weight[:, None])
        coords.append(reduce_edges(values, graph, crystal, exponent)[0])
    return Result(
        graph.edges.displacement,
        weight,
        jnp.concatenate(outputs, axis=1),
        jnp.stack(coords),
        graph.globals.status,
        graph.globals.num_cut,
    )


@cache
def parameters():
    """Random weights, in double precision."""
    with double_precision():
        crystal = to_device(random_crystal(np.random.default_rng(0), 16, SITES))
        return jax.tree.map(np.asarray, random_params(1, CONFIG, crystal))


@cache
def both_forms(space_group, placement):
    """A random crystal, and the same written out."""
    rng = np.random.default_rng([space_group, len(placement)])
    crystal = random_crystal(rng, space_group, SITES, **PLACEMENTS[placement])
    return crystal, primitive_cell(crystal, padded_size(space_group))


def deviation(crystal, written, dtype) -> tuple[float, float]:
    """Largest difference of edge outputs and of node sums, relative to the largest of each."""
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), parameters())
    ours = run_network(params, to_device(crystal, dtype), jnp.arange(SITES), ImageCapacity.free(SITES))
    full = run_network(
        params,
        to_device(written.crystal, dtype),
        jnp.asarray(written.site_index),
        ImageCapacity(len(written.site_index), merge=False),
    )
    assert ours.status == 0
    assert full.status == 0

    ours, full = (jax.tree.map(np.asarray, result) for result in (ours, full))
    # In float32 the envelope rounds to ±1e-6 near its end.
    threshold = 1e-12 if dtype == jnp.float64 else 1e-4
    scale = np.abs(ours.outputs).max()
    worst = 0.0
    degree = CONFIG.graph.max_neighbors
    for site, atom in enumerate(written.first):
        mine, theirs = (slice(node * degree, (node + 1) * degree) for node in (site, atom))
        turned = ours.displacement[mine] @ written.turn
        distance = np.linalg.norm(turned[:, None] - full.displacement[theirs], axis=-1)
        for counts, match, ours_first in (
            (ours.weight[mine] > threshold, distance.argmin(axis=1), True),
            (full.weight[theirs] > threshold, distance.argmin(axis=0), False),
        ):
            assert distance.min(axis=int(ours_first))[counts].max(initial=0) < 1e-4
            first, second = (ours.outputs[mine], full.outputs[theirs])[:: 1 if ours_first else -1]
            worst = max(worst, np.abs(first - second[match])[counts].max(initial=0) / scale)
    difference = ours.coords @ written.turn - full.coords[:, written.first]
    return worst, float(np.abs(difference).max() / np.abs(full.coords).max())


PLACEMENTS = {
    "general": {},
    "special": {"special": True},
    "constrained": {"special": True, "constrained": True},
}


def padded_size(space_group: int) -> int:
    return next(size for size in PADDED if size >= SITES * group_tables().num_ops[space_group])


def worst_of_all_groups(size, dtype) -> float:
    worst = {}
    for space_group in range(2, 231):  # of group 1, see `test_group_1_in_another_cell`
        if padded_size(space_group) != size:
            continue
        for placement in PLACEMENTS:
            worst[space_group, placement] = max(deviation(*both_forms(space_group, placement), dtype))
    found = max(worst, key=worst.get)
    print(f"largest of {len(worst)} deviations: {worst[found]:.1e}, {found}")
    return worst[found]


#: Of group 1, whose written-out cell is the crystal itself: axes far from reduced, and twice and six times
#: the cell.
OTHER_CELLS = {
    "skewed": [[1, 2, 0], [0, 1, -2], [1, 2, 1]],
    "twice": [[1, 0, 0], [0, 1, 1], [0, -1, 1]],
    "six times": [[2, 0, 1], [0, 1, 0], [0, 1, 3]],
}


@pytest.mark.parametrize("axes", OTHER_CELLS.values(), ids=OTHER_CELLS)
def test_group_1_in_another_cell(axes, x64):
    worst = []
    for seed in range(5):
        crystal = random_crystal(np.random.default_rng([seed, 1]), 1, SITES)
        written = other_cell(crystal, np.array(axes, float), PADDED[0])
        worst.append(max(deviation(crystal, written, jnp.float64)))
    print(f"largest deviations: {worst}")
    assert max(worst) < 1e-9


@pytest.mark.parametrize("size", PADDED)
def test_multigraph_is_the_full_cell_in_double_precision(size, x64):
    assert worst_of_all_groups(size, jnp.float64) < 1e-9


@pytest.mark.parametrize("size", PADDED)
def test_multigraph_is_the_full_cell_in_single_precision(size):
    assert worst_of_all_groups(size, jnp.float32) < 1e-3
