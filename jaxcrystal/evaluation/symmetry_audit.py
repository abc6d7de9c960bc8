"""Compares the space group asked for with the one that spglib finds."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from jaxcrystal.evaluation.descriptors import SYMPRECS
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.supergroups import is_supergroup


def symmetry_audit(
    samples: Sequence[Entry], found_groups: Int[np.ndarray, "n 3"]
) -> dict[str, dict[str, float | int]] | None:
    """Returns the shares of samples in the group asked for, and in a proper supergroup of it.

    Args:
      samples: the shares are of those whose group is known that was asked for; failed ones
        count as neither.
      found_groups: [n, 3] at the tolerances `SYMPRECS`, 0 for none.
    Returns:
      By tolerance in Å: `exact`, `supergroup` (without the exact ones) and `of`; None if no
      requested group is known.
    """
    asked = [(row, entry) for row, entry in enumerate(samples) if entry.requested_group > 0]
    if not asked:
        return None
    figures: dict[str, dict[str, float | int]] = {}
    for column, symprec in enumerate(SYMPRECS):
        pairs = [
            (0 if entry.failed else int(found_groups[row, column]), entry.requested_group)
            for row, entry in asked
        ]
        figures[str(symprec)] = {
            "exact": sum(found == wanted for found, wanted in pairs) / len(asked),
            "supergroup": sum(found > 0 and is_supergroup(found, wanted) for found, wanted in pairs)
            / len(asked),
            "of": len(asked),
        }
    return figures
