"""Lists the subgroups of every point group, so that a device can close a set of operations by look-up."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from jaxcrystal.crystal import MAX_OPS
from jaxcrystal.symmetry.groups import group_tables

#: Subgroups of m-3m, which has the most.
MAX_SUBGROUPS = 98


class SubgroupTables(NamedTuple):
    """Subgroups of the operations of a space group, which are those of its point group.

    Space groups whose operations multiply alike share a row of the tables ("kind").

    Attributes:
      kind: [231] the row of a space group.
      members: [kinds, 98, 48] the operations of each subgroup; the first is the trivial one, and
        subgroups that a group does not have are the trivial one again.
      order: [kinds, 98] operations of each subgroup.
      join: [kinds, 98, 48] the subgroup that a subgroup generates with one more operation.
      mean_rotation: [231, 98, 3, 3] the mean of the Cartesian rotations of each subgroup, the
        projection on what it leaves in place; acts on columns.
    """

    kind: np.ndarray
    members: np.ndarray
    order: np.ndarray
    join: np.ndarray
    mean_rotation: np.ndarray


@lru_cache(maxsize=1)
def subgroup_tables() -> SubgroupTables:
    """Builds the tables; cached for the process."""
    tables = group_tables()
    kinds: dict[bytes, int] = {}
    kind = np.zeros(231, np.int32)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(1, 231):
        order = int(tables.num_ops[number])
        product = tables.product[number, :order, :order]
        row = kinds.setdefault(product.tobytes(), len(kinds))
        if row == len(found):
            found.append(_subgroups(product))
        kind[number] = row
    members, join = (np.stack(arrays) for arrays in zip(*found, strict=True))
    sizes = members.sum(-1)
    sums = members[kind].astype(float) @ tables.cart_rotations.reshape(231, MAX_OPS, 9)
    means = (sums / sizes[kind][..., None]).reshape(231, MAX_SUBGROUPS, 3, 3)
    return SubgroupTables(kind, members, sizes.astype(np.int32), join, means)


def _subgroups(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns members and join of one multiplication table [order, order]."""
    order = len(product)
    rows = product.tolist()
    known = {1: 0}  # the elements as bits -> number; operation 0 is the identity
    elements: list[list[int]] = [[0]]
    join = np.zeros((MAX_SUBGROUPS, MAX_OPS), np.uint8)
    number = 0
    while number < len(elements):
        for op in range(order):
            closed = _close(rows, elements[number], op)
            bits = sum(1 << element for element in closed)
            if bits not in known:
                known[bits] = len(elements)
                elements.append(closed)
            join[number, op] = known[bits]
        number += 1
    members = np.zeros((MAX_SUBGROUPS, MAX_OPS), bool)
    members[:, 0] = True
    for number, closed in enumerate(elements):
        members[number, closed] = True
    return members, join


def _close(product: list[list[int]], subgroup: list[int], op: int) -> list[int]:
    """Returns the elements of the group that a subgroup generates with one more operation."""
    if op in subgroup:
        return subgroup
    closed, generators = set(subgroup), [*subgroup, op]
    new = [op]
    while new:
        closed.update(new)
        new = list({product[g][h] for g in generators for h in new} - closed)
    return sorted(closed)
