"""Turns orders into padded batches of fixed shapes.

The shape that a structure is computed in depends on the structure alone, never on what
else is drawn with it, so that at a fixed seed it comes out the same to the last bit.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcrystal.crystal import Crystal, bucket_of, image_bucket_of, pad_and_stack
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.requests.orders import Order
from jaxcrystal.symmetry.crystals import letter_indices
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_position

Letters = tuple[str, ...] | None
#: Candidates of a run that are looked at together: what is held, and drawn before the first batch.
WINDOW = 2**15


class Shape(NamedTuple):
    """What a structure is compiled for: sites it is padded to, and room for images."""

    max_nodes: int
    capacity: ImageCapacity


class Batch(NamedTuple):
    """Structures that are computed together; rows after the last candidate repeat the first.

    Attributes:
      shape: what is compiled.
      candidates: the structures, fewer than rows where the batch is padded.
      crystals: their templates, in float64 and without padding, of which the results are finished.
      hashes: [batch] of the orders.
      numbers: [batch] of the structures in their orders.
      templates: [batch] padded, as the program takes them.
      letters: [batch, max_nodes] index of each site's Wyckoff position; 0 for free and padded sites.
      cond: name -> [batch] conditions; None: none.
    """

    shape: Shape
    candidates: tuple[Candidate, ...]
    crystals: tuple[Crystal, ...]
    hashes: np.ndarray
    numbers: np.ndarray
    templates: Crystal
    letters: np.ndarray
    cond: dict[str, np.ndarray] | None


def shape_of(candidate: Candidate) -> Shape:
    """Returns the shape that a structure is computed in."""
    order = candidate.order
    if candidate.letters is None:
        images = order.num_sites * int(group_tables().num_ops[order.space_group])
    else:
        positions = [wyckoff_position(order.space_group, letter) for letter in candidate.letters]
        images = sum(int(position.site_ops.sum()) for position in positions)
    capacity = ImageCapacity(image_bucket_of(images), merge=candidate.letters is None)
    return Shape(bucket_of(order.num_sites), capacity)


def by_shape(candidates: Iterable[Candidate]) -> dict[Shape, list[Candidate]]:
    """Returns the structures of each shape, small shapes first."""
    members: dict[Shape, list[Candidate]] = defaultdict(list)
    shapes: dict[tuple[Order, Letters], Shape] = {}
    for candidate in candidates:
        # Found once for each assignment of letters: a run of millions has few of them.
        kind = candidate.order, candidate.letters
        if kind not in shapes:
            shapes[kind] = shape_of(candidate)
        members[shapes[kind]].append(candidate)
    order = sorted(members, key=lambda s: (s.max_nodes, s.capacity.max_images, s.capacity.merge))
    return {shape: members[shape] for shape in order}


def make_batch(shape: Shape, candidates: Sequence[Candidate], rows: int) -> Batch:
    """Returns structures of one shape, at most `rows` of them, as a batch of that many rows."""
    chosen = tuple(candidates)
    padded = chosen + chosen[:1] * (rows - len(chosen))
    # Thousands of structures are of a few orders, on the letters that are likely.
    kinds: dict[Any, int] = {}
    which = [kinds.setdefault((candidate.order, candidate.letters), len(kinds)) for candidate in padded]
    first = [padded[which.index(kind)] for kind in range(len(kinds))]
    crystals = [candidate.template() for candidate in first]
    stacked = pad_and_stack(crystals, shape.max_nodes)
    letters = np.zeros((len(kinds), shape.max_nodes), np.int32)
    for row, candidate in enumerate(first):
        if candidate.letters is not None:
            indices = letter_indices(candidate.order.space_group, candidate.letters)
            letters[row, : len(indices)] = indices
    return Batch(
        shape,
        chosen,
        tuple(crystals[kind] for kind in which[: len(chosen)]),
        np.array([candidate.order.hash for candidate in padded], np.uint32),
        np.array([candidate.number for candidate in padded], np.uint32),
        Crystal(*(column[which] for column in stacked)),
        letters[which],
        {
            name: np.array([dict(candidate.cond)[name] for candidate in padded], np.float32)
            for name, _ in chosen[0].cond
        }
        or None,
    )
