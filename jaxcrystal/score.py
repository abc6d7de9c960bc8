"""Turns a network's edge outputs into predicted noise and scores of coordinates and lattice.

Any Flax module that gives two numbers for each edge of the multigraph makes a score here;
DimeNet++ is one such module. It predicts the noise that was added, in units of its σ; the score
is minus that over σ. Both sums over edges are weighted with the envelope, so that an edge at the
end of a neighbourhood contributes nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
from jax import Array
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.graph.multigraph import build_multigraph, empty_multigraph, inverse_distance
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.bases import edge_weight
from jaxcrystal.symmetry.group_row import group_row
from jaxcrystal.symmetry.lattice import metric_gradient
from jaxcrystal.symmetry.subspaces import project_displacement
from jaxcrystal.vectors import dot, turn

_SOFTENING = 1e-3
#: Of the sums over edges, for modules that do not name their own.
_ENVELOPE_EXPONENT = 5
#: Å; images nearer than this may be of one atom on a special position: apart, atoms would be nearer
#: to each other than in nearly all crystals.
IMAGE_DISTANCE = 1.0
#: Å; with more noise, images of an atom on a special position are often farther apart than that.
MAX_SIGMA = 0.2
#: Noise so many times σ long is not noise: the images are atoms.
MAX_DEVIATIONS = 4.5


class NoisePrediction(NamedTuple):
    """Predicted noise and scores of one crystal.

    Attributes:
      coords: [max_nodes, 3] predicted noise of the Cartesian coordinates over σ_X, in the
        subspace of each site; 0 on padding.
      lattice: [6] predicted noise of the lattice parameters over σ_L; 0 where not free.
      coord_score: [max_nodes, 3] -coords / σ_X, 1/Å.
      lattice_score: [6] -lattice / σ_L.
      status: [] `Status` flags of the neighbour search.
      num_cut: [] sites at which the cut at K neighbours acted.
      reduction: [3, 3] of the neighbour search, see `graph.neighbors.Neighbors`; None: there was none.
    """

    coords: Float[Array, "max_nodes 3"]
    lattice: Float[Array, "6"]
    coord_score: Float[Array, "max_nodes 3"]
    lattice_score: Float[Array, "6"]
    status: Int[Array, ""]
    num_cut: Int[Array, ""]
    reduction: Float[Array, "3 3"] | None = None


#: (crystal, sigma [2], cond=None, reduction=None) -> NoisePrediction, of one crystal: what losses and
#: samplers take.
ScoreFn = Callable[..., NoisePrediction]


def make_score(module: Any, graph: GraphConfig, capacity: ImageCapacity) -> Callable[..., NoisePrediction]:
    """Returns the pure function from (params, crystal, sigma, cond) to predicted noise and scores.

    Args:
      module: Flax module; `module.apply({"params": params}, graph, log_sigma, cond)` returns
        [edges, 2], for each edge of the multigraph a number for the position of its receiver and
        one for the lattice. `graph` is of `graph.multigraph.build_multigraph`, `log_sigma` [2] the
        logarithms of σ_X (Å) and σ_L. An attribute `envelope_exponent` of the module, if there is
        one, is that of the weights of the sums over edges (default 5).
      graph: which atoms are neighbours.
      capacity: static room of the neighbour search, and whether sites are free.
    Returns:
      `score(params, crystal, sigma, cond=None, reduction=None)` for one crystal; `sigma` is [2]: σ_X in
      Å and σ_L; `cond` are the conditions of this structure, a pytree of arrays without a batch axis;
      `reduction` is that of an earlier result for nearly the same cell, and saves time. Losses and
      samplers take it with the parameters bound: `partial(score, params)`.
    """
    exponent = getattr(module, "envelope_exponent", _ENVELOPE_EXPONENT)

    def score(
        params: Any, crystal: Crystal, sigma: Array, cond: Any = None, reduction: Array | None = None
    ) -> NoisePrediction:
        multigraph = build_multigraph(crystal, graph, capacity, reduction)
        outputs: Array = module.apply({"params": params}, multigraph, jnp.log(sigma), cond)
        coords, lattice = reduce_edges(outputs, multigraph, crystal, exponent)
        if capacity.merge:
            coords = with_known_noise(coords, crystal, multigraph.nodes.own_images, sigma[0])
        return NoisePrediction(
            coords,
            lattice,
            coord_score=-coords / sigma[0],
            lattice_score=-lattice / sigma[1],
            status=multigraph.globals.status,
            num_cut=multigraph.globals.num_cut,
            reduction=multigraph.globals.reduction,
        )

    return score


def init_params(key: Array, module: Any, graph: GraphConfig, crystal: Crystal, cond: Any = None) -> Any:
    """Returns fresh parameters of a module; `crystal` and `cond`, of one structure, only give shapes."""

    def init(key: Array, crystal: Crystal, cond: Any) -> Any:
        multigraph = empty_multigraph(crystal, graph)  # the search would take longer than the rest
        log_sigma = jnp.zeros(2, crystal.frac_coords.dtype)
        return module.init(key, multigraph, log_sigma, cond)["params"]

    # No parameter depends on the graph's numbers, so that almost nothing is compiled; run
    # eagerly, this takes half a minute.
    return jax.jit(init)(key, crystal, cond)


def reduce_edges(
    outputs: Float[Array, "edges 2"], graph: jraph.GraphsTuple, crystal: Crystal, exponent: int
) -> tuple[Float[Array, "nodes 3"], Float[Array, "6"]]:
    """Sums edge outputs (position, lattice) to the predicted noise of coordinates and lattice.

    Edge e of node i, along the unit vector u_e and with number p_e, moves the node by p_e u_e; its
    number q_e changes the lattice along the gradient G_e of the edge's length by the lattice
    parameters: Σ_e p_e u_e for each node, mean_e q_e G_e / (‖G_e‖² + 1e-3) for the lattice.

    Args:
      outputs: [edges, 2] p and q.
      graph: of the crystal.
      crystal: noisy.
      exponent: of the envelope that both sums are weighted with.
    """
    weight = edge_weight(graph, exponent)
    nodes = crystal.node_mask.shape[0]
    # G = ∂d/∂params at fixed fractional displacement f: d² = fᵀ M f.
    frac = graph.edges.frac_displacement[:, None]
    slope = metric_gradient(crystal.lattice_params, crystal.space_group)
    quadratic = dot(turn(slope, frac), frac)
    gradient = quadratic * (0.5 * inverse_distance(graph.edges.distance))[:, None]
    scale = weight * outputs[:, 1] / ((gradient**2).sum(1) + _SOFTENING)

    # One sum for all: every sum over edges is an operation of its own.
    forces = (weight * outputs[:, 0])[:, None] * graph.edges.direction
    terms = jnp.concatenate([forces, scale[:, None] * gradient, weight[:, None]], axis=1)
    of_nodes = terms.reshape(nodes, -1, 10).sum(1)
    total = of_nodes[:, 3:].sum(0)
    coords = project_displacement(of_nodes[:, :3], crystal)
    return coords, total[:6] / jnp.maximum(total[6], _SOFTENING)


def with_known_noise(
    coords: Float[Array, "max_nodes 3"],
    crystal: Crystal,
    own_images: Float[Array, "max_nodes max_ops 3"],
    sigma: Float[Array, ""],
) -> Float[Array, "max_nodes 3"]:
    """Replaces the predicted noise of free sites where it follows exactly from their images.

    The graph counts images of a site within `merge_distance` as one atom, so that a network cannot
    see how far apart they are. But where noise has moved an atom off a special position, the mean
    of its images is that position, exactly: in the directions that the operations which make them
    do not leave alone, the noise is known.

    Args:
      coords: [max_nodes, 3] predicted noise, Cartesian, over σ_X.
      crystal: noisy.
      own_images: [max_nodes, MAX_OPS, 3] of `graph.neighbors.Neighbors`.
      sigma: [] σ_X, Å.
    Returns:
      [max_nodes, 3] predicted noise; that of sites without near images is as it was.
    """
    dtype = coords.dtype
    near = ((own_images**2).sum(-1) < IMAGE_DISTANCE**2) & crystal.site_ops
    share = near.astype(dtype) / jnp.maximum(near.sum(1, keepdims=True), 1)
    rotations = group_row(crystal.space_group, dtype).cart_rotations
    # Means over the stabiliser: of the images, and of the rotations, which projects on what it leaves alone.
    to_position = (share[..., None] * own_images).sum(1)
    exact = jax.lax.Precision.HIGHEST
    along = jnp.matmul(share, rotations.reshape(-1, 9), precision=exact).reshape(-1, 3, 3)
    is_noise = (to_position**2).sum(1) < (MAX_DEVIATIONS * sigma) ** 2
    known = turn(along, coords) - to_position / sigma
    use = is_noise & (near.sum(1) > 1) & (sigma < MAX_SIGMA)
    return jnp.where(use[:, None], known, coords)


def count_params(params: Any) -> int:
    """Returns the number of trainable numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def values_per_edge(module: Any, params: Any) -> int:
    """Returns about how many numbers a module's layers keep on an edge for the way back.

    It is what decides how many structures fit a processor's cache or a device's memory: the
    module's own `values_per_edge`, or three layers as wide as its widest.
    """
    return int(getattr(module, "values_per_edge", 3 * widest_layer(params)))


def widest_layer(params: Any) -> int:
    """Returns the width of the widest layer."""
    return max((leaf.shape[-1] for leaf in jax.tree.leaves(params) if leaf.ndim), default=1)
