"""Moves sites onto special positions and finds their letters, on the device.

The rule is that of `symmetry.orbits.project_on_special_position`: operations whose images of a site are
near it are taken one by one, nearest first, while those taken and all their products have a common fixed
point; the site goes to the mean of its images by them, and that is repeated until no image is added.

Arrays over the 48 operations are kept by component, [48] each: what is done for each operation is then
one loop that a CPU's vector unit takes.
"""

from itertools import product

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxcrystal.crystal import MAX_OPS
from jaxcrystal.graph.images import ReducedCell
from jaxcrystal.structures.finish_tables import FinishTables
from jaxcrystal.symmetry.stabilizer_letters import MAX_PAIRS
from jaxcrystal.vectors import dot, inverse, times, turn

#: Å; a point that an operation moves by less is a fixed point. Where there is none, all are moved by a
#: 48th of a lattice vector at least.
_FIXED = 2e-3
#: Of the reduced coordinates of a site across a position: to so much it lies on it.
_ON_POSITION = 1e-3
#: Of the squares of singular values, which are of the order of 1 or 0.
_SINGULAR = 1e-3
#: Corrections of a solution; each takes off all but about 4 `_SINGULAR` of its error.
_CORRECTIONS = 3
#: No operation; distances as keys are smaller.
_NONE = jnp.iinfo(jnp.int32).max


def on_special_position(
    tables: FinishTables,
    site: Float[Array, "3"],
    group: Int[Array, ""],
    cell: ReducedCell,
    to_frac: Float[Array, "3 3"],
    nearest: float,
) -> tuple[Float[Array, "3"], Int[Array, ""]]:
    """Moves a site onto the special position that its coinciding images surround.

    Args:
      tables: of `finish_tables`.
      site: [3] fractional in the conventional cell, any branch.
      group: of the crystal.
      cell: its reduced cell, whose planes are farther apart than `nearest`.
      to_frac: [3, 3] rows of Cartesian coordinates @ this = fractional.
      nearest: Å; images nearer than this are the site itself.
    Returns:
      The site [3], and the subgroup that holds it, a row of `tables.members` of the group's kind.
    """

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        return state[2]

    def move(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        site, subgroup, _ = state
        found, displacement = _holding_subgroup(tables, site, group, cell, nearest)
        order = tables.order[tables.kind[group]]
        larger = order[found] > order[subgroup]
        moved = jnp.where(larger, site + times(displacement, to_frac), site)
        return moved, jnp.where(larger, found, subgroup), larger

    return jax.lax.while_loop(unfinished, move, (site, jnp.int32(0), jnp.bool_(True)))[:2]


def on_letter(
    tables: FinishTables, site: Float[Array, "3"], subgroup: Int[Array, ""], group: Int[Array, ""]
) -> tuple[Float[Array, "3"], Int[Array, ""]]:
    """Brings a site onto the representative of its Wyckoff position.

    Args:
      tables: of `finish_tables`.
      site: [3] exactly on a position.
      subgroup: that holds it, of `on_special_position`.
      group: of the crystal.
    Returns:
      The site [3], and the index of its letter; unmoved, and the general position, where it lies on none.
    """
    first = tables.first_pair[group, subgroup]
    pairs = first + jnp.arange(MAX_PAIRS)
    across = turn(tables.pair_normal[pairs], site) + tables.pair_offset[pairs]
    misses = jnp.abs(across - jnp.round(across)).max(-1)
    fits = (misses < _ON_POSITION) & (jnp.arange(MAX_PAIRS) < tables.num_pairs[group, subgroup])
    chosen = jnp.argmax(fits)
    found, pair = fits[chosen], pairs[chosen]
    letter, op = tables.pair_letter[pair], tables.pair_op[pair]
    image = turn(tables.rotations[group, op], site) + tables.translations[group, op]
    image = image - times(jnp.round(across[chosen]), tables.step[group, letter])
    origin = tables.origin[group, letter]
    along = times(image - origin, tables.coordinate[group, letter])
    moved = origin + times(along - jnp.floor(along), tables.basis[group, letter])
    return jnp.where(found, moved, site), jnp.where(found, letter, tables.general[group])


def _holding_subgroup(
    tables: FinishTables, site: Array, group: Array, cell: ReducedCell, nearest: float
) -> tuple[Array, Array]:
    """Finds the group of operations that hold a site, grown from its nearest images on.

    Returns:
      The subgroup, and the displacement [3] (Cartesian, Å) from the site to its fixed point, the mean
      of its images.
    """
    kind = tables.kind[group]
    images, squared = _own_images(tables, site, group, cell)
    is_op = jnp.arange(MAX_OPS) < tables.num_ops[group]
    near = is_op & (squared < nearest**2) & (jnp.arange(MAX_OPS) > 0)
    # One number for distance and operation, which orders them: positive floats are ordered as their bits.
    keys = (jax.lax.bitcast_convert_type(squared, jnp.int32) & ~63) | jnp.arange(MAX_OPS)

    def left(state: tuple[Array, Array, Array]) -> Array:
        return state[0].min() < _NONE

    def add(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        keys, subgroup, point = state
        key = keys.min()
        op = jnp.where(key < _NONE, key & 63, 0)
        joined = tables.join[kind, subgroup, op].astype(jnp.int32)
        rotation = tables.cart_rotations[group, op]
        # The operation, about the site: y -> image + rotation @ y.
        fixed, miss = _common_fixed_point(
            point, tables.mean_rotation[group, subgroup], rotation, images[:, op]
        )
        mean = fixed - turn(tables.mean_rotation[group, joined], fixed)
        holds = miss < _FIXED
        subgroup, point = jnp.where(holds, joined, subgroup), jnp.where(holds, mean, point)
        tried = (keys == key) | (tables.members[kind, subgroup])
        return jnp.where(tried, _NONE, keys), subgroup, point

    first = jnp.where(near, keys, _NONE), jnp.int32(0), jnp.zeros(3, site.dtype)
    return jax.lax.while_loop(left, add, first)[1:]


def _common_fixed_point(
    point: Array, mean_rotation: Array, rotation: Array, image: Array
) -> tuple[Array, Array]:
    """Finds a point that a group and one more operation leave in place.

    The group leaves `point + mean_rotation @ v` in place for any v; the operation maps y to
    `rotation @ y + image`. Least squares, since the equations for v are singular.

    Returns:
      The point [3], Å, and how far the operation moves it: not at all, where there is such a point.
    """
    moves = turn(rotation, point) + image - point
    change = times(rotation, mean_rotation) - mean_rotation
    transposed = change.T
    square = times(transposed, change)
    # Changes are fractions of 1 for all rotations of crystals: what is smaller is rounding.
    solve = inverse(square + _SINGULAR * jnp.eye(3, dtype=square.dtype))
    free = jnp.zeros_like(point)
    for _ in range(1 + _CORRECTIONS):
        free = free - turn(solve, turn(transposed, moves + turn(change, free)))
    left = moves + turn(change, free)
    return point + turn(mean_rotation, free), jnp.sqrt(dot(left, left))


def _own_images(
    tables: FinishTables, site: Array, group: Array, cell: ReducedCell
) -> tuple[Float[Array, "3 48"], Float[Array, "48"]]:
    """Returns the nearest image of a site by each operation: from it, Cartesian, Å, and its square.

    Of the lattice vectors, the eight around each image are tried. An image is within a distance less
    than that of the planes of the reduced cell only by one of these.
    """
    rotations, translations = tables.op_rotations[group], tables.op_translations[group]
    moves = [sum_of_three(rotations[a], site) + translations[a] - site[a] for a in range(3)]
    reduced = [sum_of_three(cell.to_reduced[:, a], moves) for a in range(3)]
    reduced = [coordinate - jnp.round(coordinate) for coordinate in reduced]
    backward = [jnp.where(coordinate > 0, -1.0, 1.0) for coordinate in reduced]
    best = [jnp.zeros(MAX_OPS, site.dtype)] * 3
    squared = jnp.full(MAX_OPS, jnp.inf, site.dtype)
    for corner in product((0, 1), repeat=3):
        moved = [x + n * step for x, n, step in zip(reduced, corner, backward, strict=True)]
        cart = [sum_of_three(cell.basis[:, a], moved) for a in range(3)]
        length = cart[0] * cart[0] + cart[1] * cart[1] + cart[2] * cart[2]
        closer = length < squared
        best = [jnp.where(closer, new, old) for new, old in zip(cart, best, strict=True)]
        squared = jnp.where(closer, length, squared)
    return jnp.stack(best), squared


def sum_of_three(factors: Array, columns: Array | list[Array]) -> Array:
    """Returns the sum of three products."""
    return factors[0] * columns[0] + factors[1] * columns[1] + factors[2] * columns[2]
