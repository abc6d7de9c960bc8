"""POSCAR and CONTCAR of VASP: scales of every kind, symbols of VASP 5 and 4, several in one file."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxcrystal.errors import DataError
from jaxcrystal.io.atoms import Atoms
from jaxcrystal.io.checks import require_cell
from jaxcrystal.io.labels import element_of
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.text import number

_FLAGS = {"T", "F", ".TRUE.", ".FALSE."}
#: Lines from the comment to the first atom, at least.
_HEAD = 7


@dataclass
class _Lines:
    """The lines of a file, taken one after the other."""

    lines: list[str]
    place: int = 0

    def take(self, what: str) -> list[str]:
        """Returns the words of the next line, comments left out."""
        if self.place >= len(self.lines):
            raise DataError(f"the POSCAR ends before its {what}")
        self.place += 1
        return _words(self.lines[self.place - 1])

    def peek(self) -> list[str]:
        return _words(self.lines[self.place]) if self.place < len(self.lines) else []

    def skip_blanks(self) -> None:
        while self.place < len(self.lines) and not self.peek():
            self.place += 1


def split_poscars(text: str) -> list[str]:
    """Returns the text of each of the POSCARs that follow one another in a file."""
    lines = text.split("\n")
    starts = [0]
    for place in range(_HEAD, len(lines) - _HEAD):
        if place >= starts[-1] + _HEAD and _is_head(lines[place : place + _HEAD]):
            starts.append(place)
    return ["\n".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], None], strict=True)]


def is_poscar(text: str) -> bool:
    """Returns whether a text begins as a POSCAR does."""
    return _is_head(text.split("\n", _HEAD)[:_HEAD])


def has_cell(text: str) -> bool:
    """Returns whether a text begins with comment, scale and cell, whatever follows."""
    return _has_cell(text.split("\n", _HEAD)[:_HEAD])


def _has_cell(lines: list[str]) -> bool:
    numbers = [[_is_number(word) for word in _words(line)] for line in lines[1:5]]
    return numbers[:1] in ([[True]], [[True] * 3]) and numbers[1:] == [[True] * 3] * 3


def _is_head(lines: list[str]) -> bool:
    """Returns whether lines are a comment, a scale, three vectors, and symbols or numbers of atoms."""
    if len(lines) < _HEAD or not _has_cell(lines):
        return False
    kinds, after = _words(lines[5]), _words(lines[6])
    if not kinds or not after:
        return False
    if kinds[0].isdigit():
        return all(word.isdigit() for word in kinds) and after[0][0].isalpha()
    are_elements = all(re.match(r"[A-Za-z][a-z]?(?![A-Za-z])", word) for word in kinds)
    return are_elements and all(word.isdigit() for word in after) and len(kinds) == len(after)


def parse_poscar(text: str) -> Atoms:
    """Returns the cell of a text with one POSCAR.

    Args:
      text: clean (`text.clean`).

    Raises:
      DataError: it is not one, or holds another number of atoms than it counts.
      Rejected: it does not name its elements, names them in two ways, or has no cell.
    """
    lines = _Lines(text.split("\n"))
    lines.take("comment")
    scale = [number(word, "the scale") for word in lines.take("scale")]
    rows = [lines.take("lattice") for _ in range(3)]
    if any(len(row) < 3 for row in rows):
        raise DataError("the lattice of the POSCAR has fewer than three numbers a line")
    lattice = np.array([[number(word, "a lattice vector") for word in row[:3]] for row in rows])
    factors = _factors(scale, lattice)
    require_cell(lattice * factors)

    names, counts = _names_and_counts(lines)
    lines.skip_blanks()
    selective = bool(lines.peek()) and lines.peek()[0][0] in "sS"
    if selective:
        lines.take("kind of coordinates")
    lines.skip_blanks()
    mode = " ".join(lines.take("kind of coordinates"))
    if mode[:1] not in tuple("cCkKdDfF"):
        raise DataError(f"expected Direct or Cartesian before the coordinates, got {mode!r}")
    coords, labels = _atoms(lines, sum(counts), selective)
    _require_end(lines, sum(counts))
    if mode[0] in "cCkK":
        coords = (coords * factors) @ np.linalg.inv(lattice * factors)
    return Atoms(lattice * factors, _species(names, counts, labels), coords)


def _words(line: str) -> list[str]:
    return re.split(r"[!#]", line, maxsplit=1)[0].split()


def _is_number(word: str) -> bool:
    try:
        number(word, "")
    except DataError:
        return False
    return True


def _factors(scale: list[float], lattice: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Returns the factors of x, y and z: one for all, minus a volume, or three."""
    if len(scale) not in (1, 3) or 0 in scale or (len(scale) == 3 and min(scale) < 0):
        raise DataError(
            f"the scale is {' '.join(f'{x:g}' for x in scale)}, expected a factor, minus a volume, or three"
        )
    if len(scale) == 3:
        return np.array(scale)
    volume = abs(float(np.linalg.det(lattice)))
    if scale[0] < 0 and volume == 0:
        raise Rejected(Reason.UNPARSABLE, "the cell has no volume")
    return np.full(3, scale[0] if scale[0] > 0 else (-scale[0] / volume) ** (1 / 3))


def _names_and_counts(lines: _Lines) -> tuple[list[str], list[int]]:
    """Returns the symbols, none in a POSCAR of VASP 4, and the numbers of atoms; both over several lines."""
    names: list[str] = []
    words = lines.take("numbers of atoms")
    while words and not re.fullmatch(r"[+-]?[0-9.]+", words[0]):
        names += words
        words = lines.take("numbers of atoms")
    counts = list(words)
    while len(counts) < len(names) and all(word.isdigit() for word in lines.peek() or ["none"]):
        counts += lines.take("numbers of atoms")
    for word in counts:
        if not (word.isascii() and word.isdigit()):
            raise DataError(f"{word!r} is no number of atoms")
    if names and len(names) != len(counts):
        raise DataError(f"the POSCAR names {len(names)} elements, but counts the atoms of {len(counts)}")
    return names, [int(word) for word in counts]


def _atoms(lines: _Lines, count: int, selective: bool) -> tuple[Float[np.ndarray, "atoms 3"], list[str]]:
    """Returns the coordinates and what stands behind them, flags of selective dynamics left out."""
    rows: list[list[float]] = []
    labels = []
    for _ in range(count):
        words = lines.take(f"{count} atoms")
        if len(words) < 3:
            raise DataError(f"expected {count} atoms, got the line {' '.join(words)!r} after {len(rows)}")
        rows.append([number(word, "a coordinate") for word in words[:3]])
        behind = words[3:]
        if len(behind) >= 3 and {word.upper() for word in behind[:3]} <= _FLAGS:
            behind = behind[3:]
        elif selective:
            raise DataError("selective dynamics, but an atom without three flags T or F")
        labels.append(behind[0] if behind else "")
    return np.array(rows).reshape(-1, 3), labels


def _species(names: list[str], counts: list[int], labels: list[str]) -> list[int]:
    """Returns the atomic number of every atom, from the line of symbols or from behind the coordinates."""
    found = [_element(label) for label in labels]
    blocks = np.repeat(np.arange(len(counts)), counts)
    if not names:
        if not all(found):
            raise DataError("the POSCAR does not name its elements")
        if any(
            len({z for z, b in zip(found, blocks, strict=True) if b == block}) > 1 for block in set(blocks)
        ):
            raise Rejected(Reason.CONTRADICTORY, "the POSCAR counts atoms of different elements together")
        return found
    elements = [element_of(re.split(r"[_/]", name)[0]) for name in names]
    species = [elements[block] for block in blocks]
    for label, behind, element in zip(labels, found, species, strict=True):
        if behind not in (0, element):
            raise Rejected(
                Reason.CONTRADICTORY, f"the POSCAR names its elements {' '.join(names)}, but an atom {label}"
            )
    return species


def _element(label: str) -> int:
    if not re.fullmatch(r"[A-Z][a-z]?[0-9]*[+-]?[0-9]*", label):
        return 0
    try:
        return element_of(label, is_label=True)
    except Rejected:
        return 0


def _require_end(lines: _Lines, count: int) -> None:
    """Refuses more atoms than are counted, and frames of a trajectory; velocities may follow."""
    directly = bool(lines.peek())
    lines.skip_blanks()
    words = lines.peek()
    rest = lines.lines[lines.place :]
    if any(line.lower().split()[:2] == ["direct", "configuration="] for line in rest):
        raise DataError("a trajectory (XDATCAR), of which no frame is the structure")
    if directly and words and _is_number(words[0]):
        raise DataError(f"more atoms than the {count} that the POSCAR counts")
    numbers = [_is_number((_words(line) or [""])[0]) for line in rest]
    if words and numbers[0] and not all(numbers[:count]):
        raise DataError(
            f"after its {count} atoms the POSCAR goes on with neither velocities nor another POSCAR"
        )
