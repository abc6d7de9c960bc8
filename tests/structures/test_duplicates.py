"""Uniqueness and novelty against a direct loop over pairs."""

import itertools

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from jaxcrystal.structures import duplicates
from jaxcrystal.structures.duplicates import are_equal, novel, reduced, unique
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.detect import SYMPREC, find_group


def groups(entries) -> list[int]:
    """The space group of each entry, 0 where there is no structure."""
    return [
        0 if s is None else find_group(s.lattice.matrix, np.array(s.atomic_numbers), s.frac_coords, SYMPREC)
        for s in (entry.structure for entry in entries)
    ]


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
    found = unique(entries, groups(entries), processes=1)
    assert found.tolist() == [-1, -1, 0, -1, 1, -1, -1, 0, 6, -1, -1]
    assert found.tolist() == direct(entries)


def test_only_one_formula_and_group_is_compared(entries, monkeypatch) -> None:
    seen = []

    def note(first, second):
        seen.append((first.reduced_formula, second.reduced_formula))
        return False

    monkeypatch.setattr(duplicates, "are_equal", note)
    unique(entries, groups(entries), processes=1)
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
    found = novel(entries, groups(entries), train, processes=1)
    assert found.tolist() == [3, 1, 3, -1, 1, -1, -1, 3, -1, -1, -1]
    assert (novel(entries, groups(entries), [], processes=1) == -1).all()


def test_several_processes_give_the_same(entries, monkeypatch) -> None:
    monkeypatch.setattr("jaxcrystal.workers._FEW", 0)
    monkeypatch.setattr("jaxcrystal.workers.CHUNK", 1)
    one, two = (unique(entries, groups(entries), processes=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("size", "processes"), [(1, 1), (2, 1), (4, 1), (2, 2)])
def test_large_buckets_are_shared_in_rounds(entries, monkeypatch, size, processes) -> None:
    """The same as one loop, wherever the rounds end and however many processes compare."""
    entries = [*entries, *(Entry(f"u = {u}", rutile(u)) for u in (0.3, 0.2, 0.12, 0.205, 0.0, 0.31))]
    expected = direct(entries)
    assert expected.count(-1) > 7
    monkeypatch.setattr(duplicates, "_ROUND", size)
    monkeypatch.setattr(duplicates, "_WORTHWHILE", 0 if processes > 1 else 10**9)
    monkeypatch.setattr("jaxcrystal.workers._FEW", 0)
    assert unique(entries, groups(entries), processes=processes).tolist() == expected


def test_other_keys_are_not_compared(entries) -> None:
    keys = [(group, number) for number, group in enumerate(groups(entries))]
    assert (unique(entries, keys, processes=1) == -1).all()


def test_reduced_cells_compare_as_the_structures_do(entries) -> None:
    """The cells are reduced once, and the matcher says of them what it says of the structures."""
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    structures = [entry.structure for entry in entries if entry.structure is not None]
    structures.append(structures[0] * (2, 1, 1))
    for first, second in itertools.product(structures, repeat=2):
        assert are_equal(reduced(first), reduced(second)) == bool(matcher.fit(first, second))


def test_what_the_matcher_cannot_do_is_different(monkeypatch) -> None:
    def fail(*arguments, **keywords):
        raise ValueError("no lattice")

    cell = reduced(rutile(0.3))
    assert are_equal(cell, cell)
    assert not are_equal(cell, None)
    monkeypatch.setattr(StructureMatcher, "fit", fail)
    assert not are_equal(cell, cell)
    monkeypatch.setattr(Structure, "get_reduced_structure", fail)
    assert reduced(rutile(0.3)) is None
