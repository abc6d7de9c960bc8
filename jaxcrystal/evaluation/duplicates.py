"""Which structures are equal: uniqueness among samples, novelty against the training data.

Two structures are equal if pymatgen's StructureMatcher says so with ltol 0.2, stol 0.3 and
angles within 5°. Only those of one reduced formula and one space group (spglib at 0.1 Å) are
compared: without these buckets it takes days. A pair that the matcher would join across two
groups therefore counts as different.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from jaxcrystal.evaluation.descriptors import SYMPRECS, translation_primitive
from jaxcrystal.evaluation.entries import Entry
from jaxcrystal.evaluation.fingerprints import Features
from jaxcrystal.evaluation.workers import map_structures
from jaxcrystal.sampling.audit import SYMPREC, find_group

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Tolerances of uniqueness and novelty; match rates have others (`matching.TOLERANCES`).
TOLERANCES = {"ltol": 0.2, "stol": 0.3, "angle_tol": 5.0}
_GROUP_COLUMN = SYMPRECS.index(SYMPREC)


def unique(
    entries: Sequence[Entry], features: Features, *, processes: int | None = None, dask: str | None = None
) -> Int[np.ndarray, " n"]:
    """Finds the first entry that each entry is equal to.

    An entry is compared with the earlier ones that are themselves equal to no earlier one, so
    that the -1 are as many as there are different structures.

    Args:
      entries: those that failed are compared with nothing.
      features: of the entries.
      processes: see `workers.stream_structures`.
      dask: address of a scheduler.
    Returns:
      [n] index of the earlier equal entry; -1: there is none.
    """
    groups = features.found_groups[:, _GROUP_COLUMN]
    buckets: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if not entry.failed and entry.structure is not None:
            buckets[entry.structure.reduced_formula, int(groups[number])].append(number)
    members = [bucket for bucket in buckets.values() if len(bucket) > 1]
    tasks = [_Task([_cell(entries[i]) for i in bucket]) for bucket in members]
    found = np.full(len(entries), -1)
    results = map_structures(_first_equal, tasks, processes=processes, dask=dask, description="duplicates")
    for bucket, equal in zip(members, results, strict=True):
        for number, place in zip(bucket, equal, strict=True):
            found[number] = bucket[place] if place >= 0 else -1
    return found


def novel(
    entries: Sequence[Entry],
    features: Features,
    train: Sequence[Entry],
    *,
    processes: int | None = None,
    dask: str | None = None,
) -> Int[np.ndarray, " n"]:
    """Finds the first training structure that each entry is equal to.

    Args:
      entries: those that failed are compared with nothing.
      features: of the entries.
      train: known structures; those of other formulas are not even looked at.
      processes: see `workers.stream_structures`.
      dask: address of a scheduler.
    Returns:
      [n] index in `train` of an equal structure; -1: there is none, the entry is new.
    """
    groups = features.found_groups[:, _GROUP_COLUMN]
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
            [int(groups[i]) for i in buckets[formula]],
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


def are_equal(first: "Structure", second: "Structure") -> bool:
    """Returns whether the matcher takes two structures as one; False where it cannot tell."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher: Any = StructureMatcher(**TOLERANCES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(matcher.fit(first, second))
        except Exception:  # odd cells make its lattice search fail in many ways
            return False


@dataclass(frozen=True, eq=False)
class _Task:
    """The structures of one bucket."""

    samples: "list[Structure]"
    groups: tuple[int, ...] | list[int] = ()
    known: "tuple[Structure, ...] | list[Structure]" = ()


def _cell(entry: Entry) -> "Structure":
    assert entry.structure is not None
    return translation_primitive(entry.structure)


def _first_equal(task: _Task) -> list[int]:
    different: list[int] = []
    found = []
    for number, structure in enumerate(task.samples):
        equal = next((n for n in different if are_equal(task.samples[n], structure)), -1)
        if equal < 0:
            different.append(number)
        found.append(equal)
    return found


def _first_known(task: _Task) -> list[int]:
    groups = [
        find_group(s.lattice.matrix, np.array(s.atomic_numbers), s.frac_coords, SYMPREC) for s in task.known
    ]
    return [
        next(
            (
                n
                for n, (other, number) in enumerate(zip(task.known, groups, strict=True))
                if number == group and are_equal(other, structure)
            ),
            -1,
        )
        for structure, group in zip(task.samples, task.groups, strict=True)
    ]
