"""Finishes sampled crystals on the device: special positions, letters, distances, volume, flags.

What `structures.finished` does in float64 for one crystal on the host, here in float32 for thousands:
a free site is moved onto the special position that its nearest images surround, and named.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.graph.images import ReducedCell, grid_points, reduced_cell
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.structures.checks import MIN_DISTANCE, MIN_VOLUME_PER_ATOM
from jaxcrystal.structures.crystal_arrays import CrystalArrays
from jaxcrystal.structures.finish_tables import FinishTables
from jaxcrystal.structures.positions import on_letter, on_special_position, sum_of_three
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.vectors import determinant, dot, inverse, times, turn


def finish(
    tables: FinishTables,
    crystal: Crystal,
    letters: Int[Array, " nodes"],
    status: Int[Array, ""],
    scores: Float[Array, "2"],
    capacity: ImageCapacity,
    merge_distance: float,
) -> CrystalArrays:
    """Finishes one crystal; rows of the result have no leading axis.

    Args:
      tables: of `finish_tables`.
      crystal: the sampler's state, with the template's operations and projections.
      letters: [nodes] of the sites of a constrained crystal; those of free sites are not looked at.
      status: [] of the sampler.
      scores: [2] of the sampler.
      capacity: which sites are free, and static room for the images of finished sites.
      merge_distance: Å; images of a free site nearer than this, or than two atoms can be in a valid
        crystal, are one atom.
    """
    group = crystal.space_group
    lattice = lattice_matrix(crystal.lattice_params, group)
    cell = reduced_cell(lattice, tables.primitive[group])
    if capacity.merge:
        nearest = max(merge_distance, MIN_DISTANCE)
        to_frac = inverse(lattice)

        def one(site: Array) -> tuple[Array, Array]:
            moved, subgroup = on_special_position(tables, site, group, cell, to_frac, nearest)
            return on_letter(tables, moved, subgroup, group)

        coords, letters = jax.vmap(one)(crystal.frac_coords)
    else:
        origin = tables.origin[group, letters]
        coords = origin + turn(crystal.site_projection, crystal.frac_coords - origin)
    mask = crystal.node_mask
    site_ops = tables.site_ops[group, letters] & mask[:, None]
    between, own = _distances(tables, coords, site_ops, mask, group, cell, capacity.max_images)
    num_atoms = site_ops.sum() * tables.num_centring[group]
    volume = jnp.abs(determinant(lattice))
    volume_per_atom = volume / jnp.maximum(num_atoms, 1)
    return CrystalArrays(
        species=crystal.species,
        frac_coords=jnp.where(mask[:, None], coords, 0.0),
        letters=jnp.where(mask, letters, -1),
        site_ops=site_ops,
        lattice_params=crystal.lattice_params,
        space_group=group,
        num_atoms=num_atoms,
        volume_per_atom=volume_per_atom,
        shortest_distance=jnp.minimum(between, own),
        status=status,
        valid=(status == 0) & (between >= MIN_DISTANCE) & (volume_per_atom >= MIN_VOLUME_PER_ATOM),
        scores=scores,
    )


def _distances(
    tables: FinishTables,
    coords: Array,
    site_ops: Bool[Array, "nodes ops"],
    mask: Array,
    group: Array,
    cell: ReducedCell,
    max_images: int,
) -> tuple[Array, Array]:
    """Returns the least distance between different atoms, and between an atom and its translations, Å."""
    flat = jnp.nonzero(site_ops.reshape(-1), size=max_images, fill_value=0)[0]
    real = jnp.arange(max_images) < site_ops.sum()
    image_site, image_op = flat // MAX_OPS, flat % MAX_OPS
    rotations, translations = tables.rotations[group], tables.translations[group]
    images = (turn(rotations[image_op], coords[image_site]) + translations[image_op]).T
    # By component, [nodes, images] each; see `positions`.
    moves = [images[a] - coords[:, a, None] for a in range(3)]
    reduced = [sum_of_three(cell.to_reduced[:, a], moves) for a in range(3)]
    reduced = [coordinate - jnp.round(coordinate) for coordinate in reduced]
    cart = [sum_of_three(cell.basis[:, a], reduced) for a in range(3)]
    squared = jnp.full(cart[0].shape, jnp.inf, coords.dtype)
    for offset in times(jnp.asarray(grid_points(1), coords.dtype), cell.basis):
        x, y, z = (component + offset[a] for a, component in enumerate(cart))
        squared = jnp.minimum(squared, x * x + y * y + z * z)
    same = (image_site == jnp.arange(len(coords))[:, None]) & (image_op == 0)
    squared = jnp.where(real & mask[:, None] & ~same, squared, jnp.inf)
    own = dot(cell.basis[0], cell.basis[0])
    return jnp.sqrt(squared.min()), jnp.sqrt(own)


def finish_batch(capacity: ImageCapacity, merge_distance: float) -> Any:
    """Returns `finish` of a batch, to be compiled: (tables, crystals, letters, status, scores)."""

    def run(tables: FinishTables, *batch: Any) -> CrystalArrays:
        def one(crystal: Crystal, letters: Array, status: Array, scores: Array) -> CrystalArrays:
            return finish(tables, crystal, letters, status, scores, capacity, merge_distance)

        return jax.vmap(one)(*batch)

    return run
