"""Finds equal structures: uniqueness among samples, novelty against the training data.

Two structures are equal by pymatgen's StructureMatcher with ltol 0.2, stol 0.3 and
angles within 5°. Only those of one reduced formula and one space group (spglib at 0.1 Å) are
compared: without these buckets it takes days. A pair that the matcher would join across two
groups therefore counts as different.
"""

import sys
import warnings
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from jaxcrystal.structures.cells import translation_primitive
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.detect import SYMPREC, find_group
from jaxcrystal.workers import map_structures

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Tolerances of uniqueness and novelty; match rates have others (`matching.TOLERANCES`).
TOLERANCES = {"ltol": 0.2, "stol": 0.3, "angle_tol": 5.0}
#: Structures of a bucket from which on it is shared between processes, so many at a time: with
#: more at a time, more pairs are left that only this process can compare.
_ROUND = 128
#: Pairs (1 ms to 3 ms each) that are worth starting processes for.
_WORTHWHILE = 5000


def unique(
    entries: Sequence[Entry],
    keys: Sequence[Hashable],
    *,
    processes: int | None = None,
    dask: str | None = None,
) -> Int[np.ndarray, " n"]:
    """Finds the first entry that each entry is equal to.

    An entry is compared with the earlier ones that are themselves equal to no earlier one, so
    that the -1 are as many as there are different structures.

    Args:
      entries: those that failed are compared with nothing.
      keys: [n] what equal structures have in common beside the formula, such as the space group:
        only entries of one key are compared.
      processes: see `workers.stream_structures`.
      dask: address of a scheduler.
    Returns:
      [n] index of the earlier equal entry; -1: there is none.
    """
    work: dict[str, Any] = {"processes": processes, "dask": dask}
    buckets: dict[tuple[str, Hashable], list[int]] = defaultdict(list)
    for number, (entry, key) in enumerate(zip(entries, keys, strict=True)):
        if not entry.failed and entry.structure is not None:
            buckets[entry.structure.reduced_formula, key].append(number)
    small = [bucket for bucket in buckets.values() if 1 < len(bucket) <= _ROUND]
    large = [bucket for bucket in buckets.values() if len(bucket) > _ROUND]
    tasks = [[_cell(entries[i]) for i in bucket] for bucket in small]
    results = map_structures(_first_equal, tasks, description="duplicates", **work)
    results += [_in_rounds([_cell(entries[i]) for i in bucket], work) for bucket in large]
    found = np.full(len(entries), -1)
    for bucket, equal in zip(small + large, results, strict=True):
        for number, place in zip(bucket, equal, strict=True):
            found[number] = bucket[place] if place >= 0 else -1
    return found


def novel(
    entries: Sequence[Entry],
    groups: Sequence[int],
    train: Sequence[Entry],
    *,
    processes: int | None = None,
    dask: str | None = None,
) -> Int[np.ndarray, " n"]:
    """Finds the first training structure that each entry is equal to.

    Args:
      entries: those that failed are compared with nothing.
      groups: [n] space groups of the entries, found at `detect.SYMPREC`.
      train: known structures; those of other formulas are left out.
      processes: see `workers.stream_structures`.
      dask: address of a scheduler.
    Returns:
      [n] index in `train` of an equal structure; -1: there is none, the entry is new.
    """
    buckets: dict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if not entry.failed and entry.structure is not None:
            buckets[entry.structure.reduced_formula].append(number)
    known: dict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(train):
        if entry.structure is not None and entry.structure.reduced_formula in buckets:
            known[entry.structure.reduced_formula].append(number)
    tasks = [
        _Task(
            [_cell(entries[i]) for i in buckets[formula]],
            [groups[i] for i in buckets[formula]],
            [_cell(train[i]) for i in known[formula]],
        )
        for formula in known
    ]
    found = np.full(len(entries), -1)
    results = map_structures(_first_known, tasks, processes=processes, dask=dask, description="novelty")
    for formula, equal in zip(known, results, strict=True):
        for number, place in zip(buckets[formula], equal, strict=True):
            found[number] = known[formula][place] if place >= 0 else -1
    return found


def reduced(structure: "Structure") -> "Structure | None":
    """Returns the cell that the matcher compares; None where there is none.

    The matcher would make it anew for every pair, which takes as long as comparing them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return structure.get_reduced_structure().get_primitive_structure()
        except Exception:  # odd cells make the reduction fail in many ways
            return None


def are_equal(first: "Structure | None", second: "Structure | None") -> bool:
    """Returns whether the matcher takes two `reduced` cells as one; False where it cannot tell."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    if first is None or second is None or len(first) != len(second):
        return False
    matcher: Any = StructureMatcher(**TOLERANCES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(matcher.fit(first, second, skip_structure_reduction=True))
        except Exception:  # odd cells make its lattice search fail in many ways
            return False


@dataclass(frozen=True, eq=False)
class _Task:
    """The structures of one formula."""

    samples: "list[Structure]"
    groups: list[int]
    known: "list[Structure]"


@dataclass(frozen=True, eq=False)
class _Comparison:
    """One reduced cell, and those it is compared with."""

    cell: "Structure | None"
    others: "list[Structure | None]"


def _cell(entry: Entry) -> "Structure":
    assert entry.structure is not None
    return translation_primitive(entry.structure)


def _first_equal(structures: "list[Structure]") -> list[int]:
    cells = [reduced(structure) for structure in structures]
    different: list[int] = []
    found = []
    for number, cell in enumerate(cells):
        equal = next((n for n in different if are_equal(cells[n], cell)), -1)
        if equal < 0:
            different.append(number)
        found.append(equal)
    return found


def _in_rounds(structures: "list[Structure]", work: dict[str, Any]) -> list[int]:
    """Returns what `_first_equal` does, with the comparisons of one bucket shared between processes.

    In each round, the next structures are compared with the different ones before them all at
    once, and what is left of them with each other.
    """
    bar = tqdm(total=len(structures), desc="duplicates", file=sys.stderr, mininterval=0.5)
    different: list[int] = []
    cells: list[Structure | None] = []
    found: list[int] = []
    with bar:
        for start in range(0, len(structures), _ROUND):
            block = [reduced(structure) for structure in structures[start : start + _ROUND]]
            cells += block
            others = [cells[n] for n in different]
            alone = len(block) * len(others) < _WORTHWHILE and work["dask"] is None
            places = map_structures(
                _place,
                [_Comparison(cell, others) for cell in block],
                progress=False,
                chunk=4,
                **(work | {"processes": 1} if alone else work),
            )
            before = len(different)
            for number, place in enumerate(places, start=start):
                if place >= 0:
                    found.append(different[place])
                    continue
                found.append(next((n for n in different[before:] if are_equal(cells[n], cells[number])), -1))
                if found[-1] < 0:
                    different.append(number)
            bar.update(len(block))
    return found


def _place(comparison: _Comparison) -> int:
    """Returns the first of the others that is equal, -1 for none."""
    pairs = enumerate(comparison.others)
    return next((n for n, other in pairs if are_equal(other, comparison.cell)), -1)


def _first_known(task: _Task) -> list[int]:
    groups = [
        find_group(s.lattice.matrix, np.array(s.atomic_numbers), s.frac_coords, SYMPREC) for s in task.known
    ]
    known = [reduced(structure) for structure in task.known]
    return [
        next(
            (
                n
                for n, (other, number) in enumerate(zip(known, groups, strict=True))
                if number == group and are_equal(other, cell)
            ),
            -1,
        )
        for cell, group in zip(map(reduced, task.samples), task.groups, strict=True)
    ]
