"""Symmetry operations as a file gives them: are they a group, which one, and does the cell have them?"""

import re
from functools import lru_cache
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.symmetry.detect import group_of_operations

#: Translations are whole numbers of this part of the cell.
_PARTS = gemmi.Op.DEN
#: A cell may depart from its group by this much, relative (lengths) and degrees: less than the
#: search for symmetry sees. Lengths of few digits may depart by up to twice as much.
_LENGTHS, _ANGLES = 0.005, 0.5
#: Most operations of a listed group: those of Fm-3m, and supercells of smaller ones.
_MAX_OPERATIONS = 768


class Operations(NamedTuple):
    """All operations of a group in one cell, centring included, the identity first.

    Attributes:
      rotations: [operations, 3, 3] on columns of fractional coordinates.
      translations: [operations, 3] fractional, in [0, 1).
      name: what the file calls them, for messages.
    """

    rotations: Int[np.ndarray, "operations 3 3"]
    translations: Float[np.ndarray, "operations 3"]
    name: str

    def __len__(self) -> int:
        return len(self.rotations)


@lru_cache(maxsize=256)
def listed_operations(triplets: tuple[str, ...]) -> Operations:
    """Returns the operations of a list such as `x,y,z`, `-x,-y,z+1/2`, each once.

    Raises:
      Rejected: a text is no operation, or they are no group.
    """
    ops = []
    for triplet in triplets:
        plain = re.sub(r"\s", "", triplet)
        try:
            if not plain.isascii():
                raise ValueError
            ops.append(gemmi.Op(plain))
        except (RuntimeError, ValueError):
            raise Rejected(Reason.UNPARSABLE, f"{triplet!r} is no symmetry operation") from None
    found = _operations(ops, f"the {len(ops)} listed operations")
    if len(found) > _MAX_OPERATIONS:
        raise Rejected(Reason.UNPARSABLE, f"{len(found)} symmetry operations are listed")
    _require_group(found)
    return found


@lru_cache(maxsize=600)
def operations_of_hall(hall: str, name: str) -> Operations:
    """Returns the operations of a Hall symbol.

    Raises:
      ValueError: it is none.
    """
    try:
        group = gemmi.symops_from_hall(hall)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    return _operations(list(group), name)


def group_number(operations: Operations, lattice: Float[np.ndarray, "3 3"]) -> int:
    """Returns the number of the space group that operations are of, in whatever setting; 0 if unclear.

    Args:
      operations: a group.
      lattice: [3, 3] of the cell, rows are vectors, Å.
    """
    group = gemmi.GroupOps(
        [_op(r, t) for r, t in zip(operations.rotations, operations.translations, strict=True)]
    )
    known = gemmi.find_spacegroup_by_ops(group)
    if known is not None:
        return int(known.number)
    return group_of_operations(operations.rotations, operations.translations, lattice)


def same_operations(one: Operations, other: Operations) -> bool:
    """Returns whether two lists hold the same operations, in any order."""
    return set(_codes(one).tolist()) == set(_codes(other).tolist())


def cell_has(
    operations: Operations,
    lengths: Float[np.ndarray, "3"],
    angles: Float[np.ndarray, "3"],
    last_digits: Float[np.ndarray, "3"],
) -> bool:
    """Returns whether the operations leave distances in the cell unchanged, as far as its digits tell.

    Args:
      operations: on fractional coordinates.
      lengths: [3] a, b, c, Å.
      angles: [3] degrees.
      last_digits: [3] worth of the last digit of each length, Å.
    """
    metric = _metric(lengths, angles)
    rotations = operations.rotations
    moved = rotations.transpose(0, 2, 1) @ metric @ rotations
    squares = np.einsum("gii->gi", moved)
    if (squares <= 0).any():
        return False
    moved_lengths = np.sqrt(squares)
    allowed = np.clip(last_digits[None] + last_digits.max(), _LENGTHS * lengths, 2 * _LENGTHS * lengths)
    if (np.abs(moved_lengths - lengths) > allowed).any():
        return False
    first, second = [1, 0, 0], [2, 2, 1]
    cosines = moved[:, first, second] / (moved_lengths[:, first] * moved_lengths[:, second])
    return bool((np.abs(np.degrees(np.arccos(np.clip(cosines, -1, 1))) - angles) <= _ANGLES).all())


def angles_fixed_by(operations: Operations) -> list[float | None]:
    """Returns the cell angles, degrees, that every cell with these operations has; None for the others."""
    rotations = operations.rotations
    found = []
    for seed in range(2):
        basis = np.random.default_rng(seed).uniform(1, 2, (3, 3)) + 3 * np.eye(3)
        metric = (rotations.transpose(0, 2, 1) @ (basis @ basis.T) @ rotations).mean(0)
        sizes = np.sqrt(np.diag(metric))
        cosines = (metric / np.outer(sizes, sizes))[[1, 0, 0], [2, 2, 1]]
        found.append(np.degrees(np.arccos(cosines)))
    return [float(np.round(a, 6)) if abs(a - b) < 1e-6 else None for a, b in zip(*found, strict=True)]


def _operations(ops: list[gemmi.Op], name: str) -> Operations:
    rotations = np.array([op.rot for op in ops], int).reshape(-1, 3, 3)
    if (rotations % _PARTS).any():
        raise Rejected(Reason.UNPARSABLE, f"{name} are no symmetry operations: a fraction of a coordinate")
    rotations //= _PARTS
    translations = np.array([op.tran for op in ops], int).reshape(-1, 3) % _PARTS
    found = Operations(rotations, translations / _PARTS, name)
    _, first = np.unique(_codes(found), return_index=True)
    order = np.sort(first)
    is_identity = (rotations[order] == np.eye(3)).all((1, 2)) & ~translations[order].any(1)
    order = np.concatenate([order[is_identity], order[~is_identity]])
    return Operations(rotations[order], translations[order] / _PARTS, name)


def _codes(operations: Operations) -> Int[np.ndarray, " operations"]:
    """Returns one number for each operation; entries of rotations are between -2 and 2."""
    digits = np.clip(operations.rotations.reshape(-1, 9), -3, 3) + 3
    steps = np.rint(operations.translations * _PARTS).astype(int) % _PARTS
    places = 7 ** np.arange(9)
    return digits @ places + 7**9 * (steps @ _PARTS ** np.arange(3))


def _require_group(operations: Operations) -> None:
    rotations, translations = operations.rotations, operations.translations
    product = np.einsum("gij,hjk->ghik", rotations, rotations).reshape(-1, 3, 3)
    moved = np.einsum("gij,hj->ghi", rotations, translations) + translations[:, None]
    products = Operations(product, moved.reshape(-1, 3) % 1.0, "")
    codes = _codes(operations)
    closed = np.isin(_codes(products), codes).all()
    has_identity = (rotations[0] == np.eye(3)).all() and not translations[0].any()
    proper = (np.abs(np.rint(np.linalg.det(rotations))) == 1).all() and np.abs(rotations).max() <= 2
    if not (closed and has_identity and proper):
        raise Rejected(
            Reason.CONTRADICTORY,
            f"{operations.name} are no group (the list is incomplete, or one is misprinted)",
        )


def _metric(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    cosines = np.cos(np.radians(angles))
    matrix = np.array(
        [[1, cosines[2], cosines[1]], [cosines[2], 1, cosines[0]], [cosines[1], cosines[0], 1]], float
    )
    return matrix * np.outer(lengths, lengths)


def _op(rotation: np.ndarray, translation: np.ndarray) -> gemmi.Op:
    op = gemmi.Op("x,y,z")
    op.rot = (rotation * _PARTS).tolist()
    op.tran = np.rint(translation * _PARTS).astype(int).tolist()
    return op
