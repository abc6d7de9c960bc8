"""Wyckoff positions of all 230 groups, in the setting of `symmetry.groups`.

`wyckoff.json` holds one representative subspace for each letter, as a user would
write it ("x,0,1/4"); all else follows from the operations of the group. The file is
written by `tests/symmetry/derive_wyckoff.py`. Letters are those of the International
Tables, as spglib gives them; the 27th letter of group 47 is "A".
"""

import json
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxcrystal.crystal import MAX_OPS
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.symmetry.groups import group_tables

_EXACT = 1e-6
#: Lattice vectors that can bring a site to a subspace, in primitive coordinates.
WINDOW = np.indices((7, 7, 7)).reshape(3, -1).T - 3.0


class WyckoffPosition(NamedTuple):
    """One Wyckoff position: the points `origin + u @ basis` and their images.

    Attributes:
      letter: "a" to "z", and "A" for the general position of group 47.
      multiplicity: atoms in the conventional cell.
      num_free: free coordinates, 0 to 3.
      basis: [num_free, 3] rows span the subspace, fractional; coprime integers, so that
        `u` uniform in [0, 1) is uniform on the subspace.
      origin: [3] a point of the subspace, fractional.
      stabilizer: [MAX_OPS] the operations g with g x = x, modulo the primitive lattice,
        for every x of the subspace.
      site_ops: [MAX_OPS] the first operation of each left coset of the stabiliser: these
        make every atom of the orbit once, up to centring. Operation 0 is one of them.
      projection: [3, 3] the mean of the stabiliser's rotations; acts on a column of
        fractional displacement and projects it on the subspace.
    """

    letter: str
    multiplicity: int
    num_free: int
    basis: np.ndarray
    origin: np.ndarray
    stabilizer: np.ndarray
    site_ops: np.ndarray
    projection: np.ndarray


@cache
def wyckoff_positions(space_group: int) -> tuple[WyckoffPosition, ...]:
    """Returns the positions of a group, "a" first and the general position last."""
    group_operations(space_group)  # a clear error for a group that does not exist
    return tuple(_position(space_group, letter, text) for letter, text in _texts()[space_group].items())


def wyckoff_position(space_group: int, letter: str) -> WyckoffPosition:
    """Returns one position of a group.

    Raises:
      RequestError: the group has no such letter.
    """
    positions = wyckoff_positions(space_group)
    for position in positions:
        if position.letter == letter:
            return position
    known = ", ".join(f"{p.multiplicity}{p.letter}" for p in positions)
    raise RequestError(f"group {space_group} has no Wyckoff position {letter!r}: it has {known}")


@cache
def letters_of(space_group: int) -> tuple[str, ...]:
    """Returns the letters of a group that exists, in the order of `wyckoff_positions`."""
    return tuple(_texts()[space_group])


@cache
def fixed_letters(space_group: int) -> frozenset[str]:
    """Returns the letters of a group that exists whose positions have no free coordinate: one site fits."""
    return frozenset(x for x, text in _texts()[space_group].items() if not set("xyz") & set(text))


def repeated_fixed(space_group: int, letters: Iterable[str]) -> list[str]:
    """Returns the letters without a free coordinate that stand there twice, which no crystal has."""
    counts = Counter(letters)
    return sorted(letter for letter in fixed_letters(space_group) if counts[letter] > 1)


def locate(
    frac_coords: Float[np.ndarray, "3"], space_group: int, letter: str, tolerance: float = 1e-2
) -> tuple[int, Float[np.ndarray, "3"]]:
    """Brings a site of a structure onto the representative subspace of its letter.

    Args:
      frac_coords: [3] fractional, any branch.
      space_group: 1-230.
      letter: of the orbit that the site lies on.
      tolerance: largest distance from the subspace, in fractional coordinates.
    Returns:
      The operation that maps the site there (a lattice vector aside), and the point of
      `origin + u @ basis` nearest to its image, with u in [0, 1).

    Raises:
      DataError: no image of the site is that near to the subspace.
      RequestError: the group has no such letter.
    """
    position = wyckoff_position(space_group, letter)
    rotations, translations, primitive = group_operations(space_group)
    away, window_away = _normal_to(space_group, letter)
    offset = (rotations @ frac_coords + translations - position.origin) @ np.linalg.inv(primitive)
    offset = (offset - np.round(offset)) @ primitive
    # Only what is normal to the subspace must vanish, up to a lattice vector.
    misses = np.square((offset @ away.T)[:, None] - window_away)
    distance = np.sqrt(misses[..., 0] + misses[..., 1] + misses[..., 2])  # quicker than sum(-1)
    op_index = int(np.argmin(np.round(distance.min(1), 7)))  # operations that tie: the first
    nearest = int(np.argmin(distance[op_index]))
    if distance[op_index, nearest] > tolerance:
        raise DataError(
            f"the site {np.round(frac_coords, 4).tolist()} is {distance[op_index, nearest]:.2g} from "
            f"position {letter} of group {space_group}, more than {tolerance:g}"
        )
    along = position.projection @ (offset[op_index] - WINDOW[nearest] @ primitive)
    free = along @ np.linalg.pinv(position.basis) % 1.0
    return op_index, position.origin + free @ position.basis


def group_operations(space_group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the operations and primitive vectors of one group, without padding.

    Returns:
      Rotations [num_ops, 3, 3], translations [num_ops, 3], primitive vectors [3, 3].

    Raises:
      RequestError: the group does not exist.
    """
    if not 1 <= space_group <= 230:
        raise RequestError(f"space group {space_group} does not exist: numbers run from 1 to 230")
    tables = group_tables()
    num_ops = int(tables.num_ops[space_group])
    return (
        tables.rotations[space_group, :num_ops],
        tables.translations[space_group, :num_ops],
        tables.primitive[space_group],
    )


def coset_representatives(stabilizer: Bool[np.ndarray, " 48"], space_group: int) -> Bool[np.ndarray, " 48"]:
    """Returns the first operation of each left coset g·S of a stabiliser S.

    Operations of one coset give a site of that stabiliser the same image.

    Args:
      stabilizer: [MAX_OPS] a subgroup of the group's operations.
      space_group: 1-230.
    Returns:
      [MAX_OPS] num_ops / |S| operations, operation 0 among them.
    """
    tables = group_tables()
    num_ops = int(tables.num_ops[space_group])
    cosets = tables.product[space_group, :num_ops][:, np.flatnonzero(stabilizer)]
    first = np.zeros(MAX_OPS, bool)
    first[:num_ops] = cosets.min(1) == np.arange(num_ops)
    return first


@cache
def _normal_to(space_group: int, letter: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the projection [3, 3] on what is normal to a subspace, and `WINDOW` so projected."""
    away = np.eye(3) - wyckoff_position(space_group, letter).projection
    return away, WINDOW @ group_operations(space_group)[2] @ away.T


@cache
def _texts() -> dict[int, dict[str, str]]:
    path = Path(__file__).with_name("wyckoff.json")
    return {int(number): letters for number, letters in json.loads(path.read_text()).items()}


def _position(space_group: int, letter: str, text: str) -> WyckoffPosition:
    basis, origin = _parse(text)
    rotations, translations, primitive = group_operations(space_group)
    moved = (rotations @ origin + translations - origin) @ np.linalg.inv(primitive)
    fixed = (np.abs(moved - np.round(moved)) < _EXACT).all(1)
    fixed &= (np.abs(basis @ rotations.transpose(0, 2, 1) - basis) < _EXACT).all((1, 2))
    stabilizer = np.zeros(MAX_OPS, bool)
    stabilizer[: len(fixed)] = fixed
    site_ops = coset_representatives(stabilizer, space_group)
    position = WyckoffPosition(
        letter=letter,
        multiplicity=int(site_ops.sum()) * int(group_tables().num_centring[space_group]),
        num_free=len(basis),
        basis=basis,
        origin=origin,
        stabilizer=stabilizer,
        site_ops=site_ops,
        projection=rotations[fixed].mean(0),
    )
    for array in (basis, origin, stabilizer, site_ops, position.projection):
        array.setflags(write=False)  # the result is cached and shared
    return position


def _parse(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns basis [num_free, 3] and origin [3] of a text such as `x,2x,-z+1/4`."""
    coefficients = np.zeros((3, 3))
    origin = np.zeros(3)
    for axis, word in enumerate(text.split(",")):
        for term in word.replace("-", "+-").split("+"):
            if term and term[-1] in "xyz":
                factor = term[:-1]
                coefficients["xyz".index(term[-1]), axis] = {"": 1, "-": -1}.get(factor) or int(factor)
            elif term:
                origin[axis] += float(Fraction(term))
    return coefficients[coefficients.any(1)], origin
