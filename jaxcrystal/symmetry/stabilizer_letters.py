"""Lists the Wyckoff positions that a site may lie on whose stabiliser is known.

The image g x of a site with stabiliser S is held by g S g⁻¹. It can lie on the representative of a
position only where that is the position's stabiliser, and of operations that bring the same points
there one is enough: a site has at most eight positions and operations to try, in any group.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.letter_tables import LetterTables, letter_tables
from jaxcrystal.symmetry.subgroups import subgroup_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: Pairs of a letter and an operation for one stabiliser.
MAX_PAIRS = 8
_EXACT = 1e-6


class StabilizerLetters(NamedTuple):
    """Letters and operations to try, those of one stabiliser together, in the order of both.

    Attributes:
      first_pair: [231, 98] where the pairs of a subgroup begin; see `SubgroupTables.members`.
      num_pairs: [231, 98] how many it has; 0: no position has this stabiliser.
      pair_letter: [pairs] index of the letter.
      pair_op: [pairs] the operation that brings the site to the letter's representative.
      pair_normal: [pairs, 3, 3] and
      pair_offset: [pairs, 3] the site is on the position where normal @ site + offset are integers;
        rows of positions with fewer than three are 0.
    """

    first_pair: np.ndarray
    num_pairs: np.ndarray
    pair_letter: np.ndarray
    pair_op: np.ndarray
    pair_normal: np.ndarray
    pair_offset: np.ndarray


@lru_cache(maxsize=1)
def stabilizer_letters() -> StabilizerLetters:
    """Builds the tables in float64; cached for the process."""
    groups, subgroups, letters = group_tables(), subgroup_tables(), letter_tables()
    first = np.zeros(subgroups.members[subgroups.kind].shape[:2], np.int32)
    count = np.zeros(first.shape, np.int32)
    rows: list[tuple[int, int, np.ndarray, np.ndarray]] = []
    for number in range(1, 231):
        pairs = _pairs(number, letters)
        number_of = _number_of_subgroup(subgroups.members[subgroups.kind[number]])
        found = [number_of[stabilizer.tobytes()] for stabilizer, _, _ in pairs]
        for subgroup in sorted(set(found)):
            first[number, subgroup] = len(rows)
            chosen = [pair for pair, other in zip(pairs, found, strict=True) if other == subgroup]
            count[number, subgroup] = len(chosen)
            for _, letter, op in chosen:
                normal = letters.normal[number, letter]
                moved = groups.translations[number, op] - letters.origin[number, letter]
                rows.append((letter, op, normal @ groups.rotations[number, op], normal @ moved))
    if count.max() > MAX_PAIRS:
        raise AssertionError(f"{count.max()} pairs of one stabiliser")
    rows += [(0, 0, np.zeros((3, 3)), np.zeros(3))] * MAX_PAIRS  # any row may be read with those after it
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    pair_letter, pair_op = (column.astype(np.int32) for column in columns[:2])
    return StabilizerLetters(first, count, pair_letter, pair_op, *columns[2:])


def _number_of_subgroup(members: np.ndarray) -> dict[bytes, int]:
    """Returns the number of each subgroup; missing ones, which repeat the trivial one, have none."""
    return {row.tobytes(): number for number, row in reversed(list(enumerate(members)))}


def _pairs(number: int, letters: LetterTables) -> list[tuple[np.ndarray, int, int]]:
    """Returns stabiliser [48], letter and operation of all that are to be tried in one group."""
    groups = group_tables()
    order = int(groups.num_ops[number])
    product = groups.product[number, :order, :order]
    inverse, rotations = groups.inverse[number, :order], groups.rotations[number, :order]
    pairs = []
    for letter, position in enumerate(wyckoff_positions(number)):
        # Operations that map the representative onto itself, up to the lattice.
        normal = letters.normal[number, letter]
        moved = rotations @ position.origin + groups.translations[number, :order] - position.origin
        apart = moved @ normal.T
        keeps = np.abs(apart - np.rint(apart)).max(1) < _EXACT
        turned = np.einsum("wa,gab,fb->gwf", normal, rotations, position.basis)
        keeps &= np.abs(turned).max((1, 2), initial=0.0) < _EXACT
        holding = np.flatnonzero(position.stabilizer)
        # With g, any n g brings a site there where n maps the representative onto itself: the first.
        for op in np.flatnonzero(product[keeps].min(0) == np.arange(order)):
            stabilizer = np.zeros(position.stabilizer.shape, bool)
            stabilizer[product[product[inverse[op], holding], op]] = True
            pairs.append((stabilizer, letter, int(op)))
    return pairs
