"""Finds the nearest atom images of every site, on the device.

The search is exact and has two stages. First, for every site i and every distinct
image p = (site j, operation g), the shortest distance over the 27 nearest translations
of the reduced primitive cell: the nearest `max_neighbors + 1` images by that distance
contain every atom that can be among the nearest `max_neighbors + 1`. Second, only
those images are repeated by the shortest lattice vectors and ranked.

Capacity is fixed by the caller. What it could not hold is flagged, never dropped in
silence; the cut at `max_neighbors` is no overflow but part of the graph's definition:
see `Neighbors.reach`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from jaxcrystal.config import Checked
from jaxcrystal.crystal import MAX_OPS, Crystal, image_bucket_of
from jaxcrystal.errors import Status, flag_if
from jaxcrystal.graph.images import (
    FAR,
    ReducedCell,
    grid_points,
    nearest_images,
    reduced_cell,
    squared_distances,
)
from jaxcrystal.limits import Within
from jaxcrystal.symmetry.group_row import GroupRow, group_row
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.vectors import cofactors, dot, times, turn

#: Å; a site's own image nearer than this is the site itself.
SELF_DISTANCE = 1e-2


@dataclass(frozen=True)
class GraphConfig(Checked):
    """Which atoms are neighbours.

    Attributes:
      cutoff: Å; no neighbour is farther than this. Sampling starts from cells of about
        7 Å: with less, small cells start without neighbours and so without a score.
      max_neighbors: the nearest so many are kept, K.
      merge_distance: Å; images of one free site nearer than this are one atom.
      lattice_vectors: lattice vectors tried in the second stage.
      grid: they are the shortest of the (2 grid + 1)³ combinations of the reduced
        primitive vectors.
    """

    cutoff: Annotated[float, Within(0, 1000, above=True)] = 9.0
    max_neighbors: Annotated[int, Within(1, 10_000)] = 24
    merge_distance: Annotated[float, Within(0, 10)] = 0.3
    lattice_vectors: Annotated[int, Within(1, 10**6)] = 80
    grid: Annotated[int, Within(1, 20)] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 27 <= self.lattice_vectors < (2 * self.grid + 1) ** 3:
            raise ValueError(
                f"lattice_vectors is {self.lattice_vectors}; with grid={self.grid} it must be "
                f"from 27 to {(2 * self.grid + 1) ** 3 - 1}"
            )


@dataclass(frozen=True)
class ImageCapacity:
    """Static size of the list of distinct images.

    Attributes:
      max_images: slots for (site, operation) pairs.
      merge: whether coinciding images of a site are merged (free sites); constrained
        sites list each atom once already.
    """

    max_images: int
    merge: bool

    @classmethod
    def free(cls, max_nodes: int) -> "ImageCapacity":
        """Room for every operation of every site, of any group."""
        return cls(max_nodes * MAX_OPS, merge=True)

    @classmethod
    def fitting(cls, crystals: Crystal, constrained: bool) -> "ImageCapacity":
        """Room for every structure of a batch (of arrays on the host), free or constrained sites."""
        if not constrained:
            return cls.free(crystals.species.shape[-1])
        return cls(image_bucket_of(int(crystals.site_ops.sum((-2, -1)).max(initial=1))), merge=False)


class Neighbors(NamedTuple):
    """The K nearest atom images of every site, nearest first.

    Attributes:
      senders: [max_nodes, K] the site whose image the neighbour is.
      op_index: [max_nodes, K] the operation that makes it.
      displacement: [max_nodes, K, 3] from the site to the image, Cartesian, Å.
      frac_displacement: [max_nodes, K, 3] the same, fractional in the conventional cell.
      distance: [max_nodes, K] Å; `cutoff` on empty slots.
      mask: [max_nodes, K] slots that hold a neighbour.
      reach: [max_nodes] Å: the cutoff, or the distance of neighbour K + 1 if that is
        nearer. Every atom within it is listed, so that a network whose edge functions
        vanish there does not depend on how a shell of equal distances was cut.
      cut: [max_nodes] True where the cut at K acted.
      own_images: [max_nodes, MAX_OPS, 3] from the site to the nearest of its images by each
        operation (whether distinct or not), Cartesian, Å.
      reduction: [3, 3] of `graph.reduction.minkowski_coefficients`, with which the search of nearly
        the same cell may start.
      status: [] `Status` flags.
      num_images: [] distinct images found; more than `max_images` is an overflow.
    """

    senders: Int[Array, "nodes K"]
    op_index: Int[Array, "nodes K"]
    displacement: Float[Array, "nodes K 3"]
    frac_displacement: Float[Array, "nodes K 3"]
    distance: Float[Array, "nodes K"]
    mask: Bool[Array, "nodes K"]
    reach: Float[Array, " nodes"]
    cut: Bool[Array, " nodes"]
    own_images: Float[Array, "nodes ops 3"]
    reduction: Float[Array, "3 3"]
    status: Int[Array, ""]
    num_images: Int[Array, ""]


def no_neighbors(nodes: int, config: GraphConfig, dtype: DTypeLike) -> Neighbors:
    """Returns arrays of the shapes that `find_neighbors` gives, with nothing in their slots."""
    slots = (nodes, config.max_neighbors)
    return Neighbors(
        senders=jnp.zeros(slots, jnp.int32),
        op_index=jnp.zeros(slots, jnp.int32),
        displacement=jnp.zeros((*slots, 3), dtype),
        frac_displacement=jnp.zeros((*slots, 3), dtype),
        distance=jnp.full(slots, config.cutoff, dtype),
        mask=jnp.zeros(slots, bool),
        reach=jnp.full(nodes, config.cutoff, dtype),
        cut=jnp.zeros(nodes, bool),
        own_images=jnp.zeros((nodes, MAX_OPS, 3), dtype),
        reduction=jnp.eye(3, dtype=dtype),
        status=jnp.zeros((), jnp.int32),
        num_images=jnp.zeros((), jnp.int32),
    )


def find_neighbors(
    crystal: Crystal,
    config: GraphConfig,
    capacity: ImageCapacity,
    reduction: Float[Array, "3 3"] | None = None,
) -> Neighbors:
    """Finds the nearest atom images of every site of one crystal.

    Args:
      crystal: one padded crystal, any branch of the coordinates.
      config: cutoff and K.
      capacity: room for images; `IMAGES` is flagged when it is too small.
      reduction: `Neighbors.reduction` of nearly the same cell; changes the time it takes only.
    Returns:
      Neighbors; a lattice too flat or too small for `config.grid` and
      `config.lattice_vectors` flags `LATTICE_VECTORS`.
    """
    row = group_row(crystal.space_group, crystal.frac_coords.dtype)
    lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
    cell = reduced_cell(lattice, row.primitive, reduction)
    lattice_vectors, covered_squared = _lattice_vectors(cell, config)
    listed = _listed_images(crystal, row, cell, config, capacity)
    images = listed.images

    # Stage 1: the shortest displacement to every image, [nodes, images].
    nodes = crystal.node_mask.shape[0]
    own = _is_own(images, nodes)
    self_distance = config.merge_distance if capacity.merge else SELF_DISTANCE
    reduced, squared = nearest_images(
        listed.coords - crystal.frac_coords[:, None], cell, jnp.where(own, self_distance**2, -1.0)
    )
    squared = jnp.where(listed.mask[None, :] & crystal.node_mask[:, None], squared, FAR)
    num_pairs = min(config.max_neighbors + 1, images.size)
    if num_pairs < images.size:
        negative, pairs = jax.lax.top_k(-squared, num_pairs)
        squared = -negative
        reduced = jnp.take_along_axis(reduced, pairs[..., None], axis=1)
        images = pairs if listed.too_many is None else images[pairs]
        own = _is_own(images, nodes)
    else:
        images = jnp.broadcast_to(images, squared.shape)

    # Stage 2: those images at every lattice vector, [nodes, pairs, M]; keep K + 1.
    displacement = times(reduced, cell.basis)
    all_squared = squared_distances(displacement, times(lattice_vectors, cell.basis))
    is_self = own[..., None] & (all_squared < self_distance**2)
    all_squared = jnp.where((squared[..., None] < 0.5 * FAR) & ~is_self, all_squared, FAR)
    wanted = min(config.max_neighbors + 1, num_pairs * config.lattice_vectors)
    negative, chosen = jax.lax.top_k(-all_squared.reshape(nodes, -1), wanted)
    found = -negative < 0.5 * FAR
    pair, vector = _quotient_and_rest(chosen, config.lattice_vectors)
    reduced = jnp.take_along_axis(reduced, pair[..., None], axis=1) + lattice_vectors[vector]
    kept_displacement = times(reduced, cell.basis)
    distance = jnp.sqrt(jnp.maximum(dot(kept_displacement, kept_displacement), 1e-12))
    distance = jnp.where(found, distance, config.cutoff)

    last = jnp.where(found[:, -1] & (wanted > config.max_neighbors), distance[:, -1], config.cutoff)
    reach = jnp.minimum(last, config.cutoff)
    # An image at distance r needs lattice vectors up to r + |its shortest displacement|.
    needed = reach[:, None] + jnp.sqrt(dot(displacement, displacement))
    matters = (squared < reach[:, None] ** 2) & (squared < 0.5 * FAR)
    status = flag_if(jnp.any(matters & (needed**2 > covered_squared)), Status.LATTICE_VECTORS)
    if listed.too_many is not None:
        status = status | flag_if(listed.too_many, Status.IMAGES)

    def first_k(array: Array) -> Array:
        array = array[:, : config.max_neighbors]
        missing = config.max_neighbors - array.shape[1]
        return jnp.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2))

    mask = first_k(found & (distance < config.cutoff))
    neighbors = jnp.where(mask, first_k(jnp.take_along_axis(images, pair, axis=1)), 0)
    senders, op_index = _quotient_and_rest(neighbors, MAX_OPS)
    return Neighbors(
        senders=senders,
        op_index=op_index,
        displacement=jnp.where(mask[..., None], first_k(kept_displacement), 0.0),
        frac_displacement=jnp.where(mask[..., None], first_k(times(reduced, cell.frac_basis)), 0.0),
        distance=jnp.where(mask, first_k(distance), config.cutoff),
        mask=mask,
        reach=reach,
        cut=(last < config.cutoff) & crystal.node_mask,
        own_images=listed.own,
        reduction=cell.coefficients,
        status=status,
        num_images=listed.distinct.sum().astype(jnp.int32),
    )


class _Listed(NamedTuple):
    """The distinct images of all sites.

    Attributes:
      images: [images] which: site * MAX_OPS + operation.
      coords: [images, 3] fractional.
      mask: [images] slots that hold an image.
      own: see `Neighbors.own_images`.
      distinct: [max_nodes, MAX_OPS] operations that make a distinct image of a site.
      too_many: [] whether there are more than there is room for; None where there is room for every one.
    """

    images: Array | np.ndarray
    coords: Float[Array, "images 3"]
    mask: Bool[Array, " images"]
    own: Float[Array, "nodes ops 3"]
    distinct: Bool[Array, "nodes ops"]
    too_many: Bool[Array, ""] | None


def _listed_images(
    crystal: Crystal, row: GroupRow, cell: ReducedCell, config: GraphConfig, capacity: ImageCapacity
) -> _Listed:
    """Returns the distinct images of all sites, as many as there is room for."""
    coords = turn(row.rotations, crystal.frac_coords[:, None]) + row.translations
    own_reduced, _ = nearest_images(coords - crystal.frac_coords[:, None], cell)
    own = times(own_reduced, cell.basis)
    distinct = crystal.site_ops & crystal.node_mask[:, None]
    if capacity.merge:
        coincides = dot(own, own) < config.merge_distance**2
        distinct = distinct & ~_repeated_images(crystal, coincides)

    coords, mask, images = coords.reshape(-1, 3), distinct.reshape(-1), np.arange(distinct.size)
    if capacity.max_images >= distinct.size:
        return _Listed(images, coords, mask, own, distinct, None)
    # One more than there is room for: it is an image only if there are too many.
    order, chosen = jax.lax.top_k(jnp.where(mask, distinct.size - images, 0), capacity.max_images + 1)
    too_many, chosen = order[-1] > 0, chosen[:-1]
    return _Listed(chosen, coords[chosen], order[:-1] > 0, own, distinct, too_many)


def _lattice_vectors(cell: ReducedCell, config: GraphConfig) -> tuple[Array, Array]:
    """Returns the shortest lattice vectors [M, 3], in reduced coordinates, and how far they reach, squared.

    Every lattice vector shorter than the reach is among them (Å²).
    """
    grid = jnp.asarray(grid_points(config.grid), cell.basis.dtype)
    cartesian = times(grid, cell.basis)
    negative, shortest = jax.lax.top_k(-dot(cartesian, cartesian), config.lattice_vectors + 1)
    # |coefficient n| of a vector of length L is at most L / height n, so that every
    # vector shorter than (grid + 1) times the least height lies in the grid.
    faces = cofactors(cell.basis)
    height_squared = dot(cell.basis[0], faces[0]) ** 2 / dot(faces, faces).max()
    return grid[shortest[:-1]], jnp.minimum(-negative[-1], (config.grid + 1) ** 2 * height_squared)


def _is_own(images: Array | np.ndarray, nodes: int) -> Array | np.ndarray:
    """[nodes, images] whether an image is one of the node itself."""
    first = MAX_OPS * np.arange(nodes)[:, None]
    return (images >= first) & (images < first + MAX_OPS)


def _quotient_and_rest(numbers: Array, divisor: int) -> tuple[Array, Array]:
    """Divides integers that are not negative, once: `//` and `%` divide twice, and mind the signs."""
    quotient = jax.lax.div(numbers, jnp.full_like(numbers, divisor))
    return quotient, numbers - divisor * quotient


def _repeated_images(crystal: Crystal, coincides: Array) -> Array:
    """[nodes, ops] True for images that coincide with an image by an earlier operation.

    Operations are isometries, so g'x and gx are as far apart as x and g'⁻¹g x: `coincides`
    [nodes, ops], of each image with the site itself, is enough.
    """
    relative = jnp.asarray(_relative_ops())[crystal.space_group]
    near = coincides[:, relative]  # [nodes, g', g]
    earlier = jnp.asarray(np.triu(np.ones((MAX_OPS, MAX_OPS), bool), 1))
    return (near & earlier & crystal.site_ops[:, :, None]).any(axis=1)


@lru_cache(maxsize=1)
def _relative_ops() -> np.ndarray:
    """[231, 48, 48] the operation g'⁻¹ g for (g', g)."""
    tables = group_tables()
    rows = np.arange(231)[:, None]
    return tables.product[rows, tables.inverse]
