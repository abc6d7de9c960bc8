"""Extended XYZ: a frame is a count, a line of key=value pairs, and one line an atom."""

import re
from collections.abc import Iterator
from io import TextIOBase

import numpy as np
from jaxtyping import Float

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import DataError
from jaxcrystal.io.atoms import Atoms
from jaxcrystal.io.labels import element_of
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.text import number

_PAIR = re.compile(
    r"""([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[(?:[^\[\]]|\[[^\]]*\])*\]|\S+)"""
)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_TRUE, _FALSE = {"T", "TRUE", "1", ".TRUE."}, {"F", "FALSE", "0", ".FALSE."}


def split_frames(file: TextIOBase) -> Iterator[str]:
    """Yields the text of each frame; raises ValueError where a count is not a number."""
    while line := file.readline():
        text = line.strip("\ufeff \t\r\n")
        if not text:
            continue
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"expected a number of atoms, got {text[:40]!r}")
        count = int(text)
        yield line + "".join(file.readline() for _ in range(count + 1))


def parse_frame(text: str) -> Atoms:
    """Returns the cell of a frame.

    Args:
      text: clean (`text.clean`).

    Raises:
      DataError: no lattice, or atoms missing.
      Rejected: not periodic in three directions, no element, or two lattices.
    """
    lines = text.split("\n")
    count = int(lines[0])
    pairs: dict[str, str] = {}
    for key, value in _PAIR.findall(lines[1] if len(lines) > 1 else ""):
        name, value = key.lower(), value.strip("\"'{}[]")
        if pairs.setdefault(name, value) != value and name in ("lattice", "pbc", "properties"):
            raise Rejected(Reason.CONTRADICTORY, f"{key} is given twice: {pairs[name]} and {value}")
    if "lattice" not in pairs:
        raise DataError("no Lattice in this frame: not a crystal")
    vectors = [_number(word, "a number of Lattice") for word in _numbers(pairs["lattice"])]
    if len(vectors) != 9:
        raise DataError(f"Lattice has {len(vectors)} numbers, expected the 9 of three vectors")
    _require_periodic(pairs.get("pbc", "T T T"))
    lattice = np.array(vectors).reshape(3, 3)
    if np.isfinite(lattice).all() and np.linalg.det(lattice) == 0:
        raise Rejected(Reason.UNPARSABLE, "the cell has no volume")

    starts, width = _columns(pairs.get("properties", "species:S:1:pos:R:3"))
    atoms = [line.split() for line in lines[2 : 2 + count]]
    if len(atoms) < count or any(len(atom) < width for atom in atoms):
        raise DataError(f"the frame ends before its {count} atoms are complete")
    first = starts["pos"]
    coords = np.array(
        [[_number(word, "a coordinate") for word in atom[first : first + 3]] for atom in atoms]
    ).reshape(-1, 3)
    species = [_element(atom, starts) for atom in atoms]
    with np.errstate(invalid="ignore"):  # frames of a trajectory may hold numbers that are not finite
        return Atoms(lattice, species, coords @ np.linalg.inv(lattice))


def _columns(properties: str) -> tuple[dict[str, int], int]:
    """Returns where each column starts, and the number of words in a line."""
    words = properties.split(":")
    starts, place = {}, 0
    for name, size in zip(words[0::3], words[2::3], strict=False):
        if not size.isdigit():
            raise DataError(f"cannot read Properties={properties}")
        starts[name.lower()] = place
        place += int(size)
    if "pos" not in starts or not {"species", "z"} & set(starts):
        raise DataError("the columns of this frame name no species or no pos")
    return starts, place


def _element(atom: list[str], starts: dict[str, int]) -> int:
    found = set()
    if "species" in starts:
        found.add(element_of(atom[starts["species"]]))
    if "z" in starts:
        text = atom[starts["z"]]
        if not (text.isascii() and text.isdigit() and 1 <= int(text) < len(SYMBOLS)):
            raise Rejected(Reason.UNKNOWN_ELEMENT, f"Z={text} is not an element")
        found.add(int(text))
    if len(found) > 1:
        raise Rejected(
            Reason.CONTRADICTORY, f"an atom is both {' and '.join(SYMBOLS[z] for z in sorted(found))}"
        )
    return found.pop()


def _require_periodic(text: str) -> None:
    flags = [flag.upper() for flag in _numbers(text)]
    if not flags or len(flags) not in (1, 3) or not set(flags) <= _TRUE | _FALSE:
        raise DataError(f"pbc={text!r}, expected three flags T or F")
    if set(flags) & _FALSE:
        raise Rejected(Reason.NOT_PERIODIC, f"not periodic in three directions (pbc={text})")


def _numbers(text: str) -> list[str]:
    return re.sub(r"[\[\],;]", " ", text).split()


def _number(word: str, what: str) -> float:
    """Returns a number; NaN and infinity too, which a trajectory may end in."""
    return float(word) if _NOT_FINITE.fullmatch(word) else number(word, what)


def write_frame(
    lattice: Float[np.ndarray, "3 3"],
    symbols: list[str],
    frac_coords: Float[np.ndarray, "atoms 3"],
    info: dict[str, str | int | float] | None = None,
    forces: Float[np.ndarray, "atoms 3"] | None = None,
) -> str:
    """Returns the text of one frame.

    Args:
      lattice: [3, 3] rows are vectors, Å.
      symbols: of the atoms.
      frac_coords: [atoms, 3].
      info: further key=value pairs.
      forces: [atoms, 3] eV/Å, which become further columns.
    """
    cart_coords = np.asarray(frac_coords) @ np.asarray(lattice)
    vectors = " ".join(f"{x:.10g}" for x in np.asarray(lattice).ravel())
    columns = "species:S:1:pos:R:3" + ("" if forces is None else ":forces:R:3")
    pairs = [f'Lattice="{vectors}"', f"Properties={columns}", 'pbc="T T T"']
    pairs += [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
        for key, value in (info or {}).items()
    ]
    lines = [str(len(symbols)), " ".join(pairs)]
    lines += [
        f"{symbol:<2s} {x:16.10f} {y:16.10f} {z:16.10f}"
        for symbol, (x, y, z) in zip(symbols, cart_coords, strict=True)
    ]
    if forces is not None:
        # Without the sign of a zero, which says nothing.
        rows = np.round(forces, 8) + 0.0
        lines[2:] = [
            f"{line} {x:14.8f} {y:14.8f} {z:14.8f}" for line, (x, y, z) in zip(lines[2:], rows, strict=True)
        ]
    return "\n".join(lines) + "\n"
