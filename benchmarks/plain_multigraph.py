"""A multigraph built on the host, one atom after the other, as codes for crystal graphs usually do it.

The baseline of the throughput notebook: NumPy loops over the inequivalent sites, the operations of the
group and the lattice vectors around the cell, in float64. It finds the same edges as
`jaxcrystal.graph.neighbors` for constrained sites.
"""

from typing import NamedTuple

import numpy as np

from jaxcrystal.crystal import Crystal
from jaxcrystal.symmetry.lattice import host_lattice
from jaxcrystal.symmetry.wyckoff import group_operations

#: Å; a site's own image nearer than this is the site itself.
_SELF = 1e-2


class PlainEdges(NamedTuple):
    """Edges of one crystal, those of one site together and nearest first.

    Attributes:
      senders: [edges] site whose image the neighbour is.
      receivers: [edges] the site that has it.
      distance: [edges] Å.
    """

    senders: np.ndarray
    receivers: np.ndarray
    distance: np.ndarray


def plain_multigraph(crystal: Crystal, cutoff: float, max_neighbors: int) -> PlainEdges:
    """Returns the nearest images of every site, at most `max_neighbors` nearer than `cutoff` (Å)."""
    group = int(crystal.space_group)
    lattice = host_lattice(np.asarray(crystal.lattice_params), group)
    rotations, translations, primitive = group_operations(group)
    vectors = primitive @ lattice
    # Lattice vectors that can bring an image of the cell around a site within the cutoff.
    heights = 1.0 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
    extent = np.ceil(cutoff / heights).astype(int) + 1
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in extent), indexing="ij"), -1).reshape(-1, 3)
    shifts = grid @ vectors
    to_primitive = np.linalg.inv(vectors)
    coords = np.asarray(crystal.frac_coords, float)
    columns: list[list[np.ndarray]] = [[], [], []]
    for receiver in np.flatnonzero(crystal.node_mask):
        found_distance, found_sender = [], []
        for sender in np.flatnonzero(crystal.node_mask):
            for op in np.flatnonzero(crystal.site_ops[sender]):
                offset = (rotations[op] @ coords[sender] + translations[op] - coords[receiver]) @ lattice
                reduced = offset @ to_primitive
                offset = (reduced - np.round(reduced)) @ vectors
                distance = np.linalg.norm(offset + shifts, axis=1)
                near = distance < cutoff
                if sender == receiver:
                    near &= distance > _SELF
                found_distance.append(distance[near])
                found_sender.append(np.full(near.sum(), sender))
        distance, senders = np.concatenate(found_distance), np.concatenate(found_sender)
        order = np.argsort(distance, kind="stable")[:max_neighbors]
        for column, values in zip(columns, (senders, np.full(len(senders), receiver), distance), strict=True):
            column.append(values[order])
    return PlainEdges(*(np.concatenate(column) for column in columns))
