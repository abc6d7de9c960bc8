"""Extended XYZ: flags of periodicity, lattices and columns as programs write them."""

import io

import numpy as np
import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.io.extxyz import parse_frame, split_frames
from jaxcrystal.io.rejection import Reason, Rejected

LATTICE = 'Lattice="4 0 0 0 5 0 0 0 6"'
ATOMS = "Na 0 0 0\nCl 2 2.5 3\n"


def _frame(pairs, atoms=ATOMS):
    return f"2\n{pairs}\n{atoms}"


def _is_salt(cell) -> bool:
    return (
        cell.species == [11, 17]
        and np.allclose(cell.lattice, np.diag([4, 5, 6]))
        and np.allclose(cell.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]])
    )


@pytest.mark.parametrize(
    ("pairs", "atoms"),
    [
        (LATTICE, ATOMS),
        (f'{LATTICE} pbc="T T T"', ATOMS),
        (f"{LATTICE} pbc=[true, true, true]", ATOMS),
        (f'{LATTICE} PBC="1 1 1"', ATOMS),
        (f"{LATTICE} pbc=T", ATOMS),
        ("Lattice=[[4, 0, 0], [0, 5, 0], [0, 0, 6]]", ATOMS),
        ('lattice="4, 0, 0, 0, 5, 0, 0, 0, 6"', ATOMS),
        (f'{LATTICE} data="_JSON {{\\"pbc\\": \\"F F F\\"}}"', ATOMS),
        (f"{LATTICE} Properties=pos:R:3:species:S:1", "0 0 0 Na\n2 2.5 3 Cl\n"),
        (f"{LATTICE} Properties=Z:I:1:pos:R:3:forces:R:3", "11 0 0 0 1 2 3\n17 2 2.5 3 1 2 3\n"),
        (f"{LATTICE} Properties=species:S:1:pos:R:3:Z:I:1", "Na+ 0 0 0 11\nCl- 2 2.5 3 17\n"),
    ],
)
def test_forms(pairs, atoms):
    assert _is_salt(parse_frame(_frame(pairs, atoms)))


@pytest.mark.parametrize(
    "flags", ['"F F F"', '"T T F"', '"1 1 0"', "F", '"F,F,F"', "[true, true, false]", "False"]
)
def test_what_is_not_periodic_is_refused(flags):
    for key in ("pbc", "PBC"):
        with pytest.raises(Rejected) as refusal:
            parse_frame(_frame(f"{LATTICE} {key}={flags}"))
        assert refusal.value.reason == Reason.NOT_PERIODIC


@pytest.mark.parametrize(
    ("pairs", "atoms", "cause"),
    [
        ("comment", ATOMS, "no Lattice in this frame"),
        ('Lattice="4 5 6"', ATOMS, "Lattice has 3 numbers, expected the 9"),
        ('Lattice="4 0 0 0 5 0 0 0 x"', ATOMS, "'x', which is no number"),
        ('Lattice="0 0 0 0 0 0 0 0 0"', ATOMS, "no volume"),
        (f'{LATTICE} lattice="9 0 0 0 9 0 0 0 9"', ATOMS, "lattice is given twice"),
        (f'{LATTICE} pbc="T T"', ATOMS, "expected three flags"),
        (f'{LATTICE} pbc="yes"', ATOMS, "expected three flags"),
        (f"{LATTICE} Properties=species:S:1:scaled_positions:R:3", ATOMS, "name no species or no pos"),
        (f"{LATTICE} Properties=species:S:1:pos:R:3:Z:I:1", "Na 0 0 0 12\nCl 2 2 3 17\n", "both Na and Mg"),
        (LATTICE, "X 0 0 0\nCl 2 2 3\n", "X is not an element"),
        (LATTICE, "Na 0 0 0\n", "ends before its 2 atoms"),
        (LATTICE, "Na 0 0 0\nCl 2 2\n", "ends before its 2 atoms"),
    ],
)
def test_causes(pairs, atoms, cause):
    with pytest.raises((DataError, Rejected), match=cause):
        parse_frame(_frame(pairs, atoms))


def test_frames_are_cut_and_numbers_that_are_not_finite_are_kept():
    """A trajectory may end in them; what is to be a crystal is checked later."""
    text = _frame(LATTICE) + "\n \n" + _frame(LATTICE, "Na nan 0 0\nCl 2 2.5 inf\n")
    first, second = split_frames(io.StringIO(text))
    assert _is_salt(parse_frame(first))
    assert np.isnan(parse_frame(second).frac_coords[0, 0])
    with pytest.raises(ValueError, match="expected a number of atoms, got 'x'"):
        list(split_frames(io.StringIO("x\n")))
