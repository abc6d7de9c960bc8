"""Tables of all groups that finishing looks up, on the device."""

from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.letter_tables import letter_tables
from jaxcrystal.symmetry.stabilizer_letters import stabilizer_letters
from jaxcrystal.symmetry.subgroups import subgroup_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


class FinishTables(NamedTuple):
    """What finishing looks up of a group; arguments of the program, since they are a few MB.

    Attributes:
      rotations, translations, cart_rotations, primitive, num_ops, num_centring: of
        `symmetry.groups.GroupTables`.
      op_rotations: [231, 3, 3, 48] and
      op_translations: [231, 3, 48] the same rotations and translations, operations last.
      kind, members, order, join, mean_rotation: of `symmetry.subgroups.SubgroupTables`.
      first_pair, num_pairs, pair_letter, pair_op, pair_normal, pair_offset: of
        `symmetry.stabilizer_letters.StabilizerLetters`.
      origin, step, basis, coordinate, site_ops: of `symmetry.letter_tables.LetterTables`.
      general: [231] the letter of the general position.
    """

    rotations: Array
    translations: Array
    cart_rotations: Array
    primitive: Array
    num_ops: Array
    num_centring: Array
    op_rotations: Array
    op_translations: Array
    kind: Array
    members: Array
    order: Array
    join: Array
    mean_rotation: Array
    first_pair: Array
    num_pairs: Array
    pair_letter: Array
    pair_op: Array
    pair_normal: Array
    pair_offset: Array
    origin: Array
    step: Array
    basis: Array
    coordinate: Array
    site_ops: Array
    general: Array


@lru_cache(maxsize=1)
def finish_tables() -> FinishTables:
    """Returns the tables on the device, in float32."""
    groups = group_tables()
    sources = (groups, subgroup_tables(), stabilizer_letters(), letter_tables())
    arrays: dict[str, Any] = {
        "op_rotations": np.moveaxis(groups.rotations, 1, -1),
        "op_translations": np.moveaxis(groups.translations, 1, -1),
        "general": np.array([0] + [len(wyckoff_positions(number)) - 1 for number in range(1, 231)], np.int32),
    }
    for name in set(FinishTables._fields) - set(arrays):
        arrays[name] = next(getattr(source, name) for source in sources if hasattr(source, name))
    return FinishTables(**{name: _on_device(array) for name, array in arrays.items()})


def _on_device(array: np.ndarray) -> Array:
    return jnp.asarray(array, jnp.float32) if array.dtype.kind == "f" else jnp.asarray(array)
