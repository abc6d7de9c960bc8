"""Decides which space groups contain which: subgroup relations between the 230 types.

`subgroups.json` holds the types of the maximal subgroups of each group; what lies below them
follows. The file is written by `tests/symmetry/derive_supergroups.py`.
"""

import json
from functools import cache
from pathlib import Path


def is_supergroup(group: int, of: int) -> bool:
    """Returns whether groups of one type have subgroups of another type, of any finite index.

    A relation of types, not of two given groups: of P222 (16) and F222 (22) each has subgroups
    of the other type, with larger cells.

    Args:
      group: 1-230.
      of: 1-230. False for `group` itself: a structure in the group asked for is no find of a
        higher symmetry.
    """
    return of != group and of in _subgroups(group)


@cache
def _subgroups(group: int) -> frozenset[int]:
    found: set[int] = set()
    waiting = [group]
    while waiting:
        below = _maximal_subgroups()[waiting.pop()] - found
        found |= below
        waiting += below
    return frozenset(found)


@cache
def _maximal_subgroups() -> dict[int, frozenset[int]]:
    path = Path(__file__).with_name("subgroups.json")
    return {int(number): frozenset(below) for number, below in json.loads(path.read_text()).items()}
