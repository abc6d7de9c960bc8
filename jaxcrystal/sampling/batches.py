"""From orders to padded batches of fixed shapes.

The shape that a structure is computed in depends on the structure alone, never on what
else is drawn with it, so that at a fixed seed it comes out the same to the last bit.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcrystal.crystal import Crystal
from jaxcrystal.data.batches import bucket_of, empty_crystals, letter_tables
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.requests.candidates import Candidate, letter_indices
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_position, wyckoff_positions

#: Sizes of the list of images; few, since each is a compilation.
IMAGE_SLOTS = (24, 96, 192, 480, 960)


class Shape(NamedTuple):
    """What a structure is compiled for: sites it is padded to, and room for images."""

    max_nodes: int
    capacity: ImageCapacity


class Batch(NamedTuple):
    """Structures that are computed together; rows after the last candidate repeat the first.

    Attributes:
      shape: what is compiled.
      candidates: the structures, fewer than rows where the batch is padded.
      hashes: [batch] of the orders.
      numbers: [batch] of the structures in their orders.
      templates: [batch] of `make_templates`.
    """

    shape: Shape
    candidates: tuple[Candidate, ...]
    hashes: np.ndarray
    numbers: np.ndarray
    templates: Crystal


def shape_of(candidate: Candidate) -> Shape:
    """Returns the shape that a structure is computed in."""
    order = candidate.order
    if candidate.letters is None:
        images = order.num_sites * int(group_tables().num_ops[order.space_group])
    else:
        positions = [wyckoff_position(order.space_group, letter) for letter in candidate.letters]
        images = sum(int(position.site_ops.sum()) for position in positions)
    slots = next(size for size in IMAGE_SLOTS if size >= images)
    return Shape(bucket_of(order.num_sites), ImageCapacity(slots, merge=candidate.letters is None))


def by_shape(candidates: Iterable[Candidate]) -> dict[Shape, list[Candidate]]:
    """Returns the structures of each shape, small shapes first."""
    members: dict[Shape, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        members[shape_of(candidate)].append(candidate)
    order = sorted(members, key=lambda s: (s.max_nodes, s.capacity.max_images, s.capacity.merge))
    return {shape: members[shape] for shape in order}


def make_batch(shape: Shape, candidates: Sequence[Candidate], rows: int) -> Batch:
    """Returns structures of one shape, at most `rows` of them, as a batch of that many rows."""
    chosen = tuple(candidates)
    padded = chosen + chosen[:1] * (rows - len(chosen))
    return Batch(
        shape,
        chosen,
        np.array([candidate.order.hash for candidate in padded], np.uint32),
        np.array([candidate.number for candidate in padded], np.uint32),
        make_templates(padded, shape.max_nodes),
    )


def make_templates(candidates: Sequence[Candidate], max_nodes: int) -> Crystal:
    """Returns the crystals [batch] that sampling starts from.

    Coordinates are the origin of each site's subspace, the lattice is left at 0.
    """
    crystals: Any = empty_crystals(len(candidates), max_nodes)
    for row, (_, order, _, letters) in enumerate(candidates):
        sites, group = order.num_sites, order.space_group
        crystals.species[row, :sites] = order.species
        crystals.node_mask[row, :sites] = True
        crystals.space_group[row] = group
        if letters is None:
            crystals.site_ops[row, :sites, : group_tables().num_ops[group]] = True
            crystals.site_projection[row, :sites] = np.eye(3)
            continue
        index = letter_indices(group, letters)
        site_ops, projection = letter_tables(group)
        crystals.frac_coords[row, :sites] = [wyckoff_positions(group)[i].origin for i in index]
        crystals.site_ops[row, :sites] = site_ops[index]
        crystals.site_projection[row, :sites] = projection[index]
    return Crystal(*crystals)
