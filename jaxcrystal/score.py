"""From edge outputs to the noise estimates of coordinates and lattice.

The network estimates the noise that was added, in units of its σ; the score is minus
that over σ. Both sums over edges are weighted with the envelope, so that an edge at the
end of a neighbourhood contributes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
from jax import Array
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.graph.multigraph import build_multigraph
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.dimenet import DimeNet, DimeNetConfig, edge_weight
from jaxcrystal.models.special import with_known_noise
from jaxcrystal.symmetry.lattice import metric_gradient
from jaxcrystal.symmetry.subspaces import project_displacement

_SOFTENING = 1e-3


@dataclass(frozen=True)
class NetworkConfig:
    """The score network: which graph, and which DimeNet++ on it."""

    graph: GraphConfig = GraphConfig()
    dimenet: DimeNetConfig = DimeNetConfig()


class NoiseEstimate(NamedTuple):
    """What the network says of one crystal.

    Attributes:
      coords: [max_nodes, 3] estimated noise of the Cartesian coordinates over σ_X, in the
        subspace of each site; 0 on padding.
      lattice: [6] estimated noise of the lattice parameters over σ_L; 0 where not free.
      status: [] `Status` flags of the neighbour search.
      num_cut: [] nodes at which the cut at K neighbours acted.
    """

    coords: Float[Array, "max_nodes 3"]
    lattice: Float[Array, "6"]
    status: Int[Array, ""]
    num_cut: Int[Array, ""]


#: (params, crystal, sigma [2]) -> NoiseEstimate
EstimateFn = Callable[[Any, Crystal, Array], NoiseEstimate]


def init_params(key: Array, config: NetworkConfig, crystal: Crystal) -> Any:
    """Returns fresh network parameters; `crystal` only gives shapes and dtype."""

    def init(key: Array, crystal: Crystal) -> Any:
        graph = build_multigraph(crystal, config.graph, ImageCapacity.free(crystal.species.shape[0]))
        model = DimeNet(config.dimenet, config.graph.cutoff)
        return model.init(key, graph, jnp.zeros(2, crystal.frac_coords.dtype))["params"]

    # No parameter depends on the graph's numbers, so that almost nothing is compiled; run
    # eagerly, this takes half a minute.
    return jax.jit(init)(key, crystal)


def make_estimate_fn(config: NetworkConfig, capacity: ImageCapacity) -> EstimateFn:
    """Returns the pure function from (params, crystal, sigma) to the noise estimates.

    Args:
      config: graph and network.
      capacity: static room of the neighbour search.
    Returns:
      `estimate(params, crystal, sigma)` for one crystal; `sigma` is [2]: σ_X in Å and σ_L.
    """
    model = DimeNet(config.dimenet, config.graph.cutoff)

    def estimate(params: Any, crystal: Crystal, sigma: Array) -> NoiseEstimate:
        graph = build_multigraph(crystal, config.graph, capacity)
        outputs: Array = model.apply({"params": params}, graph, jnp.log(sigma))  # type: ignore[assignment]
        guess = reduce_edges(outputs, graph, crystal, config.dimenet.envelope_exponent)
        if capacity.merge:
            coords = with_known_noise(guess.coords, crystal, graph.nodes.own_images, sigma[0])
            guess = guess._replace(coords=coords)
        return guess

    return estimate


def reduce_edges(
    outputs: Float[Array, "edges 2"], graph: jraph.GraphsTuple, crystal: Crystal, exponent: int
) -> NoiseEstimate:
    """Sums edge outputs (position, lattice) to the noise estimates (design: Scores)."""
    weight = edge_weight(graph, exponent)
    nodes = crystal.node_mask.shape[0]
    forces = (weight * outputs[:, 0])[:, None] * graph.edges.direction
    coords = project_displacement(forces.reshape(nodes, -1, 3).sum(1), crystal)

    # G = ∂d/∂params at fixed fractional displacement f: d² = fᵀ M f.
    frac = graph.edges.frac_displacement
    slope = metric_gradient(crystal.lattice_params, crystal.space_group)
    quadratic = jnp.einsum("ea,pab,eb->ep", frac, slope, frac)
    gradient = quadratic / (2.0 * jnp.maximum(graph.edges.distance, _SOFTENING))[:, None]
    share = weight / jnp.maximum(weight.sum(), _SOFTENING)
    scale = share * outputs[:, 1] / ((gradient**2).sum(1) + _SOFTENING)
    return NoiseEstimate(coords, scale @ gradient, graph.globals.status, graph.globals.num_cut)


def count_params(params: Any) -> int:
    """Returns the number of trainable numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
