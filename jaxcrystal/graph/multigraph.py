"""Builds the symmetric multigraph as a `jraph.GraphsTuple`.

Nodes are the inequivalent sites; an edge of node i is one atom image
R_g x_j + t_g + (primitive lattice vector). Edges are sorted by receiver with
`max_neighbors` slots for every node. The image sees node i, in the frame of its own
site j, along -R_gᵀ displacement: with angles taken there the multigraph gives exactly
what the network gives on the full crystal.
"""

from typing import NamedTuple

import jax.numpy as jnp
import jraph
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity, Neighbors, find_neighbors, no_neighbors
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.vectors import times


class Nodes(NamedTuple):
    """Node features.

    Attributes:
      species: [nodes] atomic numbers.
      mask: [nodes].
      reach: [nodes] Å, of `graph.neighbors.Neighbors`.
      own_images: [nodes, MAX_OPS, 3] Å, of the same.
    """

    species: Int[Array, " nodes"]
    mask: Bool[Array, " nodes"]
    reach: Float[Array, " nodes"]
    own_images: Float[Array, "nodes ops 3"]


class Edges(NamedTuple):
    """Edge features, [edges] with edges = nodes * max_neighbors.

    Attributes:
      displacement: [edges, 3] from receiver to the sender's image, Cartesian, Å.
      frac_displacement: [edges, 3] the same, fractional in the conventional cell.
      distance: [edges] Å.
      direction: [edges, 3] unit displacement; 0 on padding.
      sender_direction: [edges, 3] `direction` turned into the sender's own frame.
      reach: [edges] Å, where this edge's functions must vanish (the receiver's reach).
      op_index: [edges] the operation that makes the image.
      same_site: [edges] the neighbour is an image of the receiver itself.
      mask: [edges].
    """

    displacement: Float[Array, "edges 3"]
    frac_displacement: Float[Array, "edges 3"]
    distance: Float[Array, " edges"]
    direction: Float[Array, "edges 3"]
    sender_direction: Float[Array, "edges 3"]
    reach: Float[Array, " edges"]
    op_index: Int[Array, " edges"]
    same_site: Bool[Array, " edges"]
    mask: Bool[Array, " edges"]


class Globals(NamedTuple):
    """Of the whole graph.

    Attributes:
      status: `Status` flags of the search.
      num_images: distinct images found.
      num_cut: nodes where the cut at K acted.
      reduction: [3, 3] of the search, see `graph.neighbors.Neighbors`.
      free_sites: coinciding images of a site are one atom, so that it may fall on a special
        position; images of a constrained site must stay apart.
    """

    status: Int[Array, ""]
    num_images: Int[Array, ""]
    num_cut: Int[Array, ""]
    reduction: Float[Array, "3 3"]
    free_sites: Bool[Array, ""]


def build_multigraph(
    crystal: Crystal,
    config: GraphConfig,
    capacity: ImageCapacity,
    reduction: Float[Array, "3 3"] | None = None,
) -> jraph.GraphsTuple:
    """Builds the symmetric multigraph of one crystal, on the device.

    Args: see `graph.neighbors.find_neighbors`.

    Returns:
      GraphsTuple with `nodes: Nodes`, `edges: Edges`, `globals: Globals`, `senders` and
      `receivers` [nodes * max_neighbors]; edges of node i are rows i*K to (i+1)*K - 1.
    """
    found = find_neighbors(crystal, config, capacity, reduction)
    return _multigraph_of(found, crystal, config, capacity.merge)


def empty_multigraph(crystal: Crystal, config: GraphConfig) -> jraph.GraphsTuple:
    """Returns the multigraph of one crystal without its neighbours: its shapes, made in no time."""
    found = no_neighbors(crystal.node_mask.shape[0], config, crystal.frac_coords.dtype)
    return _multigraph_of(found, crystal, config, free_sites=True)


def _multigraph_of(
    found: Neighbors, crystal: Crystal, config: GraphConfig, free_sites: bool
) -> jraph.GraphsTuple:
    nodes = crystal.node_mask.shape[0]
    edges = nodes * config.max_neighbors
    receivers = jnp.repeat(jnp.arange(nodes), config.max_neighbors)
    senders = found.senders.reshape(edges)
    distance = found.distance.reshape(edges)
    displacement = found.displacement.reshape(edges, 3)
    direction = displacement * inverse_distance(distance)[:, None]
    op_index = found.op_index.reshape(edges)
    # One list of the operations of all groups: a look-up in two dimensions is one more operation.
    rotations = jnp.asarray(group_tables().cart_rotations.reshape(-1, 3, 3), direction.dtype)
    return jraph.GraphsTuple(
        nodes=Nodes(crystal.species, crystal.node_mask, found.reach, found.own_images),
        edges=Edges(
            displacement=displacement,
            frac_displacement=found.frac_displacement.reshape(edges, 3),
            distance=distance,
            direction=direction,
            sender_direction=times(direction, rotations[MAX_OPS * crystal.space_group + op_index]),
            reach=jnp.repeat(found.reach, config.max_neighbors),
            op_index=op_index,
            same_site=(senders == receivers) & found.mask.reshape(edges),
            mask=found.mask.reshape(edges),
        ),
        senders=senders,
        receivers=receivers,
        globals=Globals(
            found.status,
            found.num_images,
            found.cut.sum().astype(jnp.int32),
            found.reduction,
            free_sites=jnp.asarray(free_sites),
        ),
        n_node=jnp.array([nodes]),
        n_edge=jnp.array([edges]),
    )


def inverse_distance(distance: Float[Array, " edges"]) -> Float[Array, " edges"]:
    """Returns 1 over distances (Å), of which those on padding may be 0."""
    return 1.0 / jnp.maximum(distance, 1e-3)


def reverse_edges(graph: jraph.GraphsTuple) -> tuple[Int[Array, " edges"], Bool[Array, " edges"]]:
    """Finds for every edge j -> i the edge i -> j that runs the same way back.

    Returns:
      [edges] its row, and [edges] whether it is in the graph: it is not where the cut at
      K left it out, or where merged images stand in for one another.
    """
    edges = graph.edges
    nodes = graph.nodes.species.shape[0]
    degree = edges.mask.shape[0] // nodes
    wanted = -edges.sender_direction * edges.distance[:, None]
    at_sender = edges.displacement.reshape(nodes, degree, 3)[graph.senders]
    fits = (graph.senders.reshape(nodes, degree)[graph.senders] == graph.receivers[:, None]) & (
        edges.mask.reshape(nodes, degree)[graph.senders]
    )
    off = jnp.where(fits, ((at_sender - wanted[:, None]) ** 2).sum(-1), jnp.inf)
    slot = jnp.argmin(off, axis=1)
    return graph.senders * degree + slot, (off.min(1) < 1e-4) & edges.mask
