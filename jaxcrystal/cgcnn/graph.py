"""Builds the graph of CGCNN, the shells of neighbours around every atom, and batches of such graphs.

The published network (see `cgcnn.network`) reads, of every atom, the species and distances of
its 12 nearest neighbours within 8 Å. Two things are done differently, the first without
effect on the numbers of a graph:

- Atoms that no such network can tell apart (same species, same distances to atoms that in
  turn are the same) are one node that counts as often as there are such atoms, and their
  equal edges are one edge. A crystal of the Materials Project shrinks to about a fifth.
- Where the 12th neighbour lies in a shell of equal distances, the published code takes
  whichever atoms of it come first, so that the result depends on the order of the atoms.
  Here the whole shell is taken, with weights that sum up to 12 with those inside.

Graphs are made on the host, with numpy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float, Int

#: Å; distances that differ by less are one shell.
SHELL_TOLERANCE = 1e-3
#: Candidate pairs of one crystal; more are a cell that is collapsed, or far too large.
MAX_PAIRS = 5_000_000


@dataclass(frozen=True)
class CgcnnConfig:
    """Graph and sizes of the network.

    Attributes:
      cutoff: Å; no neighbour is farther than this.
      neighbors: the nearest so many are neighbours.
      gaussians: functions that a distance is expanded in, from 0 to the cutoff.
      width: of the node features.
      convolutions: gated convolutions.
      hidden: width of the layer before the last, whose activations are compared.
    """

    cutoff: float = 8.0
    neighbors: int = 12
    gaussians: int = 41
    width: int = 64
    convolutions: int = 3
    hidden: int = 128


class ShellGraph(NamedTuple):
    """One crystal, or a padded batch of them.

    Attributes:
      species: [nodes] atomic numbers, 0 = padding.
      share: [nodes] part of its crystal's atoms that the node stands for; 0 on padding.
      crystal: [nodes] which crystal of the batch.
      senders: [edges] the neighbour's node.
      receivers: [edges] the node whose neighbour it is.
      distance: [edges] Å.
      weight: [edges] neighbours that the edge stands for; 0 on padding.
    """

    species: Int[Array | np.ndarray, " nodes"]
    share: Float[Array | np.ndarray, " nodes"]
    crystal: Int[Array | np.ndarray, " nodes"]
    senders: Int[Array | np.ndarray, " edges"]
    receivers: Int[Array | np.ndarray, " edges"]
    distance: Float[Array | np.ndarray, " edges"]
    weight: Float[Array | np.ndarray, " edges"]


@dataclass(frozen=True)
class BatchSize:
    """What a padded batch has room for."""

    crystals: int = 128
    nodes: int = 640
    edges: int = 5120


def build_graph(
    lattice: Float[np.ndarray, "3 3"],
    species: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    config: CgcnnConfig = CgcnnConfig(),
    merge: bool = True,
) -> ShellGraph:
    """Returns the graph of one crystal.

    Args:
      lattice: [3, 3] any cell, rows are vectors, Å.
      species: [atoms] atomic numbers.
      frac_coords: [atoms, 3] any branch.
      config: cutoff and number of neighbours.
      merge: one node for atoms that are alike; False gives one for each atom.

    Raises:
      ValueError: no atoms, an unknown species, a number that is not finite, or a cell so
        flat (or so large) that the search is hopeless.
    """
    species = np.asarray(species, np.int64)
    lattice, frac_coords = np.asarray(lattice, np.float64), np.asarray(frac_coords, np.float64)
    if len(species) == 0 or species.min() < 1 or species.max() > 118:
        raise ValueError("a crystal needs atoms, of atomic numbers 1 to 118")
    if not (np.isfinite(lattice).all() and np.isfinite(frac_coords).all()):
        raise ValueError("a coordinate or lattice vector is not finite")
    if not abs(np.linalg.det(lattice)) > 1e-6:
        raise ValueError("the cell has no volume")
    receivers, senders, distance, reach = _neighbors(lattice, frac_coords, config)
    ordered = np.sort(distance)
    shell_starts = ordered[np.diff(ordered, prepend=-np.inf) > SHELL_TOLERANCE]
    shell = np.searchsorted(shell_starts, distance, side="right")
    last = np.searchsorted(shell_starts, reach, side="right")[receivers]
    receivers, senders, distance, shell, last = (
        array[shell <= last] for array in (receivers, senders, distance, shell, last)
    )
    atoms = len(species)
    inside = np.bincount(receivers, shell < last, atoms)
    members = np.bincount(receivers, shell == last, atoms)
    last_weight = (config.neighbors - inside) / np.maximum(members, 1)
    weight = np.where(shell == last, last_weight[receivers], 1.0)
    # Fewer neighbours than asked for within the cutoff: each counts once.
    weight = np.minimum(weight, 1.0)

    node_of = _alike(species, receivers, senders, shell) if merge else np.arange(atoms)
    _, first, multiplicity = np.unique(node_of, return_index=True, return_counts=True)
    chosen = first[node_of[receivers]] == receivers
    radius = np.bincount(shell, distance) / np.maximum(np.bincount(shell), 1)
    edges, edge = np.unique(
        np.stack([node_of[receivers], node_of[senders], shell])[:, chosen], axis=1, return_inverse=True
    )
    return ShellGraph(
        species=species[first].astype(np.int32),
        share=(multiplicity / atoms).astype(np.float32),
        crystal=np.zeros(len(first), np.int32),
        senders=edges[1].astype(np.int32),
        receivers=edges[0].astype(np.int32),
        distance=radius[edges[2]].astype(np.float32),
        weight=np.bincount(edge.ravel(), weight[chosen], edges.shape[1]).astype(np.float32),
    )


def _neighbors(
    lattice: np.ndarray, frac_coords: np.ndarray, config: CgcnnConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Finds the nearest atoms of every atom, and whatever lies in their last shell.

    Returns:
      receivers, senders and distance (Å) of the pairs, and reach [atoms]: the distance of
      the last neighbour that is asked for, the cutoff where there are fewer.
    """
    atoms, volume = len(frac_coords), abs(float(np.linalg.det(lattice)))
    slack = 10 * SHELL_TOLERANCE
    offset = frac_coords[None] - frac_coords[:, None]
    offset = (offset - np.round(offset)) @ lattice
    # Twice the neighbours at mean density: mostly enough, and a third of the cutoff's pairs.
    radius = min(config.cutoff, (6 * config.neighbors * volume / (4 * np.pi * atoms)) ** (1 / 3))
    while True:
        # |f + n| <= radius / height for each axis, with |f| <= 1/2.
        heights = volume / np.linalg.norm(np.cross(lattice[[1, 2, 0]], lattice[[2, 0, 1]]), axis=1)
        reach_of_axis = np.floor(np.minimum((radius + slack) / heights + 0.5, 1e6))
        span = 2 * reach_of_axis.astype(np.int64) + 1
        if atoms**2 * np.prod(span.astype(float)) > MAX_PAIRS:
            raise ValueError("the cell is too flat or has too many atoms for the neighbour search")
        images = (np.indices(span).reshape(3, -1).T - span // 2) @ lattice
        squared = np.zeros((atoms, atoms, len(images)))
        for axis in range(3):
            squared += (offset[:, :, None, axis] + images[:, axis]) ** 2
        squared[np.arange(atoms), np.arange(atoms), len(images) // 2] = np.inf  # the atom itself
        distance = np.sqrt(squared.reshape(atoms, -1))
        rank = min(config.neighbors, distance.shape[1]) - 1
        reach = np.partition(distance, rank, axis=1)[:, rank]
        if rank + 1 < config.neighbors:
            reach[:] = np.inf
        if radius >= config.cutoff or reach.max() <= radius:
            break
        radius = min(config.cutoff, 1.3 * radius)
    reach = np.minimum(reach, config.cutoff)
    receivers, column = np.nonzero(distance <= np.minimum(reach + slack, config.cutoff)[:, None])
    return receivers, column // len(images), distance[receivers, column], reach


def _alike(species: np.ndarray, receivers: np.ndarray, senders: np.ndarray, shell: np.ndarray) -> np.ndarray:
    """Numbers the classes of atoms that message passing cannot tell apart, [atoms].

    Colour refinement: atoms start with their species as colour, and keep one colour as
    long as they have equally many neighbours of each colour in each shell.
    """
    colour = np.unique(species, return_inverse=True)[1].ravel()
    while True:
        codes, code = np.unique(shell * len(species) + colour[senders], return_inverse=True)
        counts = np.bincount(receivers * len(codes) + code.ravel(), minlength=len(species) * len(codes))
        signature = np.column_stack([colour, counts.reshape(len(species), -1)])
        finer = np.unique(signature, axis=0, return_inverse=True)[1].ravel()
        if finer.max() == colour.max():
            return finer
        colour = finer


def batches(
    graphs: Sequence[ShellGraph], size: BatchSize = BatchSize()
) -> Iterator[tuple[slice, ShellGraph]]:
    """Packs graphs, in order, into batches of one size.

    A crystal too large for it comes alone, in a batch of twice the room (or four times, ...).

    Args:
      graphs: of `build_graph`.
      size: room of a batch.
    Yields:
      Which graphs are in the batch (its crystals 0, 1, ... are these), and the batch.
    """
    nodes = np.array([len(graph.species) for graph in graphs])
    edges = np.array([len(graph.senders) for graph in graphs])
    start = 0
    while start < len(graphs):
        inside = slice(start, start + size.crystals)
        fits = (np.cumsum(nodes[inside]) <= size.nodes) & (np.cumsum(edges[inside]) <= size.edges)
        stop, room = start + int(fits.sum()), size
        if stop == start:
            stop = start + 1
            while nodes[start] > room.nodes or edges[start] > room.edges:
                room = BatchSize(room.crystals, 2 * room.nodes, 2 * room.edges)
        yield slice(start, stop), _join(graphs[start:stop], room)
        start = stop


def _join(graphs: Sequence[ShellGraph], size: BatchSize) -> ShellGraph:
    nodes = np.array([len(graph.species) for graph in graphs])
    edges = np.array([len(graph.senders) for graph in graphs])
    first_node = np.repeat(np.cumsum(nodes) - nodes, edges)
    joined = [np.concatenate(arrays) for arrays in zip(*graphs, strict=True)]
    species, share, _, senders, receivers, distance, weight = joined
    of_nodes = (species, share, np.repeat(np.arange(len(graphs), dtype=np.int32), nodes))
    of_edges = (senders + first_node, receivers + first_node, distance, weight)
    # Padding has no weight, so that it may well hang on the last crystal and the last node.
    last = (0, 0, size.crystals - 1, size.nodes - 1, size.nodes - 1, 0, 0)
    room = [size.nodes] * 3 + [size.edges] * 4
    arrays = [
        np.pad(array, (0, length - len(array)), constant_values=value).astype(
            np.float32 if array.dtype.kind == "f" else np.int32
        )
        for array, length, value in zip((*of_nodes, *of_edges), room, last, strict=True)
    ]
    return ShellGraph(*arrays)
