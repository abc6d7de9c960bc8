"""POSCAR in its variants: the same crystal from each, or the line that says what is wrong."""

import numpy as np
import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.io.poscar import is_poscar, parse_poscar, split_poscars
from jaxcrystal.io.rejection import Rejected

LATTICE = "4.594 0 0\n0 4.594 0\n0 0 2.959"
ATOMS = ["0 0 0", ".5 .5 .5", ".305 .305 0", ".695 .695 0", ".195 .805 .5", ".805 .195 .5"]
SYMBOLS = "Ti O\n2 4"
VELOCITIES = "\n" + "0.1 0.2 0.3\n" * 6


def _poscar(scale="1.0", lattice=LATTICE, symbols=SYMBOLS, mode="Direct", atoms=ATOMS, tail="", comment="x"):
    return "\n".join([comment, scale, lattice, symbols, mode, *atoms, tail])


def _behind(*words) -> list[str]:
    """The atoms with words behind the coordinates."""
    return [f"{atom} {word}" for atom, word in zip(ATOMS, words, strict=True)]


GOOD = _poscar()


def _is_rutile(cell) -> bool:
    expected = np.array([line.split() for line in ATOMS], float)
    return (
        np.allclose(cell.lattice, np.diag([4.594, 4.594, 2.959]), atol=1e-4)
        and cell.species == [22] * 2 + [8] * 4
        and np.allclose(cell.frac_coords, expected, atol=1e-4)
    )


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        _poscar(comment=""),
        _poscar(mode="direct configuration = 1"),
        _poscar(mode="Fractional"),
        _poscar(mode="\nDirect"),
        _poscar(mode="Selective dynamics\nDirect", atoms=_behind(*["T F T"] * 6)),
        _poscar(mode="S\nD", atoms=_behind(*["T F T Ti"] * 2, *["F F F O"] * 4)),
        _poscar(atoms=_behind(*["T T T"] * 6)),
        _poscar(tail=VELOCITIES),
        _poscar(tail="Lattice velocities and vectors\n1\n" + "0.0 0.0 0.0\n" * 6),
        _poscar(tail="\n  \n"),
        _poscar("4.594 4.594 2.959", "1 0 0\n0 1 0\n0 0 1"),
        _poscar("-62.44921", "2 0 0\n0 2 0\n0 0 1.2882"),
        _poscar("2.0", "2.297 0 0\n0 2.297 0\n0 0 1.4795"),
        _poscar("1.0d0"),
        _poscar(symbols="Ti_sv/f474ac0d O_s/79d9\n2 4"),
        _poscar(symbols="Ti\nO\n2\n4"),
        _poscar(symbols="Ti4+ O2-\n2 4 ! six"),
        _poscar(symbols="Ti3.5+ O1.75-\n2 4"),
        _poscar(symbols="2 4", atoms=_behind("Ti", "Ti", *["O"] * 4)),
        _poscar(symbols="2 4", atoms=_behind(*["T T F Ti"] * 2, *["F F F O"] * 4)),
        _poscar(symbols="Ti O O\n2 2 2"),
    ],
)
def test_forms_that_are_rutile(text):
    (one,) = split_poscars(text)
    assert _is_rutile(parse_poscar(one))


def test_cartesian_coordinates_are_scaled_as_the_lattice_is():
    fractions = np.array([line.split() for line in ATOMS], float)
    atoms = [f"{x} {y} {z}" for x, y, z in fractions * [1, 1, 0.6441]]
    for scale in ("4.594", "-62.449", "4.594 4.594 4.594"):
        text = _poscar(scale, "1 0 0\n0 1 0\n0 0 0.6441", mode="Cartesian", atoms=atoms)
        assert _is_rutile(parse_poscar(text)), scale


def test_files_that_follow_one_another():
    texts = split_poscars(GOOD + _poscar(comment="", tail=VELOCITIES) + "\n" + GOOD)
    assert len(texts) == 3
    assert all(_is_rutile(parse_poscar(text)) for text in texts)
    assert is_poscar(GOOD)
    assert not is_poscar("data_x\n_cell_length_a 4\n")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (_poscar(symbols="2 4"), "does not name its elements"),
        (_poscar(symbols="2 4", atoms=_behind(*["T T T"] * 2, *["F F F"] * 4)), "does not name its elements"),
        (_poscar(symbols="2 4", atoms=_behind("Ti", "O", *["O"] * 4)), "different elements together"),
        (_poscar(symbols="Ti O N\n2 4"), "names 3 elements, but counts the atoms of 2"),
        (_poscar(symbols="Ti O\n2 -4"), "'-4' is no number of atoms"),
        (_poscar(symbols="Ti O\n2 3"), "more atoms than the 5"),
        (_poscar(symbols="Ti O\n2 5"), "expected 7 atoms"),
        (_poscar(atoms=_behind("Ti", "Ti", "Ti", "O", "O", "O")), "but an atom Ti"),
        (_poscar(symbols="Ti Vac\n2 4"), "Vac is not an element"),
        (_poscar(symbols="Ti H.75\n2 4"), "H.75 is not an element"),
        (_poscar(mode="Hello"), "expected Direct or Cartesian before the coordinates, got 'Hello'"),
        (_poscar(mode=""), "expected Direct or Cartesian"),
        (_poscar("1.0 2.0"), "the scale is 1 2"),
        (_poscar("0"), "the scale is 0"),
        (_poscar(lattice="1 0 0\n2 0 0\n0 0 1"), "the cell is flat"),
        (_poscar("-62", lattice="1 0 0\n2 0 0\n0 0 1"), "no volume"),
        (_poscar(atoms=[*ATOMS[:5], ".8o5 .195 .5"]), "'.8o5', which is no number"),
        (_poscar(mode="Selective\nDirect"), "without three flags"),
        (_poscar(tail="Direct configuration= 2\n" + "0 0 0\n" * 6), "a trajectory"),
        (_poscar(tail="\n0 0 0\n"), "neither velocities nor another POSCAR"),
        ("", "ends before its"),
    ],
)
def test_what_is_wrong_is_said(text, cause):
    with pytest.raises((DataError, Rejected), match=cause.replace("(", r"\(")) as error:
        parse_poscar(split_poscars(text)[0] if text else text)
    assert "\n" not in str(error.value)
