"""Finishes sampled crystals on the device: special positions, letters, distances, volume, flags.

What `structures.finished` does in float64 for one crystal on the host, here in float32 for thousands:
a free site is moved onto the special position that its nearest images surround, and named.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.graph.images import FAR, ReducedCell, nearest_images, reduced_cell
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.structures.checks import MIN_DISTANCE, MIN_VOLUME
from jaxcrystal.structures.crystal_arrays import CrystalArrays
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.letter_tables import MAX_LETTERS, letter_tables
from jaxcrystal.symmetry.subgroups import subgroup_tables
from jaxcrystal.vectors import determinant, dot, inverse, times, turn

#: Å; operations whose images of a point agree to this have it as a fixed point. Others miss it by a
#: 48th of a lattice vector at least.
_FIXED = 2e-3
#: Of the reduced coordinates of a site across a position: to so much it lies on it.
_ON_POSITION = 1e-3


class FinishTables(NamedTuple):
    """What finishing looks up of a group; arguments of the program, since they are a few MB.

    Attributes:
      rotations, translations, cart_rotations, primitive, num_ops, num_centring: of
        `symmetry.groups.GroupTables`.
      kind, members, join, generators: of `symmetry.subgroups.SubgroupTables`.
      multiplicity, origin, normal, step, basis, coordinate, site_ops, projection: of
        `symmetry.letter_tables.LetterTables`.
    """

    rotations: Array
    translations: Array
    cart_rotations: Array
    primitive: Array
    num_ops: Array
    num_centring: Array
    kind: Array
    members: Array
    join: Array
    generators: Array
    multiplicity: Array
    origin: Array
    normal: Array
    step: Array
    basis: Array
    coordinate: Array
    site_ops: Array
    projection: Array


@lru_cache(maxsize=1)
def finish_tables() -> FinishTables:
    """Returns the tables on the device, in float32."""
    sources = (group_tables(), subgroup_tables(), letter_tables())
    arrays = {}
    for name in FinishTables._fields:
        table = next(getattr(source, name) for source in sources if hasattr(source, name))
        arrays[name] = jnp.asarray(table, jnp.float32) if table.dtype.kind == "f" else jnp.asarray(table)
    return FinishTables(**arrays)


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
            moved, subgroup = _on_special_position(tables, site, group, cell, to_frac, nearest)
            return _on_letter(tables, moved, subgroup, group)

        coords, letters = jax.vmap(one)(crystal.frac_coords)
    else:
        origin = tables.origin[group, letters]
        coords = origin + turn(crystal.site_projection, crystal.frac_coords - origin)
    mask = crystal.node_mask
    site_ops = tables.site_ops[group, letters] & mask[:, None]
    between, own = _distances(tables, coords, site_ops, mask, group, cell, capacity.max_images)
    num_atoms = site_ops.sum() * tables.num_centring[group]
    volume = jnp.abs(determinant(lattice))
    return CrystalArrays(
        species=crystal.species,
        frac_coords=jnp.where(mask[:, None], coords, 0.0),
        letters=jnp.where(mask, letters, -1),
        site_ops=site_ops,
        lattice_params=crystal.lattice_params,
        space_group=group,
        num_atoms=num_atoms,
        volume_per_atom=volume / jnp.maximum(num_atoms, 1),
        shortest_distance=jnp.minimum(between, own),
        status=status,
        valid=(status == 0) & (between >= MIN_DISTANCE) & (volume >= MIN_VOLUME),
        scores=scores,
    )


def _on_special_position(
    tables: FinishTables, site: Array, group: Array, cell: ReducedCell, to_frac: Array, nearest: float
) -> tuple[Array, Array]:
    """Moves a site [3] onto the special position that its coinciding images surround.

    Repeated until no further image falls within `nearest` (Å) of the moved site.

    Returns:
      The site, and the subgroup that holds it, a row of `tables.members` of the group's kind.
    """

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, _, size, before = state
        return size > before

    def move(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        site, subgroup, size, _ = state
        found, displacement = _holding_subgroup(tables, site, group, cell, nearest)
        found_size = tables.members[tables.kind[group], found].sum()
        larger = found_size > size
        moved = jnp.where(larger, site + times(displacement, to_frac), site)
        return moved, jnp.where(larger, found, subgroup), jnp.maximum(found_size, size), size

    first = site, jnp.int32(0), jnp.int32(1), jnp.int32(0)
    return jax.lax.while_loop(unfinished, move, first)[:2]


def _holding_subgroup(
    tables: FinishTables, site: Array, group: Array, cell: ReducedCell, nearest: float
) -> tuple[Array, Array]:
    """Finds the largest group, grown from the nearest images on, whose images of a site are all near.

    Returns:
      The subgroup, and the displacement [3] (Cartesian, Å) from the site to its fixed point, the mean
      of its images.
    """
    kind = tables.kind[group]
    is_op = jnp.arange(MAX_OPS) < tables.num_ops[group]
    images = turn(tables.rotations[group], site) + tables.translations[group]
    reduced, squared = nearest_images(images - site, cell)
    images = times(reduced, cell.basis)
    squared = jnp.where(is_op, squared, FAR)
    # Any subgroup moves the site to the mean of its images: is that a point which it holds?
    members = tables.members[kind].astype(images.dtype)
    sums = jnp.matmul(members, images, precision=jax.lax.Precision.HIGHEST)
    means = sums / members.sum(1, keepdims=True)
    generators = tables.generators[kind]
    turned = turn(tables.cart_rotations[group][generators], means[:, None])
    misses = images[generators] + turned - means[:, None]
    holds = (dot(misses, misses) < _FIXED**2).all(1)

    order = jnp.argsort(squared)
    count = (squared < nearest**2).sum()

    def add(state: tuple[Array, Array]) -> tuple[Array, Array]:
        number, subgroup = state
        joined = tables.join[kind, subgroup, order[number]].astype(jnp.int32)
        return number + 1, jnp.where(holds[joined], joined, subgroup)

    start = jnp.int32(0), jnp.int32(0)
    subgroup = jax.lax.while_loop(lambda state: state[0] < count, add, start)[1]
    return subgroup, means[subgroup]


def _on_letter(tables: FinishTables, site: Array, subgroup: Array, group: Array) -> tuple[Array, Array]:
    """Brings a site onto the representative of its Wyckoff position.

    Returns:
      The site [3], and the index of its letter.
    """
    order = tables.members[tables.kind[group], subgroup].sum()
    multiplicity = tables.num_ops[group] // order * tables.num_centring[group]
    images = turn(tables.rotations[group], site) + tables.translations[group]
    is_op = jnp.arange(MAX_OPS) < tables.num_ops[group]
    across = turn(tables.normal[group][:, None], images - tables.origin[group][:, None])
    misses = jnp.abs(across - jnp.round(across)).max(-1)
    fits = (misses < _ON_POSITION) & is_op & (tables.multiplicity[group] == multiplicity)[:, None]
    # The first letter, and of its operations the first; a site without any cannot be.
    chosen = jnp.argmax(fits.reshape(-1))
    letter, op = chosen // MAX_OPS, chosen % MAX_OPS
    image = images[op] - times(jnp.round(across[letter, op]), tables.step[group, letter])
    along = times(image - tables.origin[group, letter], tables.coordinate[group, letter])
    moved = tables.origin[group, letter] + times(along - jnp.floor(along), tables.basis[group, letter])
    found = fits.reshape(-1)[chosen]
    return jnp.where(found, moved, site), jnp.where(found, letter, MAX_LETTERS - 1)


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
    images = turn(rotations[image_op], coords[image_site]) + translations[image_op]
    _, squared = nearest_images(images - coords[:, None], cell)
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
