"""Uniqueness and novelty against a direct loop over pairs."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from jaxcrystal.evaluation import duplicates
from jaxcrystal.evaluation.duplicates import are_equal, novel, unique
from jaxcrystal.evaluation.entries import Entry
from jaxcrystal.evaluation.fingerprints import Features
from jaxcrystal.sampling.audit import SYMPREC, find_group


def groups_only(entries) -> Features:
    """Features of which only the groups are known."""
    n = len(entries)
    groups = np.zeros((n, 3), int)
    for row, entry in enumerate(entries):
        if entry.structure is not None:
            s = entry.structure
            groups[row] = find_group(s.lattice.matrix, np.array(s.atomic_numbers), s.frac_coords, SYMPREC)
    nan = np.full(n, np.nan)
    return Features(
        structure=np.full((n, 61), np.nan),
        composition=np.full((n, 132), np.nan),
        shortest_distance=nan,
        volume=nan,
        density=nan,
        num_elements=np.zeros(n, int),
        num_atoms=np.zeros(n, int),
        valid=np.ones(n, bool),
        composition_valid=np.ones(n, bool),
        found_groups=groups,
        reasons=[""] * n,
    )


def rutile(u: float, scale: float = 1.0, elements=("Ti", "O")) -> Structure:
    lattice = Lattice.tetragonal(4.59 * scale, 2.96 * scale)
    return Structure.from_spacegroup("P4_2/mnm", lattice, list(elements), [[0, 0, 0], [u, u, 0]])


def rocksalt(length: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


def caesium_chloride(length: float) -> Structure:
    return Structure(Lattice.cubic(length), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


@pytest.fixture
def entries() -> list[Entry]:
    structures = [
        rutile(0.305),
        rocksalt(5.6),
        rutile(0.31),  # as 0
        caesium_chloride(3.4),  # another group than 1
        rocksalt(5.9).get_primitive_structure(),  # as 1, another cell
        rutile(0.305, elements=("Sn", "O")),  # another formula
        rutile(0.12),  # as 0 in all but the coordinate
        rutile(0.305, 1.05),  # as 0, larger
        rutile(0.12),  # as 6
    ]
    found = [Entry(str(n), structure) for n, structure in enumerate(structures)]
    return [*found, Entry("gone", None, "damaged"), Entry("flagged", rutile(0.305), flag="images")]


def direct(entries) -> list[int]:
    """The first different structure that is equal, by the matcher alone."""
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    found: list[int] = []
    for n, entry in enumerate(entries):
        equal = -1
        for m in range(n):
            pair = entries[m], entry
            if found[m] < 0 and not any(e.failed for e in pair) and matcher.fit(*(e.structure for e in pair)):
                equal = m
                break
        found.append(equal)
    return found


def test_unique_equals_a_direct_loop(entries) -> None:
    found = unique(entries, groups_only(entries), processes=1)
    assert found.tolist() == [-1, -1, 0, -1, 1, -1, -1, 0, 6, -1, -1]
    assert found.tolist() == direct(entries)


def test_only_one_formula_and_group_is_compared(entries, monkeypatch) -> None:
    seen = []

    def note(first, second):
        seen.append((first.reduced_formula, second.reduced_formula))
        return False

    monkeypatch.setattr(duplicates, "are_equal", note)
    unique(entries, groups_only(entries), processes=1)
    assert {pair[0] for pair in seen} == {"TiO2", "NaCl"}
    assert all(a == b for a, b in seen)
    # 10 pairs of the five rutiles, and one of the two rocksalts.
    assert len(seen) == 11


def test_novel(entries) -> None:
    train = [
        Entry("damaged", None, "damaged"),
        Entry("other", rocksalt(5.5)),
        Entry("also other", rutile(0.3, elements=("Ge", "O"))),
        Entry("same", rutile(0.3)),
        Entry("same again", rutile(0.3)),
    ]
    found = novel(entries, groups_only(entries), train, processes=1)
    assert found.tolist() == [3, 1, 3, -1, 1, -1, -1, 3, -1, -1, -1]
    assert (novel(entries, groups_only(entries), [], processes=1) == -1).all()


def test_several_processes_give_the_same(entries, monkeypatch) -> None:
    monkeypatch.setattr("jaxcrystal.evaluation.workers._FEW", 0)
    monkeypatch.setattr("jaxcrystal.evaluation.workers.CHUNK", 1)
    one, two = (unique(entries, groups_only(entries), processes=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_what_the_matcher_cannot_do_is_different(monkeypatch) -> None:
    def fail(*arguments, **keywords):
        raise ValueError("no lattice")

    assert are_equal(rutile(0.3), rutile(0.3))
    monkeypatch.setattr(StructureMatcher, "fit", fail)
    assert not are_equal(rutile(0.3), rutile(0.3))
